//! The ControlNets of a request, by the paths of their files or directories.

use std::{cell::LazyCell, path::Path};

use imgd_models::apps;
use imgd_proto::{limits, v1};

use super::{
    folder::{Folder, Kind},
    found::FoundModels,
};
use crate::failure::Failure;

const KIND: Kind = Kind {
    one: "ControlNet",
    all: "ControlNets",
    endings: &[".safetensors"],
    folder_has: Some("config.json"),
    advice: "put its safetensors file there, or give its path",
    or_else: "; others by their path",
};

/// Puts the paths of ControlNets in place of their names.
///
/// Fails naming the field when none has the name.
pub(super) fn find(
    request: &mut v1::SubmitJobRequest,
    folder: &Path,
    found: &FoundModels,
) -> Result<(), Failure> {
    // Read once, and only where a name asks for it.
    let folder = LazyCell::new(|| Folder::read(folder, &found.folders(apps::Kind::Control), &KIND));
    let common = request.generate.iter_mut();
    for control in common.flat_map(|common| &mut common.controls) {
        let name = &mut control.control_model;
        if !name.starts_with('/') {
            let path = folder.locate(name, limits::CONTROLS.field)?;
            *name = path.to_str().map(str::to_owned).ok_or_else(|| {
                let message = "the path of the folder of ControlNets is no UTF-8";
                Failure::invalid(limits::CONTROLS.field, message)
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, folder: &Path) -> Result<String, Failure> {
        let mut request = v1::SubmitJobRequest {
            generate: Some(v1::GenerateRequest {
                controls: vec![v1::Control {
                    control_model: name.to_owned(),
                    ..v1::Control::default()
                }],
                ..v1::GenerateRequest::default()
            }),
            ..v1::SubmitJobRequest::default()
        };
        find(&mut request, folder, &FoundModels::default())?;
        Ok(request.generate.unwrap().controls[0].control_model.clone())
    }

    #[test]
    fn names_are_those_of_files_and_of_diffusers_directories() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for directory in ["sd15/canny", "sd15/notes", "depth-v1.1"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in [
            "pose.safetensors",
            "sd15/canny/config.json",
            "sd15/canny/diffusion_pytorch_model.safetensors",
            "depth-v1.1/config.json",
        ] {
            std::fs::write(root.join(file), "").unwrap();
        }
        for (name, path) in [
            ("pose", "pose.safetensors"),
            ("pose.safetensors", "pose.safetensors"),
            ("sd15/canny", "sd15/canny"),
            ("canny", "sd15/canny"),
            ("depth-v1.1", "depth-v1.1"),
        ] {
            assert_eq!(
                found(name, root).unwrap(),
                root.join(path).to_str().unwrap()
            );
        }
        assert_eq!(found("/elsewhere", root).unwrap(), "/elsewhere");
        for unknown in ["notes", "diffusion_pytorch_model", "edges"] {
            let failure = found(unknown, root).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("controls"));
            let hint = failure.hint.unwrap();
            assert!(
                hint.contains("`depth-v1.1`, `pose`, `sd15/canny`"),
                "{hint}"
            );
        }
    }
}
