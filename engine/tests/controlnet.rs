//! ControlNets: whatever file they come in they draw the same; what does not fit is told; they are there for their own
//! pictures alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imgd_engine::checkpoint::Source;
use imgd_engine::{
    CannyThresholds, Control, Error, ErrorKind, Generation, Model, OpenOptions, Precision, Request,
};
use safetensors::{Tensors, read, write};
use support::oracle::{Case, cases, directory, write_part};

struct House {
    root: tempfile::TempDir,
    model: Model,
    request: Request,
}

fn open(root: &Path) -> Model {
    let options = OpenOptions {
        name: "model".to_owned(),
        precision: Precision::F32,
        progress: None,
    };
    Model::open(&Source::directory(root).unwrap(), &options).unwrap()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

impl House {
    fn new(name: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let case = case(name);
        case.write_model(root.path());
        Self {
            model: open(root.path()),
            request: case.request.to_engine(root.path(), 0),
            root,
        }
    }

    /// The weights of the request's first ControlNet.
    fn weights(&self) -> Tensors {
        let file = self.request.controls[0]
            .path
            .join("diffusion_pytorch_model.safetensors");
        read(&fs::read(file).unwrap())
    }

    /// A file of these weights.
    fn file(&self, tensors: &Tensors) -> PathBuf {
        let path = self.root.path().join("changed.safetensors");
        fs::write(&path, write(tensors)).unwrap();
        path
    }

    fn with(&self, change: impl FnOnce(&mut Control)) -> Request {
        let mut request = self.request.clone();
        change(&mut request.controls[0]);
        request
    }

    fn at(&self, path: &Path) -> Request {
        self.with(|control| control.path = path.to_owned())
    }

    fn draw(&self, request: &Request) -> Vec<u8> {
        let mut generation = self.model.start(request).unwrap();
        while !generation.is_done() {
            step(&self.model, &mut generation);
        }
        self.model.finish(&mut generation).unwrap().image.pixels
    }

    fn refused(&self, request: &Request) -> Error {
        let error = self.model.start(request).err().unwrap();
        assert_eq!(error.field(), Some("controls"), "{error}");
        error
    }
}

fn step(model: &Model, generation: &mut Generation) {
    for result in model.step(&mut [generation]) {
        result.unwrap();
    }
}

/// Under diffusers' names and the author's, with and without what stands before these. `control_names.json` was checked
/// against diffusers.
#[test]
fn single_files_draw_what_directories_draw() {
    let json = fs::read(directory().join("control_names.json")).unwrap();
    let names: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&json).unwrap();
    for (case, part) in [
        ("control-deep", "control-sd-deep"),
        ("control-xl", "control-sdxl"),
    ] {
        let house = House::new(case);
        let expected = house.draw(&house.request);
        let weights = house.weights();
        for prefix in [None, Some(""), Some("control_model.")] {
            let renamed = |name: &String| match prefix {
                None => name.clone(),
                Some(prefix) => {
                    let (layer, kind) = name.rsplit_once('.').unwrap();
                    format!("{prefix}{}.{kind}", names[part][layer])
                }
            };
            let tensors = weights
                .iter()
                .map(|(name, tensor)| (renamed(name), tensor.clone()));
            let file = house.file(&tensors.collect());
            assert!(
                house.draw(&house.at(&file)) == expected,
                "{case} {prefix:?}"
            );
        }
        // A directory that has lost its configuration.
        fs::remove_file(house.request.controls[0].path.join("config.json")).unwrap();
        assert!(house.draw(&house.request) == expected, "{case}");
    }
}

#[test]
fn what_is_used_stands_in_settings_and_a_changed_file_starts_again() {
    let house = House::new("control-one");
    let path = house.file(&house.weights());
    let request = Request {
        controls: vec![Control {
            weight: 0.5,
            end: 0.75,
            canny: Some(CannyThresholds { low: 7, high: 9 }),
            ..house.at(&path).controls[0].clone()
        }],
        ..house.request.clone()
    };
    let generation = house.model.start(&request).unwrap();
    let used = &generation.settings().controls[0];
    assert_eq!((used.name.as_str(), used.weight), ("changed", 0.5));
    assert_eq!((used.start, used.end), (0.0, 0.75));
    assert_eq!(used.canny, request.controls[0].canny);
    assert_eq!(used.sha256.len(), 64);
    assert_eq!(used.image_sha256.len(), 64);
    let saved = generation.save().unwrap();
    let restored = house.model.restore(&saved).unwrap();
    assert_eq!(restored.restarted, None);
    assert_eq!(restored.generation.request(), &request);
    let mut tensors = house.weights();
    tensors.get_mut("conv_in.bias").unwrap().1[0] += 1.0;
    house.file(&tensors);
    let restored = house.model.restore(&saved).unwrap();
    assert_eq!(
        restored.restarted.as_deref(),
        Some("a ControlNet's file has changed")
    );
}

#[test]
fn what_does_not_fit_is_told() {
    let house = House::new("control-one");
    let other = house.root.path().join("other");
    write_part("control-sdxl", &other);
    let error = house.refused(&house.at(&other));
    let message = error.to_string();
    assert!(
        message.contains("`other` does not fit the model") && message.contains("64"),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("trained for"));
    let file = other.join("diffusion_pytorch_model.safetensors");
    let message = house.refused(&house.at(&file)).to_string();
    assert!(
        message.contains("numbers of a token of text: 64, and the model's 32"),
        "{message}"
    );
    // Of the model's kind, but for latents of another size.
    let deep = house.root.path().join("deep");
    write_part("control-sd-deep", &deep);
    let message = house.refused(&house.at(&deep)).to_string();
    assert!(
        message.contains("makes 8x8 of a picture whose latents are 32x32"),
        "{message}"
    );

    let mut tensors = house.weights();
    tensors.remove("controlnet_down_blocks.4.weight");
    let message = house.refused(&house.at(&house.file(&tensors))).to_string();
    assert!(
        message.contains("controlnet_down_blocks.4.weight"),
        "{message}"
    );
    let mut tensors = house.weights();
    tensors.retain(|name, _| !name.starts_with("controlnet_"));
    let message = house.refused(&house.at(&house.file(&tensors))).to_string();
    assert!(message.contains("holds no ControlNet"), "{message}");
    for (marker, part) in [
        ("difference", "differs from a model"),
        ("task_embedding", "several ControlNets in one"),
    ] {
        let mut tensors = house.weights();
        tensors.insert(marker.to_owned(), (vec![1], vec![0.0]));
        let message = house.refused(&house.at(&house.file(&tensors))).to_string();
        assert!(message.contains(part), "{message}");
    }

    // A network of another class in the same form.
    let path = &house.request.controls[0].path;
    let config = path.join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("ControlNetModel", "ControlNetUnionModel"),
    )
    .unwrap();
    let message = house.refused(&house.request).to_string();
    assert!(message.contains("ControlNetUnionModel"), "{message}");
    fs::write(
        &config,
        text.replace(
            "\"global_pool_conditions\": false",
            "\"global_pool_conditions\": true",
        ),
    )
    .unwrap();
    let message = house.refused(&house.request).to_string();
    assert!(message.contains("global_pool_conditions"), "{message}");
}

#[test]
fn files_that_are_hostile_or_none_are_told() {
    let house = House::new("control-one");
    let root = house.root.path();
    let pickle = root.join("canny.pth");
    fs::write(&pickle, b"\x80\x02").unwrap();
    assert!(
        house
            .refused(&house.at(&pickle))
            .to_string()
            .contains("ickle")
    );
    let of_pickles = root.join("pickles");
    fs::create_dir(&of_pickles).unwrap();
    fs::write(of_pickles.join("diffusion_pytorch_model.bin"), b"PK").unwrap();
    assert!(
        house
            .refused(&house.at(&of_pickles))
            .to_string()
            .contains("ickle")
    );
    let missing = house.refused(&house.at(&root.join("nowhere")));
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let damaged = root.join("damaged.safetensors");
    fs::write(&damaged, vec![0xff; 64]).unwrap();
    house.refused(&house.at(&damaged));

    let error = house
        .model
        .start(&house.with(|control| control.image = b"GIF89a".as_slice().into()))
        .err()
        .unwrap();
    assert_eq!(error.field(), Some("control_image"));
}

#[test]
fn numbers_outside_their_range_are_told() {
    let house = House::new("control-one");
    for change in [
        (|control| control.weight = f64::NAN) as fn(&mut Control),
        |control| control.weight = 10.5,
        |control| control.start = -0.1,
        |control| control.end = 1.5,
        |control| (control.start, control.end) = (0.5, 0.5),
        |control| control.canny = Some(CannyThresholds { low: 2, high: 1 }),
    ] {
        house.refused(&house.with(change));
    }
}

#[test]
fn a_model_whose_kind_has_no_control_nets_says_so() {
    let controls = House::new("control-one").request.controls;
    let house = House::new("sd3");
    let error = house.refused(&Request {
        controls,
        ..house.request.clone()
    });
    assert!(error.to_string().contains("no ControlNets"), "{error}");
}

/// The model stays as it is: with and without, in turns.
#[test]
fn a_control_net_is_there_for_its_own_pictures_alone() {
    let house = House::new("control-one");
    let without = Request {
        controls: Vec::new(),
        ..house.request.clone()
    };
    let plain = house.draw(&without);
    let steered = house.draw(&house.request);
    assert_eq!(house.draw(&without), plain);
    assert_eq!(
        house.draw(&house.with(|control| control.weight = 0.0)),
        plain
    );
    let never = house.with(|control| control.end = 0.01);
    assert_eq!(house.draw(&never), plain);
    let furthest = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(furthest(&steered, &plain) > 20);
    let expected = case("control-one").expected_pixels(0);
    assert!(furthest(&steered, &expected) <= 2);
}

#[test]
fn a_request_without_a_size_takes_that_of_the_map() {
    let house = House::new("control-canny");
    let request = Request {
        width_px: None,
        height_px: None,
        ..house.request.clone()
    };
    let settings = house.model.start(&request).unwrap().settings().clone();
    assert_eq!((settings.width_px, settings.height_px), (96, 64));
}
