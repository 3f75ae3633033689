//! The names of a picture's files.

use imgd_proto::v1::ImageFormat;
use sha2::{Digest as _, Sha256};

/// A picture's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    /// SHA-256 of its bytes.
    pub(super) sha256: [u8; 32],
    /// Decides how its name ends.
    pub(super) format: ImageFormat,
}

impl Blob {
    /// The file of these bytes.
    pub(super) fn of(bytes: &[u8], format: ImageFormat) -> Self {
        Self {
            sha256: Sha256::digest(bytes).into(),
            format,
        }
    }

    /// The folder it is in.
    pub(super) fn shelf(&self) -> String {
        hex(&self.sha256[..1])
    }

    /// The name of the picture.
    pub(super) fn name(&self) -> String {
        let extension = match self.format {
            ImageFormat::Jpeg => "jpg",
            ImageFormat::Webp => "webp",
            ImageFormat::Png | ImageFormat::Unspecified => "png",
        };
        format!("{}.{extension}", hex(&self.sha256))
    }

    /// The name of its thumbnail.
    pub(super) fn thumbnail_name(&self) -> String {
        format!("{}.thumb.jpg", hex(&self.sha256))
    }

    /// The hash in the name of a picture or thumbnail.
    pub(super) fn sha256_of(name: &str) -> Option<[u8; 32]> {
        let (digits, rest) = name.split_at_checked(64)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if ![".png", ".jpg", ".webp", ".thumb.jpg"].contains(&rest) || !digits.bytes().all(is_digit)
        {
            return None;
        }
        let mut sha256 = [0; 32];
        for (byte, digits) in sha256.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(sha256)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
