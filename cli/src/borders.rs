//! `--extend`: how many pixels are added on each side of a picture.

use imgd_client::ImageInput;
use imgd_proto::limits::{self, Limit};

use crate::numbers;

/// Pixels for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Borders {
    pub(crate) left_px: u32,
    pub(crate) right_px: u32,
    pub(crate) top_px: u32,
    pub(crate) bottom_px: u32,
}

impl Borders {
    /// A picture to begin from that is extended so; its files are left open.
    pub(crate) fn input(self) -> ImageInput {
        ImageInput {
            extend_left_px: self.left_px,
            extend_right_px: self.right_px,
            extend_top_px: self.top_px,
            extend_bottom_px: self.bottom_px,
            ..ImageInput::default()
        }
    }
}

/// `128` for all sides, or `left=128,top=32`: what is not named is not extended.
pub(crate) fn borders(text: &str) -> Result<Borders, String> {
    let pixels = |limit: &'static Limit, text: &str| numbers::whole(limit)(text.trim());
    if !text.contains('=') {
        let all = pixels(&limits::EXTEND_LEFT_PX, text)?;
        return Ok(Borders {
            left_px: all,
            right_px: all,
            top_px: all,
            bottom_px: all,
        });
    }
    let mut borders = Borders::default();
    let mut named = Vec::new();
    for part in text.split(',') {
        let (side, length) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is not SIDE=PX"))?;
        let side = side.trim();
        let (own, limit) = match side {
            "left" => (&mut borders.left_px, &limits::EXTEND_LEFT_PX),
            "right" => (&mut borders.right_px, &limits::EXTEND_RIGHT_PX),
            "top" => (&mut borders.top_px, &limits::EXTEND_TOP_PX),
            "bottom" => (&mut borders.bottom_px, &limits::EXTEND_BOTTOM_PX),
            _ => return Err(format!("`{side}` is none of left, right, top, bottom")),
        };
        if named.contains(&side) {
            return Err(format!("`{side}` is given twice"));
        }
        named.push(side);
        *own = pixels(limit, length)?;
    }
    Ok(borders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sides_or_some_are_extended() {
        let all = borders("128").unwrap();
        assert_eq!(
            (all.left_px, all.right_px, all.top_px, all.bottom_px),
            (128, 128, 128, 128)
        );
        let some = borders("left=128, bottom=32").unwrap();
        assert_eq!(
            (some.left_px, some.right_px, some.top_px, some.bottom_px),
            (128, 0, 0, 32)
        );
        for (wrong, why) in [
            ("", "whole number"),
            ("5000", "4,096"),
            ("left", "whole number"),
            ("up=3", "none of left"),
            ("left=1,left=2", "twice"),
            ("left=1,", "not SIDE=PX"),
        ] {
            let error = borders(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
