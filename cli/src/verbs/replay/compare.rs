//! Whether two pictures are the same, and what is the first thing that is not.

use std::io::Cursor;

use image::{ImageReader, Limits, RgbImage};
use serde_json::{Map, Value, json};

/// The largest pictures that imgd makes, in pixels a side.
const MAX_SIDE_PX: u32 = 4_096;
/// A decoder takes this much memory at most.
const MAX_ALLOC_BYTES: u64 = 256 << 20;

/// Members of the record in the order in which they decide the picture; the program's version says least.
const ORDER: [&str; 18] = [
    "model_hash",
    "numerics",
    "prompt",
    "negative_prompt",
    "seed",
    "noise_generator",
    "sampler",
    "schedule",
    "prediction",
    "num_inference_steps",
    "guidance_scale",
    "width_px",
    "height_px",
    "clip_skip",
    "precision",
    "model",
    "version",
    "imgd",
];

/// A setting that was something else.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// The record's name of it.
    pub(super) name: String,
    pub(super) was: Value,
    pub(super) is: Value,
}

/// How far pixels differ; values are 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pixels {
    /// How many differ, of how many.
    pub(super) count: u64,
    pub(super) of: u64,
    /// Column and row of the first, from the top left.
    pub(super) first: (u32, u32),
    pub(super) was: [u8; 3],
    pub(super) is: [u8; 3],
    /// The largest difference of a channel.
    pub(super) max: u8,
    /// The mean difference of all channels.
    pub(super) mean: f64,
}

/// What comparing has found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The files are the same byte for byte.
    Identical,
    /// The pixels are the same; the files are not.
    SamePixels,
    /// The pictures are not of one size, each in pixels.
    Size { was: (u32, u32), is: (u32, u32) },
    /// Some pixels differ.
    Pixels(Pixels),
}

/// Compares two files. Fails where one cannot be decoded.
pub(super) fn files(was: &[u8], is: &[u8]) -> Result<Outcome, String> {
    if was == is {
        return Ok(Outcome::Identical);
    }
    Ok(pictures(&decode(was)?, &decode(is)?))
}

fn pictures(was: &RgbImage, is: &RgbImage) -> Outcome {
    if was.dimensions() != is.dimensions() {
        return Outcome::Size {
            was: was.dimensions(),
            is: is.dimensions(),
        };
    }
    let (mut count, mut max, mut sum) = (0, 0, 0_u64);
    let mut first = None;
    for (before, now) in was.enumerate_pixels().zip(is.pixels()) {
        let (x, y, before) = before;
        if before == now {
            continue;
        }
        count += 1;
        first.get_or_insert(((x, y), before.0, now.0));
        for (a, b) in before.0.iter().zip(now.0) {
            max = max.max(a.abs_diff(b));
            sum += u64::from(a.abs_diff(b));
        }
    }
    let of = u64::from(was.width()) * u64::from(was.height());
    let Some((first, was, is)) = first else {
        return Outcome::SamePixels;
    };
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mean = sum as f64 / (3 * of) as f64;
    Outcome::Pixels(Pixels {
        count,
        of,
        first,
        was,
        is,
        max,
        mean,
    })
}

fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the picture cannot be decoded: {error}");
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| failed(&error))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_ALLOC_BYTES);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| failed(&error))?;
    Ok(picture.into_rgb8())
}

/// The first setting that two records do not share; none where either is empty.
pub(super) fn records(was: &Map<String, Value>, is: &Map<String, Value>) -> Option<Setting> {
    if was.is_empty() || is.is_empty() {
        return None;
    }
    let others = was.keys().chain(is.keys()).map(String::as_str);
    let names = ORDER.into_iter().chain(others);
    names
        .map(|name| {
            (
                name,
                was.get(name).unwrap_or(&Value::Null),
                is.get(name).unwrap_or(&Value::Null),
            )
        })
        .find(|(_, was, is)| was != is)
        .map(|(name, was, is)| Setting {
            name: name.to_owned(),
            was: was.clone(),
            is: is.clone(),
        })
}

impl Setting {
    /// `numerics was 1 and is 2`.
    pub(super) fn sentence(&self) -> String {
        let text = |value: &Value| match value {
            Value::Null => "not said".to_owned(),
            Value::String(text) => shortened(text),
            value => value.to_string(),
        };
        let name = match self.name.as_str() {
            "numerics" => "the version of the numerics",
            "imgd" => "the version of imgd",
            name => name,
        };
        format!("{name} was {} and is {}", text(&self.was), text(&self.is))
    }

    pub(super) fn json(&self) -> Value {
        json!({ "name": self.name, "was": self.was, "is": self.is })
    }
}

impl Pixels {
    /// Two lines for a person.
    pub(super) fn sentences(&self) -> [String; 2] {
        let rgb = |[r, g, b]: [u8; 3]| format!("{r} {g} {b}");
        let (x, y) = self.first;
        [
            format!(
                "the first pixel that differs is at {x},{y}: {} and now {}",
                rgb(self.was),
                rgb(self.is)
            ),
            format!(
                "{} of {} pixels differ, by {} of 255 at most and {:.3} on average",
                self.count, self.of, self.max, self.mean
            ),
        ]
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "count": self.count,
            "of": self.of,
            "first": { "x": self.first.0, "y": self.first.1, "was": self.was, "is": self.is },
            "max_difference": self.max,
            "mean_difference": self.mean,
        })
    }
}

/// A text as it fits into a sentence; hashes are known by their first digits.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use image::{
        ExtendedColorType, ImageEncoder as _,
        codecs::png::{CompressionType, FilterType, PngEncoder},
    };

    use super::*;

    fn png(pixels: &[u8], width: u32, compression: CompressionType) -> Vec<u8> {
        let mut bytes = Vec::new();
        let height = u32::try_from(pixels.len()).unwrap() / 3 / width;
        PngEncoder::new_with_quality(&mut bytes, compression, FilterType::NoFilter)
            .write_image(pixels, width, height, ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    }

    #[test]
    fn files_pixels_and_sizes_are_told_apart() {
        let pixels: Vec<u8> = (0..192).collect();
        let file = png(&pixels, 8, CompressionType::Best);
        assert_eq!(files(&file, &file), Ok(Outcome::Identical));
        let other = png(&pixels, 8, CompressionType::Uncompressed);
        assert_eq!(files(&file, &other), Ok(Outcome::SamePixels));
        let turned = png(&pixels, 16, CompressionType::Best);
        assert_eq!(
            files(&file, &turned),
            Ok(Outcome::Size {
                was: (8, 8),
                is: (16, 4)
            })
        );
        let mut changed = pixels;
        (changed[30], changed[100]) = (40, 96);
        let changed = png(&changed, 8, CompressionType::Best);
        let Ok(Outcome::Pixels(found)) = files(&file, &changed) else {
            panic!("the pixels differ")
        };
        assert_eq!(
            (found.count, found.of, found.first, found.max),
            (2, 64, (2, 1), 10)
        );
        assert_eq!((found.was, found.is), ([30, 31, 32], [40, 31, 32]));
        assert!((found.mean - 14.0 / 192.0).abs() < 1e-9);
        assert!(files(&file, b"no picture").is_err());
    }

    #[test]
    fn a_small_file_of_a_huge_picture_is_refused() {
        let mut file = png(&[0; 192], 8, CompressionType::Best);
        file[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        assert!(files(&file, &png(&[0; 192], 8, CompressionType::Best)).is_err());
    }

    #[test]
    fn the_setting_that_decides_most_is_named() {
        let record = |hash: &str, numerics: &str, imgd: &str| {
            let value = json!({ "model_hash": hash, "numerics": numerics, "imgd": imgd, "seed": 1, "later": imgd });
            value.as_object().unwrap().clone()
        };
        let old = record("a", "1", "0.1.0");
        assert_eq!(records(&old, &old), None);
        assert_eq!(
            records(&old, &record("a", "2", "0.2.0")).unwrap().name,
            "numerics"
        );
        assert_eq!(
            records(&old, &record("b", "2", "0.2.0"))
                .unwrap()
                .sentence(),
            "model_hash was `a` and is `b`"
        );
        assert_eq!(
            records(&old, &record("a", "1", "0.2.0")).unwrap().name,
            "imgd"
        );
        assert_eq!(records(&old, &Map::new()), None);
    }
}
