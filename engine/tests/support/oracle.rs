//! The cases of `tests/oracle`: model directories made from `parts` and seeds, and what diffusers draws with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imgd_engine::checkpoint::Source;
use imgd_engine::sampling::noise::Generator;
use imgd_engine::{
    CannyThresholds, Control, EmbeddingWord, HiresFix, InitImage, Lora, PromptSyntax, RefImage,
    Request,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One picture, or several of one request, that diffusers drew.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Folder of the model, and the folder of `parts` that is put there.
    parts: BTreeMap<String, String>,
    model_index: Value,
    /// The file's text; diffusers writes infinities in it, which are no JSON.
    scheduler_config: String,
    pub(crate) request: CaseRequest,
    /// Files in `expected`, from consecutive seeds.
    pub(crate) expected: Vec<String>,
    /// Parts in files of their own, and the folder of `parts` that each is.
    #[serde(default)]
    own_parts: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CaseRequest {
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    pub(crate) seed: u64,
    pub(crate) steps: u32,
    pub(crate) guidance: f64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) sampler: Option<String>,
    pub(crate) schedule: Option<String>,
    pub(crate) clip_skip: Option<u32>,
    #[serde(default)]
    pub(crate) max_sequence_length: Option<u32>,
    /// Files in `expected`.
    #[serde(default)]
    pub(crate) init_image: Option<String>,
    #[serde(default)]
    pub(crate) mask: Option<String>,
    #[serde(default)]
    pub(crate) strength: Option<f64>,
    #[serde(default)]
    pub(crate) mask_blur: u32,
    #[serde(default)]
    pub(crate) only_masked: Option<u32>,
    /// Of the finished picture, where it is another than the one that is drawn.
    #[serde(default)]
    pub(crate) own_size: Option<(u32, u32)>,
    #[serde(default)]
    pub(crate) prompt_syntax: PromptSyntax,
    /// Files in `adapters`, with how strong each is.
    #[serde(default)]
    pub(crate) loras: Vec<(String, f64)>,
    /// Files in `embeddings`; each may be named, with the word before it and without.
    #[serde(default)]
    pub(crate) embeddings: Vec<String>,
    #[serde(default)]
    pub(crate) controls: Vec<CaseControl>,
    /// Files in `expected`.
    #[serde(default)]
    pub(crate) ref_images: Vec<String>,
    /// Whether the size follows from the rest.
    #[serde(default)]
    has_own_size: bool,
    #[serde(default)]
    pub(crate) hires: Option<CaseHires>,
}

/// The second pass of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct CaseHires {
    scale: f64,
    strength: f64,
    steps: Option<u32>,
}

/// A ControlNet of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct CaseControl {
    /// Folder of `parts`, and its place in the model's folder.
    pub(crate) part: String,
    /// File in `expected`.
    image: String,
    weight: f64,
    start: f64,
    end: f64,
    canny: bool,
}

impl CaseRequest {
    /// The request of picture `number`. Adapters and ControlNets lie in the model's folder, `root`.
    pub(crate) fn to_engine(&self, root: &Path, number: usize) -> Request {
        let file = |name: &String| -> bytes::Bytes {
            fs::read(directory().join("expected").join(name))
                .unwrap()
                .into()
        };
        Request {
            negative_prompt: self.negative_prompt.clone(),
            width_px: Some(self.width).filter(|_| !self.has_own_size),
            height_px: Some(self.height).filter(|_| !self.has_own_size),
            num_inference_steps: Some(self.steps),
            guidance_scale: Some(self.guidance),
            sampler: self.sampler.clone(),
            schedule: self.schedule.clone(),
            clip_skip: self.clip_skip,
            max_sequence_length: self.max_sequence_length,
            prompt_syntax: Some(self.prompt_syntax),
            init: self.init_image.as_ref().map(|image| InitImage {
                mask: self.mask.as_ref().map(file),
                strength: self.strength,
                mask_blur_px: self.mask_blur,
                only_masked_padding_px: self.only_masked,
                ..InitImage::new(file(image))
            }),
            hires: self.hires.as_ref().map(|hires| HiresFix {
                scale: hires.scale,
                strength: Some(hires.strength),
                num_inference_steps: hires.steps,
            }),
            loras: self
                .loras
                .iter()
                .map(|(name, weight)| Lora {
                    path: root.join(format!("{name}.safetensors")),
                    weight: *weight,
                })
                .collect(),
            controls: self
                .controls
                .iter()
                .map(|control| Control {
                    path: root.join(&control.part),
                    image: file(&control.image),
                    canny: control.canny.then(CannyThresholds::default),
                    weight: control.weight,
                    start: control.start,
                    end: control.end,
                })
                .collect(),
            embeddings: self
                .embeddings
                .iter()
                .flat_map(|name| {
                    [name.clone(), format!("embedding:{name}")].map(|word| EmbeddingWord {
                        word,
                        path: root.join(format!("{name}.safetensors")),
                    })
                })
                .collect(),
            ref_images: self
                .ref_images
                .iter()
                .map(|name| RefImage { image: file(name) })
                .collect(),
            ..Request::new(self.prompt.clone(), self.seed + number as u64)
        }
    }
}

/// Where parts with files of their own are, and the name of the file.
const OWN: &str = "own";
const OWN_FILE: &str = "diffusion_pytorch_model.safetensors";

/// All cases, in the order of the program that made them.
pub(crate) fn cases() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    [
        "cases.json",
        "more_cases.json",
        "adapter_cases.json",
        "prompt_cases.json",
        "control_cases.json",
        "area_cases.json",
        "embedding_cases.json",
        "reference_cases.json",
        "hires_cases.json",
        "qwen_image_cases.json",
        "tiny_vae_cases.json",
    ]
    .into_iter()
    .flat_map(|name| {
        let bytes = fs::read(directory().join(name)).unwrap();
        serde_json::from_slice::<File>(&bytes).unwrap().cases
    })
    .collect()
}

/// The files of `tests/oracle`.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

impl Case {
    /// The pixels of expected picture `number`: red, green, blue, row by row.
    pub(crate) fn expected_pixels(&self, number: usize) -> Vec<u8> {
        let path = directory().join("expected").join(&self.expected[number]);
        let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let drawn = (self.request.width, self.request.height);
        let size = self.request.own_size.unwrap_or(drawn);
        assert_eq!((info.width, info.height), size);
        assert_eq!(
            (info.color_type, info.bit_depth),
            (png::ColorType::Rgb, png::BitDepth::Eight)
        );
        pixels
    }

    /// Writes the model as diffusers would save it.
    pub(crate) fn write_model(&self, root: &Path) -> Source {
        fs::create_dir_all(root.join("scheduler")).unwrap();
        fs::write(root.join("model_index.json"), self.model_index.to_string()).unwrap();
        fs::write(
            root.join("scheduler/scheduler_config.json"),
            &self.scheduler_config,
        )
        .unwrap();
        for (folder, part) in &self.parts {
            write_part(part, &root.join(folder));
        }
        for part in self.own_parts.values() {
            write_part(part, &root.join(OWN).join(part));
        }
        for control in &self.request.controls {
            write_part(&control.part, &root.join(&control.part));
        }
        let loras = self
            .request
            .loras
            .iter()
            .map(|(name, _)| ("adapters", name));
        let embeddings = self.request.embeddings.iter();
        for (folder, name) in loras.chain(embeddings.map(|name| ("embeddings", name))) {
            let path = directory().join(format!("{folder}/{name}.json"));
            let weights: Weights = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            fs::write(root.join(&weights.file), weights.safetensors()).unwrap();
        }
        let file = |(name, part): (&String, &String)| {
            let file = root.join(OWN).join(part).join(OWN_FILE);
            (name.clone(), file)
        };
        Source::directory(root)
            .and_then(|source| source.with_parts(self.own_parts.iter().map(file).collect()))
            .unwrap()
    }
}

/// Writes a component: its files, and its weights drawn from their seed.
pub(crate) fn write_part(part: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for entry in fs::read_dir(directory().join("parts").join(part)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == "weights.json" {
            let weights: Weights = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            fs::write(folder.join(&weights.file), weights.safetensors()).unwrap();
        } else {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// `weights.json`: how the program of the cases drew the weights of a network.
#[derive(Deserialize)]
struct Weights {
    seed: u64,
    /// Of all numbers as f32, little endian, in order.
    sha256: String,
    tensors: Vec<(String, Vec<usize>)>,
    file: String,
    /// Tensors whose numbers were multiplied and added to.
    #[serde(default)]
    changed: BTreeMap<String, (f32, f32)>,
}

impl Weights {
    /// The file of the weights. Fails the test when they are not those that the program drew.
    fn safetensors(&self) -> Vec<u8> {
        let mut generator = Generator::new("torch", self.seed).unwrap();
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, shape) in &self.tensors {
            let start = data.len();
            let (scale, shift) = self.changed.get(name).copied().unwrap_or((1.0, 0.0));
            for value in draw(&mut generator, name, shape) {
                data.extend((value * scale + shift).to_le_bytes());
            }
            let entry =
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
            header.insert(name.clone(), entry);
        }
        let digest: String = Sha256::digest(&data)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            digest, self.sha256,
            "these are not the weights that diffusers drew with"
        );
        let header = Value::Object(header).to_string();
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &data,
        ]
        .concat()
    }
}

/// The numbers of one parameter, in the arithmetic of torch: f32 throughout, scales rounded to f32 first.
fn draw(generator: &mut Generator, name: &str, shape: &[usize]) -> Vec<f32> {
    let noise = generator.randn(shape.iter().product());
    if shape.len() >= 2 {
        let fan_in: usize = shape[1..].iter().product();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "torch rounds the same way"
        )]
        let scale = (0.9 / (fan_in as f64).sqrt()) as f32;
        noise.iter().map(|value| value * scale).collect()
    } else if name.ends_with("bias") {
        noise.iter().map(|value| value * 0.05).collect()
    } else {
        noise.iter().map(|value| 1.0 + value * 0.1).collect()
    }
}
