//! How long a caller is willing to wait: the `grpc-timeout` header.

use std::time::Duration;

use tonic::codegen::http::HeaderMap;

use crate::failure::{Failure, Reason};

/// The time that the header gives; `None` where there is none or it is not understood, as the protocol wants it.
///
/// Format: up to 8 digits and a unit of `H M S m u n` (hours to nanoseconds).
pub fn from_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The time is over.
pub fn exceeded() -> Failure {
    Failure::new(
        Reason::DeadlineExceeded,
        "the request's time is over, and its work was given up",
    )
    .with_hint("allow more time with --timeout, or ask for fewer steps or a smaller size")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::codegen::http::{HeaderMap, HeaderValue};

    use super::from_headers;

    #[test]
    fn every_unit_is_read_and_nonsense_is_not() {
        for (text, expected) in [
            ("500m", Some(Duration::from_millis(500))),
            ("2S", Some(Duration::from_secs(2))),
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("5", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            assert_eq!(from_headers(&headers), expected, "{text:?}");
        }
    }
}
