//! Names a build of the daemon, so that a client notices a daemon of other code.
//!
//! Both sides compute the same name from the `imgd` executable's file: the daemon once, when it starts,
//! from the file it was started from; the client at every connection, from the file it would start now.
//! Rebuilding or updating changes the file, so the names differ.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use sha2::{Digest as _, Sha256};

/// The name of the build in the executable at `path`: SHA-256 of `"<mtime in ns>:<size in bytes>"`, 64 hex digits.
///
/// Follows symbolic links. Costs one `stat`, not a read of the file. Fails when the file cannot be found.
pub fn build_id(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    let mtime_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    let digest = Sha256::digest(format!("{mtime_ns}:{}", metadata.size()));
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        time::{Duration, UNIX_EPOCH},
    };

    use super::build_id;

    #[test]
    fn a_build_is_named_by_time_and_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("imgd");
        fs::write(&path, "12345").unwrap();
        let set = |secs| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::new(secs, 7))
                .unwrap();
            build_id(&path).unwrap()
        };
        let first = set(1);
        // printf '1000000007:5' | sha256sum
        assert_eq!(
            first,
            "c912d03f2d11ec4eff654048d293a810a6b60ebcc28ebef10846cda652c0b6cf"
        );
        assert_ne!(first, set(2));
        assert_eq!(first, set(1));
        fs::write(&path, "123456").unwrap();
        assert_ne!(first, set(1));
    }

    #[test]
    fn a_missing_file_has_no_name() {
        assert!(build_id(std::path::Path::new("/nonexistent/imgd")).is_err());
    }
}
