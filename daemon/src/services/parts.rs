//! The files of a model's parts, by their paths: a request may name those that lie in the folders of other programs.

use imgd_models::apps;
use imgd_proto::{limits, v1};

use super::{
    folder::{Folder, Kind},
    found::FoundModels,
};
use crate::failure::Failure;

const KIND: Kind = Kind {
    one: "file",
    all: "files",
    endings: &[".safetensors", ".gguf"],
    folder_has: None,
    advice: "give its path",
    or_else: "; others by their path",
};

/// Puts the paths of files in the place of their names.
///
/// Fails naming the field when no file has the name, or several have.
pub(super) fn find(parts: &mut [v1::ModelPart], found: &FoundModels) -> Result<(), Failure> {
    let field = limits::MODEL_PARTS.field;
    for part in parts.iter_mut().filter(|part| !part.file.starts_with('/')) {
        let folders = found.folders(kind(&part.part));
        let Some(first) = folders.first() else {
            let message = format!(
                "the file of `{}`, `{}`, is no path, and no other program has a folder of such files",
                part.part, part.file
            );
            return Err(Failure::invalid(field, message)
                .with_hint("give its path, as in `./file.safetensors`"));
        };
        // None of them is ours: all are looked at alike.
        let folder = Folder::of_others(first, &folders, &KIND);
        let path = folder.locate(&part.file, field)?;
        part.file = path
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| Failure::invalid(field, "the path of a program's folder is no UTF-8"))?;
    }
    Ok(())
}

/// Where programs keep the files of a part.
fn kind(part: &str) -> apps::Kind {
    match part {
        "vae" => apps::Kind::Vae,
        text if text.starts_with("text_encoder") => apps::Kind::TextEncoder,
        _ => apps::Kind::Model,
    }
}

#[cfg(test)]
mod tests {
    use imgd_models::apps::AppPlace;

    use super::*;

    #[test]
    fn files_of_parts_are_found_in_the_folders_of_their_kind() {
        let root = tempfile::tempdir().unwrap();
        let models = root.path().join("models");
        for file in [
            "checkpoints/a",
            "vae/ae",
            "text_encoders/t5",
            "clip/t5",
            "clip/ae",
            "unet/flux",
        ] {
            let file = models.join(format!("{file}.safetensors"));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let place = AppPlace {
            path: root.path().to_owned(),
            is_named: true,
        };
        let house = FoundModels::new(vec![place], None);
        let located = |part: &str, file: &str, found: &FoundModels| {
            let mut parts = [v1::ModelPart {
                part: part.to_owned(),
                file: file.to_owned(),
            }];
            find(&mut parts, found)?;
            let [part] = parts;
            Ok::<_, Failure>(part.file)
        };
        let path = |below: &str| models.join(below).to_str().unwrap().to_owned();
        assert_eq!(
            located("vae", "ae", &house).unwrap(),
            path("vae/ae.safetensors")
        );
        assert_eq!(
            located("transformer", "flux", &house).unwrap(),
            path("unet/flux.safetensors")
        );
        assert_eq!(located("vae", "/x/y.gguf", &house).unwrap(), "/x/y.gguf");
        let failure = located("text_encoder_2", "t5", &house).unwrap_err();
        assert!(failure.message.contains("clip/t5"), "{failure}");
        for (part, file) in [("vae", "t5"), ("vae", "../clip/t5")] {
            assert_eq!(
                located(part, file, &house).unwrap_err().field.as_deref(),
                Some("model_parts")
            );
        }
        assert!(located("vae", "ae", &FoundModels::default()).is_err());
    }
}
