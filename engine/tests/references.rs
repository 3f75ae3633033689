//! Pictures to look at: what is drawn is what diffusers draws, they are told in settings and outlive a pause, and what
//! cannot be looked at is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

mod support;

use imgd_engine::checkpoint::Source;
use imgd_engine::image::{Format, Rgb8, encode};
use imgd_engine::{Error, Generation, InitImage, Model, OpenOptions, Precision, RefImage, Request};
use support::oracle::{Case, cases};

/// The greatest difference of a channel, of 255.
const MAX_DIFFERENCE: u8 = 1;
/// The greatest mean difference, of 255. Pictures whose sides or places are confused differ by 0.1 and more.
const MEAN_DIFFERENCE: f64 = 0.01;

struct House {
    case: Case,
    model: Model,
    request: Request,
    _root: tempfile::TempDir,
}

impl House {
    fn new(name: &str) -> Self {
        Self::of(cases().into_iter().find(|case| case.name == name).unwrap())
    }

    fn of(case: Case) -> Self {
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let options = OpenOptions {
            name: "model".to_owned(),
            precision: Precision::F32,
            progress: None,
        };
        Self {
            model: Model::open(&Source::directory(root.path()).unwrap(), &options).unwrap(),
            request: case.request.to_engine(root.path(), 0),
            case,
            _root: root,
        }
    }

    fn draw(&self, request: &Request) -> Rgb8 {
        let mut generation = self.model.start(request).unwrap();
        while !generation.is_done() {
            step(&self.model, &mut generation);
        }
        self.model.finish(&mut generation).unwrap().image
    }

    fn refused(&self, request: &Request) -> Error {
        let error = self.model.start(request).err().unwrap();
        assert_eq!(error.field(), Some("ref_images"), "{error}");
        error
    }

    fn with(&self, pictures: Vec<RefImage>) -> Request {
        Request {
            ref_images: pictures,
            ..self.request.clone()
        }
    }
}

fn step(model: &Model, generation: &mut Generation) {
    for result in model.step(&mut [generation]) {
        result.unwrap();
    }
}

fn picture(width_px: u32, height_px: u32) -> RefImage {
    let pixels = (0..3 * width_px * height_px).map(|i| (i % 251).to_le_bytes()[0]);
    let picture = Rgb8 {
        width_px,
        height_px,
        pixels: pixels.collect(),
    };
    RefImage {
        image: encode(&picture, Format::Png, None).unwrap().into(),
    }
}

#[test]
fn pictures_are_those_of_diffusers_more_closely_than_a_confused_place_would_be() {
    let with = |case: &Case| !case.request.ref_images.is_empty();
    let cases: Vec<Case> = cases().into_iter().filter(with).collect();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let house = House::of(case);
        let (ours, theirs) = (house.draw(&house.request), house.case.expected_pixels(0));
        let size = (house.case.request.width, house.case.request.height);
        assert_eq!((ours.width_px, ours.height_px), size, "{}", house.case.name);
        let differences = ours.pixels.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
        let sum: u32 = differences.clone().map(u32::from).sum();
        let count = u32::try_from(theirs.len()).unwrap();
        let (max, mean) = (
            differences.max().unwrap(),
            f64::from(sum) / f64::from(count),
        );
        println!("{}: max {max}, mean {mean:.4}", house.case.name);
        assert!(
            max <= MAX_DIFFERENCE && mean <= MEAN_DIFFERENCE,
            "{}: max {max}, mean {mean:.4}",
            house.case.name
        );
    }
}

#[test]
fn settings_and_metadata_tell_the_pictures_and_a_saved_state_has_them() {
    let house = House::new("reference-two");
    let mut generation = house.model.start(&house.request).unwrap();
    let told = generation.settings().ref_image_sha256.clone();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|digest| digest.len() == 64) && told[0] != told[1]);
    step(&house.model, &mut generation);
    let restored = house.model.restore(&generation.save().unwrap()).unwrap();
    assert_eq!(restored.restarted, None);
    let mut generation = restored.generation;
    assert_eq!(generation.request(), &house.request);
    while !generation.is_done() {
        step(&house.model, &mut generation);
    }
    let finished = house.model.finish(&mut generation).unwrap();
    assert!(finished.image == house.draw(&house.request));
    assert_eq!(finished.metadata.ref_image_sha256, told);
}

#[test]
fn pictures_are_looked_at_by_their_own_request_alone_and_in_their_order() {
    let house = House::new("reference-two");
    let plain = house.draw(&house.with(Vec::new()));
    let seen = house.draw(&house.request);
    assert!(seen != plain);
    let mut turned = house.request.ref_images.clone();
    turned.reverse();
    assert!(house.draw(&house.with(turned)) != seen);
    assert!(house.draw(&house.with(Vec::new())) == plain);
    // One named side leaves the other to the first picture: 90x70.
    let request = Request {
        height_px: None,
        width_px: Some(32),
        ..house.request.clone()
    };
    let settings = house.model.start(&request).unwrap().settings().clone();
    assert_eq!((settings.width_px, settings.height_px), (32, 64));
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let house = House::new("reference-one");
    let one = house.request.ref_images.clone();
    let many = house
        .refused(&house.with(vec![picture(64, 64); 5]))
        .to_string();
    assert!(
        many.contains("has 5 pictures") && many.contains("4 at most"),
        "{many}"
    );
    for (wrong, part) in [
        (picture(64, 63), "at least 64"),
        (picture(64, 520), "8 times"),
        (
            RefImage {
                image: b"GIF89a".as_slice().into(),
            },
            "no PNG",
        ),
        (
            RefImage {
                image: one[0].image.slice(..200),
            },
            "damaged",
        ),
    ] {
        let pictures = vec![one[0].clone(), wrong];
        let message = house.refused(&house.with(pictures)).to_string();
        assert!(message.contains(part), "{message}");
    }
    let init = InitImage::new(one[0].image.clone());
    let both = Request {
        init: Some(init),
        ..house.request.clone()
    };
    assert!(
        house
            .refused(&both)
            .to_string()
            .contains("to begin from as well")
    );

    let other = House::new("z-image-guided");
    let error = other.refused(&other.with(one));
    assert!(error.hint().unwrap().contains("flux2_klein"), "{error}");
}
