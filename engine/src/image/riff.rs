//! The chunks of a WebP file: a name of four bytes, a length, and as many bytes.

/// What the decoder takes memory for before it looks whether the file has as much.
const TAKEN: [&[u8; 4]; 3] = [b"EXIF", b"ICCP", b"XMP "];
/// A frame of an animation begins with so many bytes before its own chunks.
const FRAME_BYTES: usize = 16;

/// Whether what the decoder takes memory for ends within the file.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    fits(bytes.get(12..).unwrap_or_default(), false)
}

fn fits(mut rest: &[u8], is_frame: bool) -> bool {
    while let Some(([a, b, c, d, length @ ..], body)) = rest.split_first_chunk::<8>() {
        let name = &[*a, *b, *c, *d];
        let length = u32::from_le_bytes(*length) as usize;
        let chunk = &body[..length.min(body.len())];
        if chunk.len() < length && TAKEN.contains(&name) {
            return false;
        }
        let frame = chunk.get(FRAME_BYTES..).unwrap_or_default();
        if name == b"ANMF" && !is_frame && !fits(frame, true) {
            return false;
        }
        rest = body.get(length + length % 2..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], length: u32, bytes: &[u8]) -> Vec<u8> {
        [name, &length.to_le_bytes()[..], bytes].concat()
    }

    #[test]
    fn chunks_end_within_the_file() {
        let file = |chunks: &[u8]| [b"RIFF\0\0\0\0WEBP", chunks].concat();
        let exif = chunk(b"EXIF", 3, b"abc\0");
        assert!(is_whole(&file(&[&exif[..], &exif].concat())));
        assert!(!is_whole(&file(
            &[&exif[..], &chunk(b"ICCP", 4, b"abc")].concat()
        )));
        assert!(!is_whole(&file(&chunk(b"EXIF", u32::MAX, b""))));
        // Pixels are read as far as they go.
        assert!(is_whole(&file(&chunk(b"VP8 ", 100, b"abc"))));
        let frame = |chunks: &[u8]| [&[0; FRAME_BYTES], chunks].concat();
        let animated = |chunks: &[u8]| file(&chunk(b"ANMF", 1 << 20, &frame(chunks)));
        assert!(is_whole(&animated(&exif)));
        assert!(!is_whole(&animated(&chunk(b"EXIF", 1 << 30, b"abc"))));
        assert!(is_whole(b"RIFF"));
    }
}
