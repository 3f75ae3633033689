//! Embeddings that cannot be used are told, and those that are used stand in settings and picture.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::fs;
use std::path::PathBuf;

use imgd_engine::checkpoint::Source;
use imgd_engine::{
    EmbeddingWord, Error, Generation, Model, OpenOptions, Precision, PromptSyntax, Request,
};
use safetensors::{Tensors, read, write};
use support::oracle::{Case, cases};

struct House {
    root: tempfile::TempDir,
    model: Model,
    case: Case,
}

impl House {
    fn new(name: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        case.write_model(root.path());
        let options = OpenOptions {
            name: name.to_owned(),
            precision: Precision::F32,
            progress: None,
        };
        let source = Source::directory(root.path()).unwrap();
        Self {
            model: Model::open(&source, &options).unwrap(),
            root,
            case,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A file of tensors, all numbers the same.
    fn embedding(&self, tensors: &[(&str, &[usize])], number: f32) {
        let tensor = |(name, shape): &(&str, &[usize])| {
            let numbers = vec![number; shape.iter().product()];
            ((*name).to_owned(), (shape.to_vec(), numbers))
        };
        let tensors: Tensors = tensors.iter().map(tensor).collect();
        fs::write(self.file("made.safetensors"), write(&tensors)).unwrap();
    }

    /// Begins `prompt`, in which `word` may stand for a file.
    fn start(&self, prompt: &str, word: &str, file: &str) -> Result<Generation, Error> {
        let request = self.case.request.to_engine(self.root.path(), 0);
        self.model.start(&Request {
            prompt: prompt.to_owned(),
            negative_prompt: Some("blurry".to_owned()),
            embeddings: vec![EmbeddingWord {
                word: word.to_owned(),
                path: self.file(file),
            }],
            prompt_syntax: None,
            ..request
        })
    }

    /// What is said of `embedding:made`, and of `made` alone.
    fn refused(&self) -> String {
        self.refused_file("made.safetensors")
    }

    fn refused_file(&self, file: &str) -> String {
        let named = "a embedding:made cat";
        let error = self.start(named, "embedding:made", file).err().unwrap();
        assert_eq!(error.field(), Some("prompt"), "{error}");
        let generation = self.start("a made cat", "made", file).unwrap();
        assert!(generation.settings().embeddings.is_empty());
        let notice = generation
            .notices()
            .iter()
            .find(|notice| notice.reason == "embedding_ignored")
            .unwrap();
        assert_eq!(notice.message, format!("read as words: {error}"));
        error.to_string()
    }

    fn pixels(&self, mut generation: Generation) -> Vec<u8> {
        while !generation.is_done() {
            for result in self.model.step(&mut [&mut generation]) {
                result.unwrap();
            }
        }
        self.model.finish(&mut generation).unwrap().image.pixels
    }
}

#[test]
fn what_is_no_embedding_of_the_model_is_told() {
    let house = House::new("prompt-embedding-word");
    for (tensors, part) in [
        (
            &[("a", &[2_usize, 24][..])][..],
            "vectors of 24 numbers, and this model takes 32",
        ),
        (
            &[("a", &[76, 32])],
            "76 vectors, and the text encoder reads 75",
        ),
        (
            &[("clip_l", &[1, 32]), ("clip_g", &[1, 32])],
            "for 2 text encoders, and this model has 1",
        ),
        (&[("a", &[1, 32]), ("b", &[1, 32])], "it has 2 tensors"),
        (&[("a", &[1, 1, 32])], "the shape [1, 1, 32]"),
        (&[("a", &[0, 32])], "0 vectors"),
        (&[("a", &[2000, 32])], "2000 vectors"),
    ] {
        house.embedding(tensors, 0.1);
        let told = house.refused();
        assert!(told.contains(part), "{told}");
    }
    house.embedding(&[("a", &[1, 32])], f32::NAN);
    assert!(house.refused().contains("not finite"));
    fs::write(house.file("made.safetensors"), b"\xff\xff").unwrap();
    house.refused();
    fs::write(house.file("made.pt"), b"PK\x03\x04").unwrap();
    let told = house.refused_file("made.pt");
    assert!(told.contains("pickle files can run any code"), "{told}");
    let told = house.refused_file("missing.safetensors");
    assert!(told.contains("cannot read the embedding"), "{told}");
    let unknown = house.start("embedding:other", "embedding:made", "made.safetensors");
    let told = unknown.err().unwrap().to_string();
    assert_eq!(told, "`prompt` names an embedding that is not there");

    let of_two = House::new("prompt-embedding-xl");
    of_two.embedding(&[("clip_l", &[2, 32]), ("clip_g", &[1, 32])], 0.1);
    assert!(of_two.refused().contains("different numbers of vectors"));
    of_two.embedding(&[("emb_params", &[1, 32])], 0.1);
    assert!(of_two.refused().contains("for 1 text encoders"));
}

#[test]
fn what_is_used_stands_in_settings_and_picture() {
    let house = House::new("prompt-embedding-word");
    let started = |prompt: &str, word: &str| {
        house
            .start(prompt, word, "easynegative.safetensors")
            .unwrap()
    };
    let bare = started("a cat, EASYnegative", "easynegative");
    let used = bare.settings().embeddings.clone();
    assert_eq!(used[0].name, "easynegative");
    assert_eq!((used.len(), used[0].sha256.len()), (1, 64));
    let told = bare.notices().iter().find(|n| n.reason == "embedding_used");
    assert_eq!(told.unwrap().message, "embedding `easynegative`: 8 vectors");
    let named = started("a cat, embedding:easynegative", "embedding:easynegative");
    assert_eq!(named.settings().embeddings, used);
    let unused = started("a cat", "easynegative");
    assert!(unused.settings().embeddings.is_empty());
    let as_words = house
        .start("a cat, easynegative", "other", "easynegative.safetensors")
        .unwrap();
    let bare = house.pixels(bare);
    assert!(bare == house.pixels(named), "both are the same vectors");
    assert!(bare != house.pixels(as_words), "and not the words");
}

#[test]
fn a_name_alone_is_a_word_where_prompts_are_plain() {
    let house = House::new("prompt-embedding-word");
    let request = house.case.request.to_engine(house.root.path(), 0);
    let plain = Request {
        prompt_syntax: Some(PromptSyntax::Plain),
        ..request
    };
    let generation = house.model.start(&plain).unwrap();
    assert!(generation.settings().embeddings.is_empty());
}

#[test]
fn a_changed_file_starts_again() {
    let house = House::new("prompt-embedding-word");
    house.embedding(&[("a", &[1, 32])], 0.1);
    let mut generation = house
        .start("a made cat", "made", "made.safetensors")
        .unwrap();
    let first = house.model.step(&mut [&mut generation]);
    first.into_iter().for_each(|result| result.unwrap());
    let saved = generation.save().unwrap();
    let on = house.model.restore(&saved).unwrap();
    assert_eq!((on.restarted, on.generation.evaluations_done()), (None, 1));
    house.embedding(&[("a", &[2, 32])], 0.2);
    let again = house.model.restore(&saved).unwrap();
    let reason = again.restarted.unwrap();
    assert_eq!(reason, "an embedding's file has changed");
    assert_eq!(again.generation.evaluations_done(), 0);
}

#[test]
fn a_family_without_embeddings_says_so() {
    let house = House::new("flux-dev");
    let refused = house.start("embedding:made", "embedding:made", "made.safetensors");
    let told = refused.err().unwrap().to_string();
    assert!(told.contains("this model takes no embeddings"), "{told}");
    house.start("made", "made", "made.safetensors").unwrap();
}

/// As in a plain request of the oracle, drawn in the other grammar.
#[test]
fn both_ways_of_reading_give_the_same_vectors() {
    let house = House::new("embedding-several");
    let tensors = read(&fs::read(house.file("easynegative.safetensors")).unwrap());
    assert_eq!(tensors["emb_params"].0, [8, 32]);
    let request = house.case.request.to_engine(house.root.path(), 0);
    let pictures = [PromptSyntax::Plain, PromptSyntax::A1111].map(|syntax| {
        let request = Request {
            prompt_syntax: Some(syntax),
            ..request.clone()
        };
        house.pixels(house.model.start(&request).unwrap())
    });
    assert!(pictures[0] == pictures[1], "there are no weights in it");
    let expected = house.case.expected_pixels(0);
    let most = pictures[0]
        .iter()
        .zip(&expected)
        .map(|(a, b)| a.abs_diff(*b));
    assert!(most.max().unwrap() <= 2, "{}", house.case.expected[0]);
}
