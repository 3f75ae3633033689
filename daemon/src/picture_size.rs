//! The size that a picture's file says it has, from its first bytes alone. Nothing is decoded: what is planned with this is
//! memory, and the worker looks at the picture itself.

/// Width and height in pixels as they are stored; `None` where the file is no PNG, JPEG or WebP, or says nothing.
pub(crate) fn of(file: &[u8]) -> Option<(u32, u32)> {
    if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        let side = |at: usize| {
            let bytes = file.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        return Some((side(16)?, side(20)?));
    }
    if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP") {
        return webp(file);
    }
    file.starts_with(&[0xff, 0xd8]).then(|| jpeg(file))?
}

/// From the first frame's header: markers before it are passed over by their lengths.
fn jpeg(file: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| {
        let bytes = file.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    let mut at = 2;
    loop {
        if *file.get(at)? != 0xff {
            return None;
        }
        match *file.get(at + 1)? {
            // Filling.
            0xff => at += 1,
            // A frame, but for tables that have numbers between those of frames.
            0xc0..=0xcf if !matches!(file[at + 1], 0xc4 | 0xc8 | 0xcc) => {
                return Some((number(at + 7)?.into(), number(at + 5)?.into()));
            }
            // The picture's data: no frame came.
            0xda | 0xd9 => return None,
            _ => at += 2 + usize::from(number(at + 2)?),
        }
    }
}

/// From the first chunk.
fn webp(file: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize, bytes: usize| {
        let part = file.get(at..at + bytes)?;
        let digits = part.iter().rev();
        Some(digits.fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    match file.get(12..16)? {
        b"VP8X" => Some((number(24, 3)? + 1, number(27, 3)? + 1)),
        b"VP8L" => {
            let bits = number(21, 4)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((number(26, 2)? & 0x3fff, number(28, 2)? & 0x3fff)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn files_of_every_kind_say_their_size() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x2c\0\0\0\x46\x08\x02\0\0\0";
        // With a segment and a filling byte before the frame.
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x11\x08\0\x46\x01\x2c\x03";
        let lossless = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x2b\x41\x11\0";
        for file in [&png[..], jpeg, lossless] {
            assert_eq!(of(file), Some((300, 70)));
            for end in 0..file.len() {
                // What is cut says nothing, or the same.
                assert!(of(&file[..end]).is_none_or(|size| size == (300, 70)));
            }
        }
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x2c\x01\x46\x00";
        assert_eq!(of(lossy), Some((300, 70)));
        let extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x2b\x01\0\x45\0\0";
        assert_eq!(of(extended), Some((300, 70)));
        for nothing in [
            &b""[..],
            b"GIF89a",
            &[0xff, 0xd8, 0xff, 0xd9],
            &[0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff],
        ] {
            assert_eq!(of(nothing), None);
        }
    }
}
