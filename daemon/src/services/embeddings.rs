//! The embeddings that a request's prompts may name, by the paths of their files.
//!
//! Which of them a prompt really uses, the engine says: it looks for names among tokens. Here they are looked for in letters, which
//! finds all of those and few others.

use std::{collections::BTreeMap, path::Path};

use imgd_engine::text::embeddings::{PREFIX, spans, squeezed, texts};
use imgd_models::apps;
use imgd_proto::v1;

use super::{
    folder::{Folder, Kind},
    found::FoundModels,
};
use crate::failure::Failure;

/// Most names of one request.
const MOST: usize = 256;

const KIND: Kind = Kind {
    one: "embedding",
    all: "embeddings",
    // Pickle files are never opened; whose name is used is told so.
    endings: &[".safetensors", ".pt", ".bin"],
    folder_has: None,
    advice: "put its safetensors file there",
    or_else: "",
};

/// Puts what the prompts may name into the request, in place of what was there: which files are opened is not the client's affair.
///
/// Fails naming the field when `embedding:NAME` names no file.
pub(super) fn find(
    request: &mut v1::SubmitJobRequest,
    root: &Path,
    others: &FoundModels,
) -> Result<(), Failure> {
    let Some(common) = &mut request.generate else {
        return Ok(());
    };
    common.embeddings.clear();
    let variations = request.images.iter();
    let own = variations.clone().filter_map(|own| own.prompt.as_deref());
    let own_negative = variations.filter_map(|own| own.negative_prompt.as_deref());
    let prompts = own
        .chain([common.prompt.as_str()])
        .map(|prompt| ("prompt", prompt))
        .chain(
            own_negative
                .chain(common.negative_prompt.as_deref())
                .map(|prompt| ("negative_prompt", prompt)),
        );
    let folder = Folder::read(root, &others.folders(apps::Kind::Embedding), &KIND);
    let names: Vec<_> = folder.names().map(|name| (name, squeezed(name))).collect();
    // Where the request leaves it to the model, those that take embeddings read prompts with their grammar.
    let has_grammar = common.prompt_syntax() != v1::PromptSyntax::Plain;
    let mut found = BTreeMap::new();
    let mut asked_last = None;
    for asked in prompts {
        // Pictures of one prompt are many.
        if asked_last != Some(asked) {
            asked_last = Some(asked);
            for text in texts(asked.1, has_grammar) {
                find_named(&text, asked.0, &folder, &mut found)?;
                if has_grammar {
                    find_bare(&text, asked.0, (&folder, &names), &mut found)?;
                }
            }
        }
    }
    if found.len() > MOST {
        let message = format!("the prompts may name {} embeddings", found.len());
        return Err(Failure::invalid("prompt", message)
            .with_hint(format!("at most {MOST} are looked at in one request")));
    }
    common.embeddings = found
        .into_iter()
        .map(|(word, file)| v1::Embedding { word, file })
        .collect();
    Ok(())
}

/// What `embedding:NAME` names.
fn find_named(
    text: &str,
    field: &'static str,
    folder: &Folder<'_>,
    found: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    let is_known = |name: &str| folder.locate(name, field).is_ok();
    match spans(text, is_known) {
        Ok(spans) => {
            for name in spans.iter().filter(|span| span.is_name) {
                let path = folder.locate(name.text, field)?;
                found.insert(format!("{PREFIX}{}", name.text), utf8(path, field)?);
            }
        }
        Err(name) => {
            folder.locate(name, field)?;
        }
    }
    Ok(())
}

/// Names of files whose letters stand in the text; `names` are those of the folder, with their letters.
fn find_bare(
    text: &str,
    field: &'static str,
    (folder, names): (&Folder<'_>, &[(&str, String)]),
    found: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    let text = squeezed(text);
    for (name, wanted) in names {
        if !wanted.is_empty() && text.contains(wanted) {
            found.insert(
                (*name).to_owned(),
                utf8(folder.locate(name, field)?, field)?,
            );
        }
    }
    Ok(())
}

fn utf8(path: &Path, field: &'static str) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::invalid(field, "the path of the folder of embeddings is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("people")).unwrap();
        for file in [
            "EasyNegative.safetensors",
            "EasyNegative.pt",
            "bad hand.safetensors",
            "bad.pt",
            "people/ada.safetensors",
            "people/eve.safetensors",
            "eve2.txt",
        ] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    fn find_all(
        prompt: &str,
        negative: &str,
        syntax: v1::PromptSyntax,
    ) -> Result<Vec<(String, String)>, Failure> {
        let folder = folder();
        let mut asked = v1::SubmitJobRequest {
            generate: Some(v1::GenerateRequest {
                prompt: prompt.to_owned(),
                negative_prompt: Some(negative.to_owned()),
                prompt_syntax: syntax.into(),
                embeddings: vec![v1::Embedding {
                    word: "passwd".to_owned(),
                    file: "/etc/passwd".to_owned(),
                }],
                ..v1::GenerateRequest::default()
            }),
            images: vec![v1::ImageVariation {
                prompt: Some("eve".to_owned()),
                ..v1::ImageVariation::default()
            }],
            ..v1::SubmitJobRequest::default()
        };
        find(&mut asked, folder.path(), &FoundModels::default())?;
        let below = |one: v1::Embedding| {
            let file = Path::new(&one.file).strip_prefix(folder.path()).unwrap();
            (one.word, file.to_str().unwrap().to_owned())
        };
        let found = asked.generate.unwrap().embeddings;
        Ok(found.into_iter().map(below).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(word, file): &(&str, &str)| ((*word).to_owned(), (*file).to_owned());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn names_of_files_are_found_in_every_prompt_and_nothing_else_is_opened() {
        let found = find_all(
            "a cat, (embedding:people/ada:1.2)",
            "easynegative, Bad\n hand",
            v1::PromptSyntax::Unspecified,
        )
        .unwrap();
        assert_eq!(
            found,
            pairs(&[
                ("EasyNegative", "EasyNegative.safetensors"),
                ("ada", "people/ada.safetensors"),
                ("bad", "bad.pt"),
                ("bad hand", "bad hand.safetensors"),
                ("embedding:people/ada", "people/ada.safetensors"),
                ("eve", "people/eve.safetensors"),
            ])
        );
        let plain = find_all(
            "passwd, (embedding:eve.) bad",
            "easynegative",
            v1::PromptSyntax::Plain,
        );
        assert_eq!(
            plain.unwrap(),
            pairs(&[("embedding:eve", "people/eve.safetensors")])
        );
    }

    #[test]
    fn a_name_without_a_file_is_told_with_the_prompt_that_has_it() {
        for bad in ["../ada", "/etc/passwd", "nobody", "people"] {
            let negative = format!("blurry, embedding:{bad}");
            let failure = find_all("a", &negative, v1::PromptSyntax::Unspecified).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("negative_prompt"), "{bad}");
            assert!(failure.message.contains(&format!("no embedding `{bad}`")));
            assert!(failure.hint.unwrap().contains("`people/ada`"));
        }
    }
}
