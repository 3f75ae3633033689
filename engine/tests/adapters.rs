//! Adapters that cannot be applied are told, and those that are applied are counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use imgd_engine::checkpoint::Source;
use imgd_engine::{Error, ErrorKind, Generation, Lora, Model, OpenOptions, Precision, Request};
use safetensors::{Tensors, read, write};
use support::oracle::{Case, cases};

const CASE: &str = "lora-kohya";

struct House {
    root: tempfile::TempDir,
    model: Model,
    case: Case,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let case = cases().into_iter().find(|case| case.name == CASE).unwrap();
        case.write_model(root.path());
        let options = OpenOptions {
            name: CASE.to_owned(),
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

    /// The case's adapter, changed.
    fn adapter(&self, change: impl FnOnce(&mut Tensors)) -> PathBuf {
        let from = self.root.path().join("kohya.safetensors");
        let mut tensors = read(&fs::read(from).unwrap());
        change(&mut tensors);
        let path = self.root.path().join("changed.safetensors");
        fs::write(&path, write(&tensors)).unwrap();
        path
    }

    fn start(&self, path: &Path, weight: f64) -> Result<Generation, Error> {
        let request = self.case.request.to_engine(self.root.path(), 0);
        self.model.start(&Request {
            loras: vec![Lora {
                path: path.to_owned(),
                weight,
            }],
            ..request
        })
    }

    fn refused(&self, path: &Path) -> String {
        let error = self.start(path, 1.0).err().unwrap();
        assert_eq!(error.field(), Some("loras"), "{error}");
        error.to_string()
    }
}

fn first(tensors: &Tensors, ending: &str) -> String {
    tensors
        .keys()
        .find(|name| name.ends_with(ending))
        .unwrap()
        .clone()
}

#[test]
fn what_is_applied_is_counted() {
    let house = House::new();
    let notices = |path: &Path| {
        let generation = house.start(path, 0.5).unwrap();
        let about = generation
            .notices()
            .iter()
            .find(|notice| notice.field == "loras")
            .unwrap();
        (about.reason.clone(), about.message.clone())
    };
    let whole = house.adapter(|_| {});
    let layers = read(&fs::read(&whole).unwrap()).len() / 2;
    assert!(layers > 50);
    let (reason, message) = notices(&whole);
    assert_eq!(reason, "lora_applied");
    assert_eq!(
        message,
        format!("LoRA `changed`: {layers} of {layers} keys applied")
    );
    let with_more = house.adapter(|tensors| {
        let down = first(tensors, ".lora_down.weight");
        let value = tensors[&down].clone();
        for side in ["down", "up"] {
            tensors.insert(
                format!("lora_unet_elsewhere.lora_{side}.weight"),
                value.clone(),
            );
        }
    });
    let (reason, message) = notices(&with_more);
    assert_eq!(reason, "lora_partly_applied");
    assert!(
        message.contains(&format!("{layers} of {} keys", layers + 1)),
        "{message}"
    );
    assert!(message.contains("lora_unet_elsewhere"), "{message}");
}

#[test]
fn what_is_used_stands_in_settings_and_a_changed_file_starts_again() {
    let house = House::new();
    let path = house.adapter(|_| {});
    let generation = house.start(&path, -0.25).unwrap();
    let used = &generation.settings().loras[0];
    assert_eq!((used.name.as_str(), used.weight), ("changed", -0.25));
    assert_eq!(used.sha256.len(), 64);
    let saved = generation.save().unwrap();
    assert_eq!(house.model.restore(&saved).unwrap().restarted, None);
    house.adapter(|tensors| {
        let name = first(tensors, ".lora_up.weight");
        tensors.get_mut(&name).unwrap().1[0] += 1.0;
    });
    let restored = house.model.restore(&saved).unwrap();
    assert_eq!(
        restored.restarted.as_deref(),
        Some("a LoRA's file has changed")
    );
    fs::remove_file(&path).unwrap();
    let error = house.model.restore(&saved).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn what_cannot_be_applied_is_told() {
    let house = House::new();
    let none = house.adapter(|tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, tensor)| (name.replace("lora_unet", "lora_another"), tensor))
            .collect();
    });
    let message = house.refused(&none);
    assert!(
        message.contains("0 of") && message.contains("lora_another"),
        "{message}"
    );

    let empty = house.adapter(|tensors| {
        *tensors = [("weight".to_owned(), (vec![1], vec![0.0]))].into();
    });
    assert!(house.refused(&empty).contains("holds no LoRA"));

    let other_shape = house.adapter(|tensors| {
        let name = first(tensors, ".lora_down.weight");
        let (shape, numbers) = tensors.get_mut(&name).unwrap();
        shape[1] *= 2;
        numbers.extend(numbers.clone());
    });
    assert!(house.refused(&other_shape).contains("is for a layer of"));

    let other_rank = house.adapter(|tensors| {
        let name = first(tensors, ".lora_down.weight");
        let (shape, numbers) = tensors.get_mut(&name).unwrap();
        shape[0] *= 2;
        numbers.extend(numbers.clone());
    });
    assert!(
        house
            .refused(&other_rank)
            .contains("rank of 8 on one side and of 4")
    );

    let half = house.adapter(|tensors| {
        let name = first(tensors, ".lora_up.weight");
        tensors.remove(&name);
    });
    assert!(house.refused(&half).contains("a part of its `up`"));

    let magnitude = house.adapter(|tensors| {
        let layer = first(tensors, ".lora_up.weight").replace(".lora_up.weight", ".dora_scale");
        tensors.insert(layer, (vec![1], vec![1.0]));
    });
    assert!(house.refused(&magnitude).contains("DoRA"));

    let pickle = house.root.path().join("style.ckpt");
    fs::write(&pickle, b"\x80\x02").unwrap();
    assert!(house.refused(&pickle).contains("ickle"));
    let missing = house.root.path().join("nowhere.safetensors");
    assert!(house.refused(&missing).contains("nowhere"));
    let damaged = house.root.path().join("damaged.safetensors");
    fs::write(&damaged, vec![0xff; 64]).unwrap();
    house.refused(&damaged);
    let whole = house.adapter(|_| {});
    let error = house.start(&whole, f64::NAN).err().unwrap();
    assert_eq!(error.field(), Some("loras"));
}

/// A small file cannot ask for a large weight.
#[test]
fn a_change_of_another_size_is_refused_before_it_is_made() {
    let house = House::new();
    let key = "lora_unet_mid_block_attentions_0_proj_in";
    let huge = |pieces: &[(&str, Vec<usize>)]| {
        house.adapter(|tensors| {
            *tensors = pieces
                .iter()
                .map(|(piece, shape)| {
                    let numbers = vec![1.0; shape.iter().product()];
                    (format!("{key}.{piece}"), (shape.clone(), numbers))
                })
                .collect();
        })
    };
    let side = 100_000;
    for pieces in [
        vec![
            ("hada_w1_a", vec![side, 1]),
            ("hada_w1_b", vec![1, side]),
            ("hada_w2_a", vec![side, 1]),
            ("hada_w2_b", vec![1, side]),
        ],
        vec![("lokr_w1", vec![side, 1]), ("lokr_w2", vec![1, side])],
        vec![
            ("lora_up.weight", vec![side, 1, 1, 1]),
            ("lora_mid.weight", vec![1, 1, 100, 100]),
            ("lora_down.weight", vec![1, side, 1, 1]),
        ],
    ] {
        let message = house.refused(&huge(&pieces));
        assert!(message.contains("is for a layer of"), "{message}");
    }
}

/// The model stays as it is: with and without an adapter, in turns.
#[test]
fn an_adapter_is_there_for_its_own_pictures_alone() {
    let house = House::new();
    let with = house.case.request.to_engine(house.root.path(), 0);
    let without = Request {
        loras: Vec::new(),
        ..with.clone()
    };
    let mut nothing = with.clone();
    nothing.loras[0].weight = 0.0;
    let draw = |request: &Request| {
        let mut generation = house.model.start(request).unwrap();
        while !generation.is_done() {
            for result in house.model.step(&mut [&mut generation]) {
                result.unwrap();
            }
        }
        house.model.finish(&mut generation).unwrap().image.pixels
    };
    let plain = draw(&without);
    let changed = draw(&with);
    assert_eq!(draw(&without), plain);
    assert_eq!(draw(&nothing), plain);
    let furthest = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(furthest(&changed, &plain) > 20);
    assert!(furthest(&changed, &house.case.expected_pixels(0)) <= 2);
}
