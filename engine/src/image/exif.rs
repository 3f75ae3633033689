//! The Exif block that JPEG and WebP carry: two texts in a TIFF structure, big-endian as other writers of them do.
//!
//! * `ImageDescription` (0x010e, IFD 0), ASCII: the JSON record.
//! * `UserComment` (0x9286, Exif IFD): `UNICODE\0` and A1111's settings text in UTF-16, big-endian.
//!
//! The reader takes both byte orders and trusts no offset.

/// What fits into a JPEG's APP1 segment: its length field counts itself and the six bytes of `Exif\0\0`.
pub(super) const JPEG_LIMIT_BYTES: usize = 0xffff - 2 - 6;

const IMAGE_DESCRIPTION: u16 = 0x010e;
const EXIF_IFD: u16 = 0x8769;
const EXIF_VERSION: u16 = 0x9000;
const USER_COMMENT: u16 = 0x9286;

const ASCII: u16 = 2;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;

const UNICODE: &[u8] = b"UNICODE\0";

/// The block with both texts. `record` is ASCII.
pub(super) fn write(parameters: &str, record: &str) -> Vec<u8> {
    let description: Vec<u8> = record.bytes().chain([0]).collect();
    let comment: Vec<u8> = UNICODE
        .iter()
        .copied()
        .chain(parameters.encode_utf16().flat_map(u16::to_be_bytes))
        .collect();
    // Header, IFD 0 with two entries, Exif IFD with two entries, then the texts.
    let (first_ifd, exif_ifd) = (8, 8 + ifd_bytes(2));
    let description_at = exif_ifd + ifd_bytes(2);
    let comment_at = (description_at + description.len()).next_multiple_of(2);

    let mut block = Vec::with_capacity(comment_at + comment.len());
    block.extend(b"MM\0\x2a");
    put_u32(&mut block, first_ifd);
    put_u16(&mut block, 2);
    entry(
        &mut block,
        IMAGE_DESCRIPTION,
        ASCII,
        description.len(),
        description_at,
    );
    entry(&mut block, EXIF_IFD, LONG, 1, exif_ifd);
    put_u32(&mut block, 0);
    put_u16(&mut block, 2);
    entry(
        &mut block,
        EXIF_VERSION,
        UNDEFINED,
        4,
        usize::try_from(u32::from_be_bytes(*b"0230")).expect("32 bits"),
    );
    entry(
        &mut block,
        USER_COMMENT,
        UNDEFINED,
        comment.len(),
        comment_at,
    );
    put_u32(&mut block, 0);
    block.extend(description);
    block.resize(comment_at, 0);
    block.extend(comment);
    block
}

/// The block, of at most `limit` bytes. What does not fit is left out whole, and the comment says so.
pub(super) fn write_within(parameters: &str, record: &str, limit: usize) -> Vec<u8> {
    let whole = write(parameters, record);
    if whole.len() <= limit {
        return whole;
    }
    let why = |what: &str| {
        format!(
            "{what} left out: a JPEG has room for {limit} bytes, they need {}",
            whole.len()
        )
    };
    let record_only = write(
        &why("imgd: settings text (the record is in ImageDescription)"),
        record,
    );
    if record_only.len() <= limit {
        return record_only;
    }
    write(&why("imgd: settings and record"), "")
}

/// The texts in a block: settings text and record.
pub(super) fn read(block: &[u8]) -> (Option<String>, Option<String>) {
    // Some writers put the JPEG segment's name in front in other containers too.
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let Some(tiff) = Tiff::open(block) else {
        return (None, None);
    };
    let first_ifd = tiff.u32(4);
    let record = first_ifd
        .and_then(|ifd| tiff.value(ifd, IMAGE_DESCRIPTION))
        .and_then(|bytes| {
            let text = bytes.split(|&byte| byte == 0).next()?;
            String::from_utf8(text.to_vec())
                .ok()
                .filter(|text| !text.is_empty())
        });
    let exif_ifd = first_ifd
        .and_then(|ifd| tiff.entry(ifd, EXIF_IFD))
        .and_then(|entry| tiff.u32(entry + 8));
    let comment = exif_ifd
        .and_then(|ifd| tiff.value(ifd, USER_COMMENT))
        .and_then(comment_text);
    (comment, record)
}

/// The text of a comment, whose first eight bytes name its encoding.
fn comment_text(bytes: &[u8]) -> Option<String> {
    if let Some(utf16) = bytes.strip_prefix(UNICODE) {
        let units: Vec<u16> = utf16
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&unit| u16::from_be_bytes(unit))
            .collect();
        return String::from_utf16(&units).ok();
    }
    String::from_utf8(bytes.strip_prefix(b"ASCII\0\0\0")?.to_vec()).ok()
}

fn ifd_bytes(entries: usize) -> usize {
    2 + 12 * entries + 4
}

fn entry(block: &mut Vec<u8>, tag: u16, kind: u16, count: usize, value: usize) {
    put_u16(block, tag);
    put_u16(block, kind);
    put_u32(block, count);
    put_u32(block, value);
}

fn put_u16(block: &mut Vec<u8>, value: u16) {
    block.extend(value.to_be_bytes());
}

fn put_u32(block: &mut Vec<u8>, value: usize) {
    block.extend(
        u32::try_from(value)
            .expect("prompts are shorter than 4 GiB")
            .to_be_bytes(),
    );
}

/// A block of unknown origin.
struct Tiff<'a> {
    block: &'a [u8],
    big_endian: bool,
}

impl<'a> Tiff<'a> {
    fn open(block: &'a [u8]) -> Option<Self> {
        let big_endian = match block.get(..4)? {
            b"MM\0\x2a" => true,
            b"II\x2a\0" => false,
            _ => return None,
        };
        Some(Self { block, big_endian })
    }

    fn bytes(&self, at: usize, count: usize) -> Option<&'a [u8]> {
        self.block.get(at..at.checked_add(count)?)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes(at, 2)?.try_into().ok()?;
        Some(if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    /// A 32-bit number, which is an offset or a count.
    fn u32(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes(at, 4)?.try_into().ok()?;
        let value = if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        };
        usize::try_from(value).ok()
    }

    /// Where the entry with `tag` lies in the directory at `ifd`.
    fn entry(&self, ifd: usize, tag: u16) -> Option<usize> {
        let count = usize::from(self.u16(ifd)?);
        (0..count)
            .map(|number| ifd + 2 + 12 * number)
            .find(|&at| self.u16(at) == Some(tag))
    }

    /// The bytes of a value of a one-byte type.
    fn value(&self, ifd: usize, tag: u16) -> Option<&'a [u8]> {
        let at = self.entry(ifd, tag)?;
        let count = self.u32(at + 4)?;
        if count <= 4 {
            self.bytes(at + 8, count)
        } else {
            self.bytes(self.u32(at + 8)?, count)
        }
    }
}
