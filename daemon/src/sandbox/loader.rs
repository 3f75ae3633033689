//! Where the system's loader of programs lies, which the kernel executes for a program that is linked dynamically.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// Longest path of a loader that is believed.
const MOST_BYTES: u64 = 4096;

/// An ELF segment with the loader's path.
const PT_INTERP: u32 = 3;

/// The folder of a program's loader; `None` for a program that needs none.
///
/// The folder, since an update of the C library puts another file in the loader's place, and workers must start after it. The
/// file alone would be no narrower: a loader runs any program that it can read.
pub(super) fn folder(program: &Path) -> Option<PathBuf> {
    let loader = interpreter(&File::open(program).ok()?)?;
    loader.canonicalize().ok()?.parent().map(Path::to_owned)
}

/// The path in a 64-bit ELF file of this processor's byte order. Source: elf(5).
fn interpreter(file: &File) -> Option<PathBuf> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if !header.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let table = u64::from_ne_bytes(header[32..40].try_into().ok()?);
    let size = u16::from_ne_bytes(header[54..56].try_into().ok()?);
    let count = u16::from_ne_bytes(header[56..58].try_into().ok()?);
    (0..u64::from(count)).find_map(|index| {
        let mut segment = [0; 40];
        let at = table.checked_add(index * u64::from(size))?;
        file.read_exact_at(&mut segment, at).ok()?;
        let field = |at: usize| Some(u64::from_ne_bytes(segment[at..at + 8].try_into().ok()?));
        if u32::from_ne_bytes(segment[..4].try_into().ok()?) != PT_INTERP {
            return None;
        }
        let (offset, length) = (field(8)?, field(32)?.min(MOST_BYTES));
        let mut path = vec![0; usize::try_from(length).ok()?];
        file.read_exact_at(&mut path, offset).ok()?;
        let path = path.split(|byte| *byte == 0).next()?;
        Some(PathBuf::from(std::str::from_utf8(path).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn the_loader_of_this_program_is_found_and_of_a_text_none() {
        let own = super::folder(Path::new("/proc/self/exe"));
        // A program that is linked statically has none, and then the kernel maps none.
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = |folder: &Path| maps.contains(&format!("{}/ld", folder.display()));
        assert_eq!(own.as_deref().is_some_and(mapped), maps.contains("/ld-"));
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("text");
        fs::write(&text, "#!/bin/sh\n").unwrap();
        assert_eq!(super::folder(&text), None);
        fs::write(&text, [b"\x7fELF\x02".as_slice(), &[255; 100]].concat()).unwrap();
        assert_eq!(super::folder(&text), None);
    }
}
