//! Numbers on the command line, checked against the contract's table of limits.

use imgd_proto::limits::{Limit, Range};

/// A parser of whole numbers within the range of `limit`.
pub(crate) fn whole(limit: &'static Limit) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let Range::Integer { min, max } = limit.range else {
            unreachable!("`{}` is a whole number", limit.field)
        };
        let number = text.parse::<u32>().ok();
        number
            .filter(|&number| (min..=max).contains(&u64::from(number)))
            .ok_or_else(|| {
                format!(
                    "must be a whole number from {}{}",
                    limit.phrase(),
                    unit(limit)
                )
            })
    }
}

/// A parser of finite numbers within the range of `limit`.
pub(crate) fn number(limit: &'static Limit) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        let Range::Number { min, max } = limit.range else {
            unreachable!("`{}` is a number", limit.field)
        };
        let number = text.parse::<f64>().ok();
        // NaN is in no range.
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("must be a number from {}", limit.phrase()))
    }
}

/// Reads a seed.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_invalid| {
        format!(
            "must be a whole number from 0 to {}; leave it out for a random one",
            u64::MAX
        )
    })
}

/// A picture's width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
}

/// Reads `512x768`.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    use imgd_proto::limits::{HEIGHT_PX, WIDTH_PX};
    let (width, height) = text.split_once(['x', 'X', '×']).unwrap_or_default();
    match (
        whole(&WIDTH_PX)(width.trim()),
        whole(&HEIGHT_PX)(height.trim()),
    ) {
        (Ok(width_px), Ok(height_px)) => Ok(Size {
            width_px,
            height_px,
        }),
        _ => Err(format!(
            "must be WIDTHxHEIGHT such as 512x768, each {} px",
            WIDTH_PX.phrase()
        )),
    }
}

fn unit(limit: &Limit) -> String {
    if limit.unit.is_empty() {
        String::new()
    } else {
        format!(" {}", limit.unit)
    }
}

#[cfg(test)]
mod tests {
    use imgd_proto::limits::{GUIDANCE_SCALE, NUM_INFERENCE_STEPS};

    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        let steps = whole(&NUM_INFERENCE_STEPS);
        assert_eq!((steps("1"), steps("1000")), (Ok(1), Ok(1000)));
        for wrong in [
            "0",
            "-3",
            "1001",
            "1e9",
            "NaN",
            "99999999999999999999",
            "",
            "3.5",
            "٣",
        ] {
            let reason = steps(wrong).unwrap_err();
            assert_eq!(reason, "must be a whole number from 1 to 1,000", "{wrong}");
        }
        let guidance = number(&GUIDANCE_SCALE);
        assert_eq!((guidance("0"), guidance("7.5")), (Ok(0.0), Ok(7.5)));
        for wrong in ["-1", "101", "1e9", "NaN", "nan", "inf", "-inf", ""] {
            assert!(guidance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(
            size("512x768"),
            Ok(Size {
                width_px: 512,
                height_px: 768
            })
        );
        for wrong in ["", "x", "512", "512x", "0x64", "-8x64", "8x8x8", "5000x64"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seeds_are_64_bits() {
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert!(seed("-1").unwrap_err().contains("random"));
    }
}
