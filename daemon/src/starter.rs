//! Where the starter model is: inside the program, else in a directory beside it.

use std::path::{Path, PathBuf};

use crate::engine::Place;

/// Finds it. `is_embedded` tells whether the program holds it; `configured` is `starter_dir` of the config.
pub fn find(is_embedded: bool, configured: Option<&Path>) -> Option<Place> {
    if let Some(directory) = configured {
        return Some(Place::Directory(directory.to_owned()));
    }
    if is_embedded {
        return Some(Place::Embedded);
    }
    let program = std::env::current_exe()
        .and_then(|program| program.canonicalize())
        .ok()?;
    let beside = program.parent()?;
    candidates(beside)
        .into_iter()
        .find(|directory| directory.join("model_index.json").is_file())
        .map(Place::Directory)
}

/// `bin/imgd` with `share/imgd/models/starter`, and an unpacked archive with `models/starter`.
fn candidates(beside: &Path) -> Vec<PathBuf> {
    let installed = beside
        .parent()
        .map(|prefix| prefix.join("share/imgd/models/starter"));
    installed
        .into_iter()
        .chain([beside.join("models/starter")])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{candidates, find};
    use crate::engine::Place;

    #[test]
    fn a_configured_directory_is_stronger_than_what_is_inside() {
        let directory = Path::new("/models/starter");
        assert_eq!(
            find(true, Some(directory)),
            Some(Place::Directory(directory.to_owned()))
        );
        assert_eq!(find(true, None), Some(Place::Embedded));
        assert_eq!(find(false, None), None);
    }

    #[test]
    fn packages_and_archives_are_looked_at() {
        let expected = ["/usr/share/imgd/models/starter", "/usr/bin/models/starter"];
        assert_eq!(candidates(Path::new("/usr/bin")), expected.map(Path::new));
    }
}
