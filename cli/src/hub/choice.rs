//! Which files of a repository make the model: never two copies of the same weights, never a pickle.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    RemoteFile,
    trouble::{failed, quoted},
};
use crate::failure::Failure;

/// Parts of a pipeline that imgd does not use.
const UNUSED: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

/// Names of weights, as diffusers and transformers call them.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// Which of several copies of the weights is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Variant {
    /// The smallest that imgd reads.
    #[default]
    Smallest,
    /// As they were published: mostly float32.
    Full,
    /// Those in 16 bits.
    Fp16,
}

/// What is taken of a repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chosen {
    /// The files.
    pub(crate) files: Vec<RemoteFile>,
    /// How many there are besides, and their bytes.
    pub(crate) left: (usize, u64),
    /// The one file that is the model, where it is no directory.
    pub(crate) single: Option<String>,
}

/// The files of a diffusers directory: those of the parts that `index`, its `model_index.json`, names.
pub(super) fn of_directory(
    files: &[RemoteFile],
    index: &Value,
    variant: Variant,
) -> Result<Chosen, Failure> {
    let Some(index) = index.as_object() else {
        return Err(failed(
            "model_index.json of the repository is no list of parts",
        ));
    };
    let is_part = |value: &Value| {
        value
            .as_array()
            .is_some_and(|pair| pair.iter().all(Value::is_string))
    };
    let parts: BTreeSet<&str> = index
        .iter()
        .filter(|(name, value)| is_part(value) && !UNUSED.contains(&name.as_str()))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut taken: Vec<&RemoteFile> = files
        .iter()
        .filter(|file| file.path == "model_index.json")
        .collect();
    for part in parts {
        let own = |file: &&RemoteFile| {
            let rest = file
                .path
                .strip_prefix(part)
                .and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|name| !name.contains('/'))
        };
        let own: Vec<&RemoteFile> = files.iter().filter(own).collect();
        taken.extend(own.iter().filter(|file| is_configuration(name_of(file))));
        taken.extend(weights(part, &own, variant)?);
    }
    Ok(chosen(files, taken, None))
}

/// One file.
pub(super) fn of_file(files: &[RemoteFile], path: &str) -> Result<Chosen, Failure> {
    let Some(file) = files.iter().find(|file| file.path == path) else {
        let weights = list(files.iter().filter(|file| is_safetensors(&file.path)));
        return Err(
            failed(format!("the repository has no file {}", quoted(path)))
                .hint(format!("its safetensors files are {weights}")),
        );
    };
    Ok(chosen(files, vec![file], Some(path.to_owned())))
}

/// All files.
pub(super) fn of_all(files: &[RemoteFile]) -> Chosen {
    chosen(files, files.iter().collect(), None)
}

/// The one safetensors file of a repository that is no diffusers directory.
pub(super) fn of_single(files: &[RemoteFile]) -> Result<Chosen, Failure> {
    let weights: Vec<_> = files
        .iter()
        .filter(|file| is_safetensors(&file.path))
        .collect();
    match weights.as_slice() {
        [] => Err(failed("the repository has neither model_index.json nor safetensors files")
            .hint("pickle files (.ckpt, .pt, .bin) are not taken: opening them can run code; --all takes every file")),
        [file] => of_file(files, &file.path),
        several => Err(failed("the repository is no diffusers directory, and has several safetensors files")
            .hint(format!(
                "name the one to take behind a colon, or take --all: {}",
                list(several.iter().copied())
            ))),
    }
}

/// The weights of one part: the set that is wanted, all of its files.
fn weights<'a>(
    part: &str,
    own: &[&'a RemoteFile],
    variant: Variant,
) -> Result<Vec<&'a RemoteFile>, Failure> {
    let has_weights = own.iter().any(|file| {
        let name = name_of(file);
        [".safetensors", ".bin", ".pt", ".ckpt", ".msgpack"]
            .iter()
            .any(|end| name.ends_with(end))
    });
    if !has_weights {
        return Ok(Vec::new());
    }
    let mut sets = BTreeMap::new();
    for (label, infix) in [(Variant::Full, ""), (Variant::Fp16, ".fp16")] {
        let set = STEMS.iter().find_map(|stem| set(own, stem, infix));
        sets.extend(set.map(|set| (infix, (label, set))));
    }
    let size = |set: &[&RemoteFile]| set.iter().map(|file| file.size).sum::<u64>();
    let named = sets.values().find(|(label, _)| *label == variant);
    let smallest = sets.values().min_by_key(|(_, set)| size(set));
    // A part that has one copy alone has that, whatever the others have.
    let found = named.or(smallest).map(|(_, set)| set.clone());
    found.ok_or_else(|| {
        failed(format!(
            "`{part}` of the repository has no weights that imgd reads: it reads safetensors, in full or `fp16`"
        ))
        .hint("pickle files are not taken, since opening them can run code; look for the model in another repository, or take --all")
    })
}

/// The files of one copy of the weights: one file, or an index and its shards.
fn set<'a>(own: &[&'a RemoteFile], stem: &str, infix: &str) -> Option<Vec<&'a RemoteFile>> {
    let find = |name: &str| own.iter().copied().find(|file| name_of(file) == name);
    if let Some(file) = find(&format!("{stem}{infix}.safetensors")) {
        return Some(vec![file]);
    }
    // Two orders of the words are in use for the index of a variant.
    let index = find(&format!("{stem}{infix}.safetensors.index.json"))
        .or_else(|| find(&format!("{stem}.safetensors.index{infix}.json")))?;
    let is_shard = |file: &&RemoteFile| {
        let numbers = name_of(file)
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix(infix))
            .and_then(|rest| rest.strip_suffix(".safetensors"));
        numbers.is_some_and(is_shard_number)
    };
    let shards: Vec<_> = own.iter().copied().filter(is_shard).collect();
    let whole = !shards.is_empty();
    whole.then(|| [index].into_iter().chain(shards).collect())
}

/// `-00001-of-00002`; the infix of a variant may follow it as well: `-00001-of-00002` alone is taken.
fn is_shard_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix('-')
        .and_then(|rest| rest.split_once("-of-"))
        .is_some_and(|(number, count)| digits(number) && digits(count))
}

/// Small files that say how a part is built or how text is cut.
fn is_configuration(name: &str) -> bool {
    let kinds = [".json", ".txt", ".model", ".jinja"];
    // An index of weights goes with the weights.
    kinds.iter().any(|kind| name.ends_with(kind)) && !name.contains(".index.")
}

fn is_safetensors(path: &str) -> bool {
    path.ends_with(".safetensors")
}

fn name_of(file: &RemoteFile) -> &str {
    file.path.rsplit('/').next().unwrap_or_default()
}

fn chosen(all: &[RemoteFile], taken: Vec<&RemoteFile>, single: Option<String>) -> Chosen {
    let paths: BTreeSet<_> = taken.iter().map(|file| &file.path).collect();
    let left = all.iter().filter(|file| !paths.contains(&file.path));
    let left = left.fold((0, 0), |(count, bytes), file| {
        (count + 1, bytes + file.size)
    });
    let mut files: Vec<_> = taken.into_iter().cloned().collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup();
    Chosen {
        files,
        left,
        single,
    }
}

fn list<'a>(files: impl Iterator<Item = &'a RemoteFile>) -> String {
    let names: Vec<_> = files.take(12).map(|file| quoted(&file.path)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(list: &[(&str, u64)]) -> Vec<RemoteFile> {
        let file = |(path, size): &(&str, u64)| RemoteFile {
            path: (*path).to_owned(),
            blob: "ab".repeat(32),
            size: *size,
        };
        list.iter().map(file).collect()
    }

    fn paths(chosen: &Chosen) -> Vec<&str> {
        chosen.files.iter().map(|file| file.path.as_str()).collect()
    }

    fn repository() -> Vec<RemoteFile> {
        files(&[
            (".gitattributes", 1),
            ("README.md", 1),
            ("all_in_one.safetensors", 7000),
            ("all_in_one.ckpt", 7000),
            ("model_index.json", 1),
            ("safety_checker/model.safetensors", 1200),
            ("feature_extractor/preprocessor_config.json", 1),
            ("scheduler/scheduler_config.json", 1),
            ("text_encoder/config.json", 1),
            ("text_encoder/model.fp16.safetensors", 250),
            ("text_encoder/model.safetensors", 500),
            ("text_encoder/pytorch_model.bin", 500),
            ("text_encoder/flax_model.msgpack", 500),
            ("text_encoder/openvino_model.xml", 1),
            ("tokenizer/merges.txt", 1),
            ("tokenizer/vocab.json", 1),
            ("unet/config.json", 1),
            ("unet/diffusion_pytorch_model.fp16.safetensors", 1700),
            ("unet/diffusion_pytorch_model.non_ema.safetensors", 3400),
            ("unet/diffusion_pytorch_model.safetensors", 3400),
            ("unet/onnx/model.onnx", 3400),
            ("vae/config.json", 1),
            ("vae/diffusion_pytorch_model.safetensors", 330),
            ("vae_1_0/diffusion_pytorch_model.safetensors", 330),
        ])
    }

    fn index() -> Value {
        json!({
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.6.0",
            "force_zeros": true,
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": [null, null],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        })
    }

    #[test]
    fn one_copy_of_each_part_is_taken_the_smallest_that_is_read() {
        let files = repository();
        let chosen = of_directory(&files, &index(), Variant::Smallest).unwrap();
        assert_eq!(
            paths(&chosen),
            [
                "model_index.json",
                "scheduler/scheduler_config.json",
                "text_encoder/config.json",
                "text_encoder/model.fp16.safetensors",
                "tokenizer/merges.txt",
                "tokenizer/vocab.json",
                "unet/config.json",
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "vae/config.json",
                "vae/diffusion_pytorch_model.safetensors",
            ]
        );
        let total: u64 = files.iter().map(|file| file.size).sum();
        let taken: u64 = chosen.files.iter().map(|file| file.size).sum();
        assert_eq!(
            chosen.left,
            (files.len() - chosen.files.len(), total - taken)
        );
        let full = of_directory(&files, &index(), Variant::Full).unwrap();
        assert!(paths(&full).contains(&"unet/diffusion_pytorch_model.safetensors"));
        assert!(!paths(&full).iter().any(|path| path.contains("fp16")));
    }

    #[test]
    fn shards_come_with_their_index_in_both_orders_of_its_name() {
        let index =
            json!({"transformer": ["diffusers", "X"], "text_encoder": ["transformers", "Y"]});
        let files = files(&[
            ("model_index.json", 1),
            ("text_encoder/model.safetensors.index.fp16.json", 1),
            ("text_encoder/model.fp16-00001-of-00002.safetensors", 5),
            ("text_encoder/model.fp16-00002-of-00002.safetensors", 5),
            ("text_encoder/model.safetensors.index.json", 1),
            ("text_encoder/model-00001-of-00001.safetensors", 20),
            (
                "transformer/diffusion_pytorch_model.safetensors.index.json",
                1,
            ),
            (
                "transformer/diffusion_pytorch_model-00001-of-00001.safetensors",
                9,
            ),
            ("transformer/diffusion_pytorch_model-old.safetensors", 9),
        ]);
        let chosen = of_directory(&files, &index, Variant::Smallest).unwrap();
        assert_eq!(
            paths(&chosen),
            [
                "model_index.json",
                "text_encoder/model.fp16-00001-of-00002.safetensors",
                "text_encoder/model.fp16-00002-of-00002.safetensors",
                "text_encoder/model.safetensors.index.fp16.json",
                "transformer/diffusion_pytorch_model-00001-of-00001.safetensors",
                "transformer/diffusion_pytorch_model.safetensors.index.json",
            ]
        );
    }

    #[test]
    fn pickles_are_not_taken() {
        let index = json!({"unet": ["diffusers", "X"]});
        let files = files(&[
            ("model_index.json", 1),
            ("unet/diffusion_pytorch_model.bin", 9),
        ]);
        let failure = of_directory(&files, &index, Variant::Smallest).unwrap_err();
        assert!(failure.message.contains("`unet`"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("run code"));
    }

    #[test]
    fn a_file_is_taken_where_it_is_named_or_the_only_one() {
        let one = files(&[("README.md", 1), ("x.safetensors", 9)]);
        assert_eq!(
            of_single(&one).unwrap().single.as_deref(),
            Some("x.safetensors")
        );
        let two = files(&[("a.safetensors", 9), ("b.safetensors", 9), ("b.ckpt", 9)]);
        let failure = of_single(&two).unwrap_err();
        assert!(failure.hint.unwrap().contains("\"b.safetensors\""));
        assert_eq!(
            paths(&of_file(&two, "b.safetensors").unwrap()),
            ["b.safetensors"]
        );
        assert!(of_file(&two, "c.safetensors").is_err());
        assert_eq!(of_all(&two).files.len(), 3);
        assert!(of_single(&files(&[("a.ckpt", 9)])).is_err());
    }
}
