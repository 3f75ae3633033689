//! Two downloads of one blob, one after the other: the lock that huggingface_hub takes as well.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How often to look whether the other is done.
const LOOK: Duration = Duration::from_millis(100);

/// Takes the lock at `path`, waiting for whoever has it; `waiting` is called once before. `None` when `stop` is set
/// meanwhile. It is given back when dropped.
pub(super) fn take(
    path: &Path,
    stop: &AtomicBool,
    waiting: impl FnOnce(),
) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut waiting = Some(waiting);
    while !stop.load(Ordering::Relaxed) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o664)
            .open(path)?;
        match file.try_lock() {
            // Somebody may have deleted the file that was waited for.
            Ok(()) if is_at(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                std::thread::sleep(LOOK);
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(there)) = (file.metadata(), path.metadata()) else {
        return false;
    };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.lock");
        let stop = AtomicBool::new(false);
        let first = take(&path, &stop, || panic!("it is free")).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| take(&path, &stop, || stop.store(true, Ordering::Relaxed)));
            assert!(second.join().unwrap().unwrap().is_none());
        });
        drop(first);
        stop.store(false, Ordering::Relaxed);
        assert!(
            take(&path, &stop, || panic!("it is free"))
                .unwrap()
                .is_some()
        );
    }
}
