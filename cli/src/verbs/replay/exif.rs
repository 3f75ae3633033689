//! The two texts in an Exif block: `ImageDescription`, and `UserComment` with its eight bytes of encoding before it.
//!
//! An Exif block is a TIFF file: a byte order, then directories of entries of twelve bytes (tag, type, count, value or
//! its offset). No offset or count is believed.

use super::embedded::Texts;

const IMAGE_DESCRIPTION: u16 = 0x010e;
const EXIF_DIRECTORY: u16 = 0x8769;
const USER_COMMENT: u16 = 0x9286;

/// The texts of a block; none where it is damaged.
pub(super) fn texts(block: &[u8]) -> Texts {
    // As JPEG has it; some writers of WebP put it there too.
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let Some(block) = Block::open(block) else {
        return Texts::default();
    };
    let main = block.number(4, 4);
    let description = main
        .and_then(|main| block.value(main, IMAGE_DESCRIPTION))
        .and_then(|bytes| bytes.split(|&byte| byte == 0).next())
        .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let comment = main
        .and_then(|main| block.entry(main, EXIF_DIRECTORY))
        .and_then(|entry| block.number(entry + 8, 4))
        .and_then(|exif| block.value(exif, USER_COMMENT))
        .and_then(|bytes| block.comment(bytes));
    Texts {
        record: description.filter(|text| !text.is_empty()),
        parameters: comment.filter(|text| !text.is_empty()),
    }
}

struct Block<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Block<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let is_big_endian = match bytes.get(..4)? {
            [b'M', b'M', 0, 42] => true,
            [b'I', b'I', 42, 0] => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            is_big_endian,
        })
    }

    /// The number of so many bytes that lies at `at`.
    fn number(&self, at: usize, length: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        let add = |number: usize, &byte: &u8| number << 8 | usize::from(byte);
        Some(if self.is_big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        })
    }

    /// Where the entry of `tag` lies in a directory.
    fn entry(&self, directory: usize, tag: u16) -> Option<usize> {
        let count = self.number(directory, 2)?;
        (0..count)
            .map(|i| directory + 2 + 12 * i)
            .find(|&at| self.number(at, 2) == Some(tag.into()))
    }

    /// The bytes of an entry whose values are of one byte.
    fn value(&self, directory: usize, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(directory, tag)?;
        let length = self.number(entry + 4, 4)?;
        let at = match length {
            0..=4 => entry + 8,
            _ => self.number(entry + 8, 4)?,
        };
        self.bytes.get(at..at.checked_add(length)?)
    }

    fn comment(&self, bytes: &[u8]) -> Option<String> {
        let (encoding, text) = bytes.split_at_checked(8)?;
        match encoding {
            b"UNICODE\0" => {
                // Writers differ in the byte order of this text; a space or letter has its zero byte in front of it
                // where it is big-endian.
                let big = text.iter().step_by(2).filter(|&&byte| byte == 0).count();
                let little = text
                    .iter()
                    .skip(1)
                    .step_by(2)
                    .filter(|&&byte| byte == 0)
                    .count();
                let is_big = match big.cmp(&little) {
                    std::cmp::Ordering::Equal => self.is_big_endian,
                    order => order.is_gt(),
                };
                let units = text.as_chunks::<2>().0.iter().map(|&pair| match is_big {
                    true => u16::from_be_bytes(pair),
                    false => u16::from_le_bytes(pair),
                });
                String::from_utf16(&units.collect::<Vec<_>>()).ok()
            }
            b"ASCII\0\0\0" => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block as imgd writes it: two directories, then the texts.
    pub(super) fn block(record: &str, parameters: &str) -> Vec<u8> {
        let comment: Vec<u8> = b"UNICODE\0"
            .iter()
            .copied()
            .chain(parameters.encode_utf16().flat_map(u16::to_be_bytes))
            .collect();
        let record = [record.as_bytes(), b"\0"].concat();
        let entry = |tag: u16, kind: u16, count: usize, value: usize| {
            let long = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
            [
                &tag.to_be_bytes()[..],
                &kind.to_be_bytes(),
                &long(count),
                &long(value),
            ]
            .concat()
        };
        [
            b"MM\0\x2a\0\0\0\x08\0\x02".to_vec(),
            entry(IMAGE_DESCRIPTION, 2, record.len(), 56),
            entry(EXIF_DIRECTORY, 4, 1, 38),
            vec![0; 4],
            vec![0, 1],
            entry(USER_COMMENT, 7, comment.len(), 56 + record.len()),
            vec![0; 4],
            record,
            comment,
        ]
        .concat()
    }

    #[test]
    fn both_texts_are_read() {
        for prefix in [&b""[..], b"Exif\0\0"] {
            let texts = texts(&[prefix, &block("{\"a\":1}", "a red äpple\nSteps: 1")].concat());
            assert_eq!(texts.record.as_deref(), Some("{\"a\":1}"));
            assert_eq!(texts.parameters.as_deref(), Some("a red äpple\nSteps: 1"));
        }
    }

    proptest! {
        #[test]
        fn hostile_blocks_are_read_without_a_panic(at in 0usize..90, value: u8, end in 0usize..120) {
            let mut block = block("{\"a\":1}", "a red apple");
            block[at] = value;
            drop(texts(&block[..end.min(block.len())]));
            drop(texts(&block));
        }
    }
}
