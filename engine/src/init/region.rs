//! The part of a picture that is drawn where only what is masked is.
//!
//! Source: diffusers' `VaeImageProcessor.get_crop_region`, which is A1111's.

/// A rectangle in pixels, its right and lower end not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) right: u32,
    pub(crate) bottom: u32,
}

impl Region {
    pub(crate) fn size(self) -> (u32, u32) {
        (self.right - self.left, self.bottom - self.top)
    }

    /// What is around all of `mask` that is not 0, and `padding` pixels more on each side, widened to the proportions of
    /// `drawn` as far as the mask's picture reaches. None where the mask is 0 everywhere.
    pub(crate) fn around(
        mask: &[u8],
        (width, height): (u32, u32),
        drawn: (u32, u32),
        padding: u32,
    ) -> Option<Self> {
        let line = width as usize;
        let is_marked = |row: &[u8]| row.iter().any(|value| *value != 0);
        let first_row = mask.chunks_exact(line).position(is_marked)?;
        let last_row = mask.chunks_exact(line).rposition(is_marked)?;
        let in_column = |x: &usize| mask.iter().skip(*x).step_by(line).any(|value| *value != 0);
        let first_column = (0..line).find(in_column)?;
        let last_column = (0..line).rev().find(in_column)?;
        let begin = |at: usize| whole(at).saturating_sub(padding);
        let end = |at: usize, side: u32| whole(at + 1).saturating_add(padding).min(side);
        let mut columns = (begin(first_column), end(last_column, width));
        let mut rows = (begin(first_row), end(last_row, height));
        let ratio = f64::from(drawn.0) / f64::from(drawn.1);
        let (across, down) = (columns.1 - columns.0, rows.1 - rows.0);
        if f64::from(across) / f64::from(down) > ratio {
            rows = widened(rows, f64::from(across) / ratio, height);
        } else {
            columns = widened(columns, f64::from(down) * ratio, width);
        }
        Some(Self {
            left: columns.0,
            top: rows.0,
            right: columns.1,
            bottom: rows.1,
        })
    }
}

/// A side brought to `length` around its middle, moved back where it would leave `0..limit`, and cut to that.
#[expect(
    clippy::cast_possible_truncation,
    reason = "cut as the reference cuts it"
)]
fn widened((begin, end): (u32, u32), length: f64, limit: u32) -> (u32, u32) {
    let missing = (length - f64::from(end - begin)) as i64;
    let limit = i64::from(limit);
    let mut begin = i64::from(begin) - missing.div_euclid(2);
    let mut end = i64::from(end) + missing - missing.div_euclid(2);
    if end >= limit {
        begin -= end - limit;
        end = limit;
    }
    if begin < 0 {
        end -= begin;
        begin = 0;
    }
    let side = |at: i64| u32::try_from(at.clamp(0, limit)).unwrap_or(0);
    (side(begin), side(end))
}

fn whole(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        regions: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        size: (u32, u32),
        /// Left, top, right, bottom of what is white.
        r#box: [u32; 4],
        to: (u32, u32),
        padding: u32,
        region: [u32; 4],
    }

    #[test]
    fn regions_are_those_of_diffusers() {
        let golden = include_str!("../image/golden/pillow.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        assert!(golden.regions.len() > 5);
        for case in golden.regions {
            let (width, height) = case.size;
            let [left, top, right, bottom] = case.r#box;
            let mask: Vec<u8> = (0..width * height)
                .map(|at| (at % width, at / width))
                .map(|(x, y)| (left..right).contains(&x) && (top..bottom).contains(&y))
                .map(|is_white| u8::from(is_white) * 255)
                .collect();
            let found = Region::around(&mask, case.size, case.to, case.padding).unwrap();
            let found = [found.left, found.top, found.right, found.bottom];
            assert_eq!(found, case.region, "{:?}", case.size);
        }
        assert_eq!(Region::around(&[0; 64], (8, 8), (8, 8), 4), None);
    }
}
