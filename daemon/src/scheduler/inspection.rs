//! Whether the files of a model have changed: their device, inode, size and time, without reading them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use crate::{engine::Place, queue::Fingerprint};

/// A model's directory has a few dozen files; more are not looked at.
const MAX_FILES: usize = 4096;

/// Looks at the files on a thread where that may take time.
pub(super) async fn look(place: Place) -> Fingerprint {
    let paths = match place {
        Place::Embedded => return Fingerprint(0),
        Place::Directory(path) | Place::Upscaler(path) => vec![path],
        Place::Configured {
            file,
            config,
            parts,
        } => std::iter::once(file)
            .chain(config)
            .chain(parts.into_values())
            .collect(),
    };
    let looked = tokio::task::spawn_blocking(move || fingerprint(&paths)).await;
    looked.unwrap_or(Fingerprint(0))
}

/// Describes files, directories and the directories in them; what cannot be read counts as missing.
fn fingerprint(paths: &[impl AsRef<Path>]) -> Fingerprint {
    let mut files = Vec::new();
    for path in paths {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => push(path.as_ref(), &metadata, &mut files),
            _ => collect(path.as_ref(), 2, &mut files),
        }
    }
    files.sort_unstable();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    Fingerprint(hasher.finish())
}

type FileState = (std::ffi::OsString, [i64; 2], [u64; 3]);

fn collect(directory: &Path, depth: u32, files: &mut Vec<FileState>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if files.len() >= MAX_FILES {
            return;
        }
        // Follows symbolic links: a model cache links its files.
        let path = entry.path();
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() && depth > 1 {
            collect(&path, depth - 1, files);
        } else if metadata.is_file() {
            push(&path, &metadata, files);
        }
    }
}

fn push(path: &Path, metadata: &std::fs::Metadata, files: &mut Vec<FileState>) {
    files.push((
        path.as_os_str().to_owned(),
        [metadata.mtime(), metadata.mtime_nsec()],
        [metadata.dev(), metadata.ino(), metadata.size()],
    ));
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_changed_added_or_replaced_file_changes_the_fingerprint() {
        let model = tempfile::tempdir().unwrap();
        let unet = model.path().join("unet");
        std::fs::create_dir(&unet).unwrap();
        std::fs::write(unet.join("config.json"), "{}").unwrap();
        let first = fingerprint(&[model.path()]);
        assert_eq!(first, fingerprint(&[model.path()]));
        std::fs::write(unet.join("config.json"), "{ }").unwrap();
        let second = fingerprint(&[model.path()]);
        assert_ne!(first, second);
        std::fs::write(unet.join("new"), "{ }").unwrap();
        std::fs::rename(unet.join("new"), unet.join("config.json")).unwrap();
        assert_ne!(second, fingerprint(&[model.path()]));
    }
}
