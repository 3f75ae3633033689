//! The upscalers that requests name: files of our folder and of other programs', or of a path.

use std::path::{Path, PathBuf};

use imgd_models::apps;
use imgd_proto::{limits, v1};

use super::{
    folder::{Folder, Kind},
    found::FoundModels,
};
use crate::{
    engine::{ModelKey, Place},
    failure::Failure,
};

const KIND: Kind = Kind {
    one: "upscaler",
    all: "upscalers",
    endings: &[".safetensors"],
    folder_has: None,
    advice: "put its safetensors file there (4x-UltraSharp, RealESRGAN_x4plus and the like), or give its path",
    or_else: "; others by their path",
};

/// The upscaler that a request names; the only one of the folder where it names none. Upper and lower case are the same where no name
/// is written exactly so.
///
/// Fails naming the field when there is none of that name, or several.
pub(super) fn find(asked: &str, root: &Path, others: &FoundModels) -> Result<ModelKey, Failure> {
    if asked.starts_with('/') {
        return Ok(key(Path::new(asked).components().collect()));
    }
    let field = limits::UPSCALER.field;
    let folder = read(root, others);
    if asked.is_empty() {
        let mut paths = folder.paths();
        return match (paths.next(), paths.next()) {
            (Some(only), None) => Ok(key(only.to_owned())),
            (None, _) => Err(folder.unknown_any(field)),
            (Some(_), Some(_)) => Err(Failure::invalid(field, "there are several upscalers")
                .with_hint(
                    "name one, as in `-m 4x-UltraSharp`; `imgctl upscale --list` lists them",
                )),
        };
    }
    let found = folder.locate(asked, field).or_else(|failure| {
        let spelled = folder.spelled(asked).ok_or(failure)?;
        folder.locate(&spelled, field)
    })?;
    Ok(key(found.to_owned()))
}

/// All that have a name, in order of name.
pub(super) fn list(root: &Path, others: &FoundModels) -> Vec<ModelKey> {
    let folder = read(root, others);
    let mut keys: Vec<_> = folder.paths().map(|path| key(path.to_owned())).collect();
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    keys
}

fn read<'a>(root: &'a Path, others: &FoundModels) -> Folder<'a> {
    Folder::read(root, &others.folders(apps::Kind::Upscaler), &KIND)
}

fn key(path: PathBuf) -> ModelKey {
    let stem = path.file_stem().unwrap_or_default();
    ModelKey {
        name: stem.to_string_lossy().into_owned(),
        place: Place::Upscaler(path),
        precision: v1::Precision::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_however_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let found =
            |name: &str| find(name, root, &FoundModels::default()).map(|key| (key.name, key.place));
        let failure = found("").unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("upscaler"));
        assert!(failure.hint.unwrap().contains("4x-UltraSharp"));
        std::fs::create_dir(root.join("anime")).unwrap();
        let path = |file: &str| Place::Upscaler(root.join(file));
        std::fs::write(root.join("4x-UltraSharp.safetensors"), "").unwrap();
        let only = Ok((
            "4x-UltraSharp".to_owned(),
            path("4x-UltraSharp.safetensors"),
        ));
        assert_eq!(found(""), only);
        std::fs::write(
            root.join("anime/RealESRGAN_x4plus_anime_6B.safetensors"),
            "",
        )
        .unwrap();
        for name in [
            "4x-UltraSharp",
            "4x-ultrasharp",
            "4X-ULTRASHARP.safetensors",
        ] {
            assert_eq!(found(name), only, "{name}");
        }
        let anime = "RealESRGAN_x4plus_anime_6B";
        let expected = (
            anime.to_owned(),
            path(&format!("anime/{anime}.safetensors")),
        );
        for name in [
            anime,
            "anime/realesrgan_X4plus_anime_6b",
            "realesrgan_x4plus_anime_6b",
        ] {
            assert_eq!(found(name).unwrap(), expected, "{name}");
        }
        assert!(found("").unwrap_err().message.contains("several"));
        let unknown = found("8x").unwrap_err();
        assert!(
            unknown
                .hint
                .unwrap()
                .contains("`4x-UltraSharp`, `anime/RealESRGAN")
        );
        assert_eq!(found("/a//b.safetensors").unwrap().0, "b");
        let listed: Vec<_> = list(root, &FoundModels::default())
            .into_iter()
            .map(|key| key.name)
            .collect();
        assert_eq!(listed, ["4x-UltraSharp", anime]);
    }
}
