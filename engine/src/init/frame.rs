//! How large the picture becomes that begins from another one, and where that one lies in it.

use crate::{Error, InitImage, Notice, Result, image};

/// Largest side of a picture that is extended and drawn as a whole, in pixels.
const DRAWN_SIDE_LIMIT_PX: u32 = 4096;

/// Sizes and places in pixels, width and left first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Of the user's picture.
    pub(crate) own: (u32, u32),
    /// The user's picture and what is added around it.
    pub(crate) canvas: (u32, u32),
    /// Where the user's picture lies on that.
    pub(crate) at: (u32, u32),
    /// What was added beyond the request, so that the model can draw it.
    rounding: (u32, u32),
}

impl Frame {
    /// `multiple_px`: what a side must be a multiple of that the model draws.
    ///
    /// Fails with `InvalidArgument` when the picture cannot be read or would become too large.
    pub(crate) fn of(init: &InitImage, multiple_px: u32) -> Result<Self> {
        let own = image::size_of(&init.image, "init_image")?;
        let borders = init.borders;
        let is_whole = init.only_masked_padding_px.is_none();
        let limit = if is_whole {
            DRAWN_SIDE_LIMIT_PX
        } else {
            image::INPUT_SIDE_LIMIT_PX
        };
        let side = |own: u32, before: (u32, &'static str), after: (u32, &'static str)| {
            let asked = own.saturating_add(before.0).saturating_add(after.0);
            let rounding = if borders.are_none() || !is_whole {
                0
            } else {
                (multiple_px - asked % multiple_px) % multiple_px
            };
            let length = asked.saturating_add(rounding);
            if borders.are_none() || length <= limit {
                // What is added goes where something is added already.
                let is_before = before.0 > 0 && after.0 == 0;
                let at = before.0 + if is_before { rounding } else { 0 };
                return Ok((length, at, rounding));
            }
            let (larger, field) = before.max(after);
            let most =
                (limit / multiple_px * multiple_px).saturating_sub(length - rounding - larger);
            let message = format!(
                "the picture would be {length} pixels long on a side: at most {limit} can be drawn"
            );
            let hint = if most > 0 && larger > 0 {
                format!("the most that fits is {most}")
            } else {
                "save the picture smaller first".to_owned()
            };
            Err(Error::invalid(field, message).with_hint(hint))
        };
        let (width, left, added_across) = side(
            own.0,
            (borders.left_px, "extend_left_px"),
            (borders.right_px, "extend_right_px"),
        )?;
        let (height, top, added_down) = side(
            own.1,
            (borders.top_px, "extend_top_px"),
            (borders.bottom_px, "extend_bottom_px"),
        )?;
        Ok(Self {
            own,
            canvas: (width, height),
            at: (left, top),
            rounding: (added_across, added_down),
        })
    }

    /// Says what was added beyond the request.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let (across, down) = self.rounding;
        if (across, down) == (0, 0) {
            return None;
        }
        let (width, height) = self.canvas;
        let message = format!(
            "the picture becomes {width}x{height}: {across} pixels more across and {down} more down than asked for, so that \
             the model can draw it"
        );
        let field = if across > 0 {
            "extend_right_px"
        } else {
            "extend_bottom_px"
        };
        Some(Notice::new("size_rounded", field, message))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        Borders,
        image::{Format, Rgb8, encode},
    };

    fn init(width_px: u32, height_px: u32, borders: Borders) -> InitImage {
        let picture = Rgb8 {
            width_px,
            height_px,
            pixels: vec![9; (width_px * height_px * 3) as usize],
        };
        let bytes = encode(&picture, Format::Png, None).unwrap();
        InitImage {
            borders,
            ..InitImage::new(Bytes::from(bytes))
        }
    }

    #[test]
    fn what_is_extended_is_rounded_outward_and_says_so() {
        let borders = Borders {
            left_px: 10,
            bottom_px: 5,
            ..Borders::default()
        };
        let frame = Frame::of(&init(64, 61, borders), 8).unwrap();
        assert_eq!((frame.canvas, frame.at), ((80, 72), (16, 0)));
        let notice = frame.notice().unwrap();
        assert!(notice.message.contains("80x72: 6 pixels more across and 6"));
        let even = Borders {
            right_px: 16,
            ..Borders::default()
        };
        let frame = Frame::of(&init(64, 64, even), 8).unwrap();
        assert_eq!((frame.canvas, frame.at), ((80, 64), (0, 0)));
        assert_eq!(frame.notice(), None);
        let only_masked = InitImage {
            only_masked_padding_px: Some(8),
            ..init(64, 61, borders)
        };
        let frame = Frame::of(&only_masked, 8).unwrap();
        assert_eq!((frame.canvas, frame.at), ((74, 66), (10, 0)));
        let plain = Frame::of(&init(61, 61, Borders::default()), 8).unwrap();
        assert_eq!(plain.canvas, (61, 61));
    }

    #[test]
    fn what_becomes_too_large_names_the_side_and_what_fits() {
        let borders = Borders {
            left_px: 100,
            right_px: 4090,
            ..Borders::default()
        };
        let error = Frame::of(&init(64, 64, borders), 8).unwrap_err();
        assert_eq!(error.field(), Some("extend_right_px"));
        assert_eq!(error.hint(), Some("the most that fits is 3932"));
    }
}
