//! The folders of each program, as they are when it was just installed.
//!
//! Source: ComfyUI `folder_paths.py`, its `extra_model_paths.yaml.example` (which has A1111's too), InvokeAI's manual and its
//! pull request 8584, since which each model has a folder called by a random key.

use std::path::{Path, PathBuf};

use super::{Found, Kind, extra_paths};

/// Folders below a program's, or below a folder of models, and what lies in them.
type Layout = &'static [(&'static str, Kind)];

const COMFY_UI: &str = "ComfyUI";
const A1111: &str = "A1111";
const INVOKE_AI: &str = "InvokeAI";
const OTHER: &str = "folder";

/// Below `models`.
const COMFY_UI_MODELS: Layout = &[
    ("checkpoints", Kind::Model),
    ("diffusion_models", Kind::Model),
    ("unet", Kind::Model),
    ("diffusers", Kind::Model),
    ("loras", Kind::Lora),
    ("controlnet", Kind::Control),
    ("embeddings", Kind::Embedding),
    ("vae", Kind::Vae),
    ("text_encoders", Kind::TextEncoder),
    ("clip", Kind::TextEncoder),
    ("upscale_models", Kind::Upscaler),
];

/// Of the web UI, of Forge and of SD.Next.
const A1111_ROOT: Layout = &[
    ("models/Stable-diffusion", Kind::Model),
    ("models/Lora", Kind::Lora),
    ("models/LyCORIS", Kind::Lora),
    ("models/ControlNet", Kind::Control),
    ("embeddings", Kind::Embedding),
    ("models/embeddings", Kind::Embedding),
    ("models/VAE", Kind::Vae),
    ("models/text_encoder", Kind::TextEncoder),
    ("models/ESRGAN", Kind::Upscaler),
    ("models/RealESRGAN", Kind::Upscaler),
];

/// InvokeAI before keys: `<kind of model>/<what>`.
const INVOKE_AI_OLD: Layout = &[
    ("main", Kind::Model),
    ("lora", Kind::Lora),
    ("controlnet", Kind::Control),
    ("embedding", Kind::Embedding),
    ("vae", Kind::Vae),
];

/// What lies in InvokeAI's folders of keys, which do not say it. Embeddings are left out: a prompt names them by the way,
/// and must not stumble over the name of something else.
const INVOKE_AI_KEYS: [Kind; 4] = [Kind::Model, Kind::Lora, Kind::Control, Kind::Vae];

/// Folders of InvokeAI's models that are looked at.
const MOST_BASES: usize = 1_000;

/// Where programs are below the home directory: as their manuals have it, and ComfyUI's desktop program.
pub(super) fn usual_places(home: &Path) -> impl Iterator<Item = PathBuf> {
    [
        "ComfyUI",
        "Documents/ComfyUI",
        ".config/ComfyUI/extra_models_config.yaml",
        "Library/Application Support/ComfyUI/extra_models_config.yaml",
        "stable-diffusion-webui",
        "stable-diffusion-webui-forge",
        "invokeai",
    ]
    .into_iter()
    .map(|below| home.join(below))
}

/// The folders of whatever program lies in `root`. A folder of no program is one of models, where a person named it.
pub(super) fn folders(root: &Path, is_named: bool, home: Option<&Path>, found: &mut Found) {
    if root.parent().is_none() || Some(root) == home {
        let why = format!(
            "{} is too wide to be looked through for models",
            root.display()
        );
        return found.troubles.push(why);
    }
    if let Err(error) = std::fs::read_dir(root) {
        let why = format!("cannot look into {}: {error}", root.display());
        return found.troubles.push(why);
    }
    let before = found.folders.len();
    for comfy_ui in [root.to_owned(), root.join("ComfyUI")] {
        let models = comfy_ui.join("models");
        let first = COMFY_UI_MODELS.first().map(|(name, _)| models.join(name));
        if first.is_some_and(|first| first.is_dir()) || comfy_ui.join("folder_paths.py").is_file() {
            below(&models, COMFY_UI, COMFY_UI_MODELS, found);
        }
        let extra = comfy_ui.join(extra_paths::FILE);
        if extra.is_file() {
            extra_paths::folders(&extra, home, found);
        }
    }
    if root.join("models/Stable-diffusion").is_dir() {
        below(root, A1111, A1111_ROOT, found);
    }
    let settings = root.join("invokeai.yaml");
    if settings.is_file() || root.join("databases/invokeai.db").is_file() {
        invoke_ai(root, &settings, found);
    }
    if found.folders.len() > before || !is_named {
        return;
    }
    below(root, OTHER, COMFY_UI_MODELS, found);
    if found.folders.len() == before {
        found.add(OTHER, Kind::Model, root);
    }
}

/// A kind by what ComfyUI calls its folder.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let mut known = COMFY_UI_MODELS.iter();
    known
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
}

fn below(root: &Path, app: &'static str, layout: Layout, found: &mut Found) {
    for (name, kind) in layout {
        found.add(app, *kind, &root.join(name));
    }
}

/// InvokeAI's models lie where its settings say. Those that it left where they were stand in its database alone.
fn invoke_ai(root: &Path, settings: &Path, found: &mut Found) {
    let models = match extra_paths::setting(settings, "models_dir") {
        Ok(set) => root.join(set.as_deref().unwrap_or("models")),
        Err(why) => return found.troubles.push(why),
    };
    let entries = match std::fs::read_dir(&models) {
        Ok(entries) => entries,
        Err(error) => {
            let why = format!("cannot look into {}: {error}", models.display());
            return found.troubles.push(why);
        }
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.take(MOST_BASES).collect();
    names.sort_unstable();
    if names.iter().any(|name| name.to_str().is_some_and(is_key)) {
        for kind in INVOKE_AI_KEYS {
            found.add(INVOKE_AI, kind, &models);
        }
    }
    for name in names {
        below(&models.join(name), INVOKE_AI, INVOKE_AI_OLD, found);
    }
}

/// Whether it is a key such as `0b3f7c1e-…`, five groups of hexadecimal digits.
fn is_key(name: &str) -> bool {
    let groups = name.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12])
        && name
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::super::{AppPlace, folders as look};
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        root
    }

    fn found(root: &Path) -> (Vec<(&'static str, Kind, String)>, Vec<String>) {
        let place = AppPlace {
            path: root.to_owned(),
            is_named: true,
        };
        let found = look(&[place], None);
        let relative = |folder: &super::super::AppFolder| {
            let path = folder.path.strip_prefix(root).unwrap();
            (folder.app, folder.kind, path.to_str().unwrap().to_owned())
        };
        (found.folders.iter().map(relative).collect(), found.troubles)
    }

    #[test]
    fn each_program_is_known_by_its_own_folders() {
        let comfy = tree(&[
            "models/checkpoints/a",
            "models/loras/b",
            "models/upscale_models/c",
        ]);
        assert_eq!(
            found(comfy.path()).0,
            [
                ("ComfyUI", Kind::Model, "models/checkpoints".to_owned()),
                ("ComfyUI", Kind::Lora, "models/loras".to_owned()),
                (
                    "ComfyUI",
                    Kind::Upscaler,
                    "models/upscale_models".to_owned()
                ),
            ]
        );
        let portable = tree(&["ComfyUI/folder_paths.py", "ComfyUI/models/unet/a"]);
        assert_eq!(
            found(portable.path()).0,
            [("ComfyUI", Kind::Model, "ComfyUI/models/unet".to_owned())]
        );
        let a1111 = tree(&["models/Stable-diffusion/a", "models/VAE/b", "embeddings/c"]);
        assert_eq!(
            found(a1111.path()).0,
            [
                ("A1111", Kind::Model, "models/Stable-diffusion".to_owned()),
                ("A1111", Kind::Embedding, "embeddings".to_owned()),
                ("A1111", Kind::Vae, "models/VAE".to_owned()),
            ]
        );
    }

    #[test]
    fn invokeai_has_its_models_by_kind_or_by_key_and_where_its_settings_say() {
        let old = tree(&[
            "databases/invokeai.db",
            "models/sd-1/main/a",
            "models/any/embedding/b",
        ]);
        assert_eq!(
            found(old.path()).0,
            [
                (
                    "InvokeAI",
                    Kind::Embedding,
                    "models/any/embedding".to_owned()
                ),
                ("InvokeAI", Kind::Model, "models/sd-1/main".to_owned()),
            ]
        );
        let new = tree(&[
            "invokeai.yaml",
            "big/0b3f7c1e-0000-4000-8000-0123456789ab/x.safetensors",
        ]);
        let settings = "schema_version: 4.0.2\nmodels_dir: big # on another disk\n";
        std::fs::write(new.path().join("invokeai.yaml"), settings).unwrap();
        let kinds = found(new.path()).0;
        assert_eq!(kinds.len(), INVOKE_AI_KEYS.len());
        assert!(
            kinds
                .iter()
                .all(|(_, kind, path)| path == "big" && *kind != Kind::Embedding)
        );
    }

    #[test]
    fn a_folder_of_no_program_is_one_of_models_where_it_was_named() {
        let plain = tree(&["a.safetensors"]);
        assert_eq!(
            found(plain.path()).0,
            [("folder", Kind::Model, String::new())]
        );
        let central = tree(&["checkpoints/a", "vae/b"]);
        assert_eq!(
            found(central.path()).0,
            [
                ("folder", Kind::Model, "checkpoints".to_owned()),
                ("folder", Kind::Vae, "vae".to_owned()),
            ]
        );
        let unnamed = AppPlace {
            path: plain.path().to_owned(),
            is_named: false,
        };
        assert_eq!(look(&[unnamed], None), Found::default());
    }

    #[test]
    fn what_is_not_there_is_told_where_it_was_named_and_what_is_too_wide_always() {
        let place = |path: &str, is_named| AppPlace {
            path: path.into(),
            is_named,
        };
        let troubles = |places: &[AppPlace]| look(places, Some(Path::new("/tmp"))).troubles;
        assert!(troubles(&[place("/nonexistent/ComfyUI", false)]).is_empty());
        assert!(
            troubles(&[place("/nonexistent/ComfyUI", true)])[0].contains("/nonexistent/ComfyUI")
        );
        for wide in ["/", "/tmp"] {
            assert!(
                troubles(&[place(wide, true)])[0].contains("too wide"),
                "{wide}"
            );
        }
    }
}
