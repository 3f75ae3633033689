//! The ControlNets of a request, by the paths of their files or directories.

use std::path::Path;

use imgd_proto::{limits, v1};

use super::folder::Folder;
use crate::failure::Failure;

/// Puts the paths of ControlNets in place of their names.
///
/// Fails naming the field when none has the name.
pub(super) fn find(request: &mut v1::SubmitJobRequest, folder: &Path) -> Result<(), Failure> {
    let folder = Folder {
        path: folder,
        field: limits::CONTROLS.field,
        what: "ControlNet",
        has_directories: true,
    };
    let common = request.generate.iter_mut();
    common
        .flat_map(|common| &mut common.controls)
        .try_for_each(|control| folder.find(&mut control.control_model))
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
        find(&mut request, folder)?;
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
