//! Times that a request names.

use std::time::Duration;

use super::{FieldError, Range, TIMEOUT};

/// How long a model stays resident when idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// This long; zero unloads at once.
    For(Duration),
    /// Until someone unloads it.
    Forever,
}

/// Reads `keep_alive`: negative is for ever.
pub fn keep_alive(value: &prost_types::Duration) -> Result<KeepAlive, FieldError> {
    well_formed("keep_alive", value)?;
    Ok(Duration::try_from(*value).map_or(KeepAlive::Forever, KeepAlive::For))
}

/// Reads `timeout`.
pub fn timeout(value: &prost_types::Duration) -> Result<Duration, FieldError> {
    well_formed(TIMEOUT.field, value)?;
    let Range::Hours { max } = TIMEOUT.range else {
        unreachable!("timeout is limited in hours")
    };
    match Duration::try_from(*value) {
        Ok(timeout) if !timeout.is_zero() && timeout <= Duration::from_secs(max * 3600) => {
            Ok(timeout)
        }
        _ => {
            let seconds = value.seconds as f64 + f64::from(value.nanos) / 1e9;
            let message = format!(
                "timeout is {seconds} s: it must be longer than 0 s and {}",
                TIMEOUT.phrase()
            );
            Err(FieldError::new(TIMEOUT.field, message))
        }
    }
}

/// Seconds up to 10,000 years and nanoseconds of the same sign, as google.protobuf.Duration demands.
fn well_formed(field: &'static str, value: &prost_types::Duration) -> Result<(), FieldError> {
    let prost_types::Duration { seconds, nanos } = *value;
    let opposed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if seconds.unsigned_abs() > 315_576_000_000 || nanos.unsigned_abs() > 999_999_999 || opposed {
        let message = format!("{field} is {seconds} s and {nanos} ns: that is no duration");
        return Err(FieldError::new(field, message));
    }
    Ok(())
}
