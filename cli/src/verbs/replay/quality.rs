//! The quality a JPEG was written with, from its quantisation table. No JPEG says it in so many words.

/// The luminance table of ITU-T T.81, Annex K, in ascending order: scaling keeps the order.
const BASE: [u32; 64] = [
    10, 11, 12, 12, 13, 14, 14, 14, 16, 16, 16, 17, 18, 19, 22, 22, 24, 24, 24, 26, 29, 35, 37, 40,
    40, 49, 51, 51, 55, 55, 56, 56, 57, 58, 60, 61, 62, 64, 64, 68, 69, 72, 77, 78, 80, 81, 87, 87,
    92, 92, 95, 98, 99, 100, 101, 103, 103, 103, 104, 109, 112, 113, 120, 121,
];

/// A quality, and whether the table is exactly that of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quality {
    /// 1 to 100.
    pub(super) percent: u32,
    pub(super) is_exact: bool,
}

/// The quality of a JPEG whose tables are the standard's, scaled as libjpeg scales them; the nearest for others.
pub(super) fn of_jpeg(bytes: &[u8]) -> Option<Quality> {
    let mut found = luminance(bytes)?;
    found.sort_unstable();
    let distance = |percent: u32| {
        let table = scaled(percent);
        let pairs = table.iter().zip(&found);
        pairs.map(|(a, &b)| a.abs_diff(b.into())).sum::<u32>()
    };
    // The best of equal ones: those above 99 are hardly to be told apart.
    let percent = (1..=100).rev().min_by_key(|&percent| distance(percent))?;
    Some(Quality {
        percent,
        is_exact: distance(percent) == 0,
    })
}

/// The standard's table at a quality, in ascending order.
fn scaled(percent: u32) -> [u32; 64] {
    let scale = if percent < 50 {
        5000 / percent
    } else {
        200 - 2 * percent
    };
    BASE.map(|value| ((value * scale + 50) / 100).clamp(1, 255))
}

/// The first table of eight bits, in whatever order.
fn luminance(bytes: &[u8]) -> Option<[u8; 64]> {
    const TABLES: u8 = 0xdb;
    const SCAN: u8 = 0xda;
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let &[0xff, marker, high, low, ..] = rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(4..2 + length)?;
        match marker {
            // Eight bits (0), table 0.
            TABLES if segment.first() == Some(&0) => return segment.get(1..65)?.try_into().ok(),
            SCAN => return None,
            _ => rest = &rest[2 + length..],
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType, ImageEncoder as _, codecs::jpeg::JpegEncoder};
    use proptest::prelude::*;

    use super::*;

    fn jpeg(percent: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, percent)
            .write_image(&[128; 192], 8, 8, ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    }

    #[test]
    fn every_quality_is_found_again() {
        for percent in 1..=100 {
            let quality = of_jpeg(&jpeg(percent)).unwrap();
            assert!(quality.is_exact, "{percent}");
            // Below 3 every value is at its end.
            assert!(
                quality.percent == u32::from(percent) || percent < 3,
                "{percent}: {quality:?}"
            );
        }
    }

    #[test]
    fn other_tables_give_the_nearest() {
        let mut bytes = jpeg(80);
        let table = bytes
            .windows(2)
            .position(|pair| pair == [0xff, 0xdb])
            .unwrap();
        bytes[table + 5] += 1;
        assert_eq!(
            of_jpeg(&bytes),
            Some(Quality {
                percent: 80,
                is_exact: false
            })
        );
    }

    proptest! {
        #[test]
        fn hostile_files_are_read_without_a_panic(at in 0usize..200, value: u8, end in 0usize..400) {
            let mut bytes = jpeg(50);
            bytes[at] = value;
            bytes.truncate(end);
            let quality = of_jpeg(&bytes);
            prop_assert!(quality.is_none_or(|quality| (1..=100).contains(&quality.percent)));
        }
    }
}
