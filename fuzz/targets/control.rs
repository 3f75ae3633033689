//! ControlNets, as single files and as directories, of which a configuration or the header of the weights is the input: what opens
//! has to steer a picture or say why not.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use imgd_engine::{Control, Model, Request};
use imgd_fuzz::models;
use libfuzzer_sys::fuzz_target;

struct Place {
    model: Model,
    /// The network's.
    network: PathBuf,
    config: Vec<u8>,
    weights: Vec<u8>,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let mut all = models::one_of_each();
    let model = all.remove("StableDiffusionPipeline").expect("it is there");
    let part = models::tests().join("parts/control-sd");
    let weights = models::safetensors(&models::read_json(&part.join("weights.json")));
    let config = models::read_json(&part.join("config.json"));
    Place {
        model: models::open(&model.root).expect("it is as it should be"),
        network: imgd_fuzz::folder().join("network"),
        config: config.to_string().into_bytes(),
        weights,
    }
});

// The first byte says which file the rest is.
fuzz_target!(|input: &[u8]| {
    let [which, bytes @ ..] = input else {
        return;
    };
    let place = &*PLACE;
    let single = place.network.with_extension("safetensors");
    let [config, weights] =
        ["config.json", "diffusion_pytorch_model.safetensors"].map(|name| place.network.join(name));
    let path = match which % 4 {
        0 => {
            imgd_fuzz::write(&single, &imgd_fuzz::with_header(bytes));
            single
        }
        1 => {
            imgd_fuzz::write(&config, bytes);
            imgd_fuzz::write(&weights, &place.weights);
            place.network.clone()
        }
        2 => {
            imgd_fuzz::write(&config, &place.config);
            imgd_fuzz::write(&weights, &imgd_fuzz::with_header(bytes));
            place.network.clone()
        }
        _ => {
            let _ = std::fs::remove_file(&config);
            imgd_fuzz::write(&weights, &imgd_fuzz::with_header(bytes));
            place.network.clone()
        }
    };
    let control = Control {
        path,
        image: include_bytes!("../seeds/picture/a.jpg").as_slice().into(),
        canny: None,
        weight: 1.0,
        start: 0.0,
        end: 1.0,
    };
    let request = Request {
        controls: vec![control],
        ..Request::new("a cat", 1)
    };
    let _ = models::draw_with(&place.model, request);
});
