//! The adapters of a request: those it lists and those its prompts name, as in `<lora:NAME:0.8>`, by the paths of their files.

use std::{cell::LazyCell, path::Path};

use imgd_models::apps;
use imgd_proto::{limits, v1};

use super::{
    folder::{Folder, Kind},
    found::FoundModels,
};
use crate::failure::Failure;

const KIND: Kind = Kind {
    one: "LoRA",
    all: "LoRAs",
    endings: &[".safetensors"],
    folder_has: None,
    advice: "put its safetensors file there, or give its path",
    or_else: "; others by their path",
};

/// Takes the tags out of the prompts and puts the paths of adapters in place of their names.
///
/// Fails naming the field when a tag cannot be read or no file has the name. A prompt's own words are in no message.
pub(super) fn find(
    request: &mut v1::SubmitJobRequest,
    folder: &Path,
    found: &FoundModels,
) -> Result<(), Failure> {
    let Some(common) = &mut request.generate else {
        return Ok(());
    };
    // Read once, and only where a name asks for it.
    let folder = LazyCell::new(|| Folder::read(folder, &found.folders(apps::Kind::Lora), &KIND));
    let mut of_common = take_tags(&mut common.prompt)?;
    for variation in &mut request.images {
        match &mut variation.prompt {
            Some(prompt) => {
                let tags = take_tags(prompt)?;
                variation.loras.extend(tags);
            }
            None => variation.loras.extend(of_common.iter().cloned()),
        }
        locate_all(&mut variation.loras, |name| folder.locate(name, "loras"))?;
    }
    if !request.images.is_empty() {
        of_common.clear();
    }
    common.loras.extend(of_common);
    locate_all(&mut common.loras, |name| folder.locate(name, "loras"))
}

fn locate_all<'a>(
    loras: &mut [v1::Lora],
    locate: impl Fn(&str) -> Result<&'a Path, Failure>,
) -> Result<(), Failure> {
    limits::validate_loras(loras)?;
    for lora in loras {
        if !lora.lora.starts_with('/') {
            let path = locate(&lora.lora)?;
            lora.lora = path.to_str().map(str::to_owned).ok_or_else(|| {
                Failure::invalid("loras", "the path of the folder of LoRAs is no UTF-8")
            })?;
        }
    }
    Ok(())
}

/// Takes the tags out of a prompt.
fn take_tags(prompt: &mut String) -> Result<Vec<v1::Lora>, Failure> {
    let mut tags = Vec::new();
    let mut rest = prompt.as_str();
    let mut kept = String::new();
    while let Some((before, tag, after)) = next_tag(rest) {
        let number = tags.len() + 1;
        tags.push(parse(tag).ok_or_else(|| {
            let message = format!("tag {number} of the prompt, `<lora:…>`, cannot be read");
            Failure::invalid("prompt", message)
                .with_hint("a tag has a name and a number, as in `<lora:name:0.8>`")
        })?);
        kept.push_str(before);
        rest = after;
    }
    if !tags.is_empty() {
        kept.push_str(rest);
        *prompt = kept.trim().to_owned();
    }
    Ok(tags)
}

/// What stands before the next tag, what stands in it, and what after.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let begin = ["<lora:", "<lyco:"]
        .iter()
        .filter_map(|tag| text.to_ascii_lowercase().find(tag))
        .min()?;
    let (before, tag) = text.split_at(begin);
    let tag = tag.get("<lora:".len()..)?;
    // Without an end, what is there is no tag: that is told.
    let (tag, after) = tag.split_once('>').unwrap_or((">", ""));
    Some((before, tag, after))
}

fn parse(tag: &str) -> Option<v1::Lora> {
    let (name, weight) = match tag.split_once(':') {
        Some((name, weight)) => (name, Some(weight.trim().parse::<f64>().ok()?)),
        None => (tag, None),
    };
    let name = name.trim();
    let is_name = !name.is_empty() && !name.starts_with('/') && !name.contains('>');
    (is_name && weight.is_none_or(f64::is_finite)).then(|| v1::Lora {
        lora: name.to_owned(),
        weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("styles")).unwrap();
        for file in [
            "ink.safetensors",
            "styles/oil.safetensors",
            "styles/twice.safetensors",
            "twice2.txt",
        ] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    fn request(prompt: &str) -> v1::SubmitJobRequest {
        v1::SubmitJobRequest {
            generate: Some(v1::GenerateRequest {
                prompt: prompt.to_owned(),
                ..v1::GenerateRequest::default()
            }),
            ..v1::SubmitJobRequest::default()
        }
    }

    fn names(loras: &[v1::Lora], folder: &Path) -> Vec<(String, Option<f64>)> {
        let relative = |lora: &v1::Lora| {
            let path = Path::new(&lora.lora).strip_prefix(folder).unwrap();
            (path.to_str().unwrap().to_owned(), lora.weight)
        };
        loras.iter().map(relative).collect()
    }

    #[test]
    fn tags_become_adapters_and_leave_the_prompt() {
        let folder = folder();
        let mut asked = request("an apple <lora:ink:0.8>, red<LoRA:oil>  <lora:styles/oil:-1.5>");
        find(&mut asked, folder.path(), &FoundModels::default()).unwrap();
        let common = asked.generate.unwrap();
        assert_eq!(common.prompt, "an apple , red");
        assert_eq!(
            names(&common.loras, folder.path()),
            [
                ("ink.safetensors".to_owned(), Some(0.8)),
                ("styles/oil.safetensors".to_owned(), None),
                ("styles/oil.safetensors".to_owned(), Some(-1.5)),
            ]
        );
    }

    #[test]
    fn a_picture_with_its_own_prompt_has_that_prompts_adapters_alone() {
        let folder = folder();
        let mut asked = request("<lora:ink:0.5> apple");
        let own = |prompt: Option<&str>| v1::ImageVariation {
            prompt: prompt.map(str::to_owned),
            ..v1::ImageVariation::default()
        };
        asked.images = vec![own(None), own(Some("pear <lora:oil:1>")), own(Some("plum"))];
        find(&mut asked, folder.path(), &FoundModels::default()).unwrap();
        assert!(asked.generate.unwrap().loras.is_empty());
        let files: Vec<Vec<_>> = asked
            .images
            .iter()
            .map(|image| names(&image.loras, folder.path()))
            .collect();
        assert_eq!(files[0], [("ink.safetensors".to_owned(), Some(0.5))]);
        assert_eq!(files[1], [("styles/oil.safetensors".to_owned(), Some(1.0))]);
        assert!(files[2].is_empty());
        assert_eq!(asked.images[1].prompt.as_deref(), Some("pear"));
    }

    #[test]
    fn what_is_no_tag_or_no_file_is_told() {
        let folder = folder();
        for bad in [
            "a <lora:ink",
            "<lora:>",
            "<lora:ink:strong>",
            "<lora:ink:1:2>",
            "<lora:/etc/passwd:1>",
            "<lora:ink:nan>",
        ] {
            let failure =
                find(&mut request(bad), folder.path(), &FoundModels::default()).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("prompt"), "{bad}");
        }
        let failure = find(
            &mut request("<lora:inc:1>"),
            folder.path(),
            &FoundModels::default(),
        )
        .unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("loras"));
        assert!(failure.hint.unwrap().contains("`ink`"));
        for bad in ["../ink", "a//b", ".hidden"] {
            let tag = format!("<lora:{bad}:1>");
            let failure =
                find(&mut request(&tag), folder.path(), &FoundModels::default()).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("loras"), "{bad}");
        }
        // A prompt without tags is left as it is.
        let mut plain = request(" < lora > ");
        find(&mut plain, folder.path(), &FoundModels::default()).unwrap();
        assert_eq!(plain.generate.unwrap().prompt, " < lora > ");
    }
}
