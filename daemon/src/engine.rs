//! The seam between scheduler and engine: what the scheduler may ask of a process that owns a device.
//!
//! Knows nothing of sockets and processes: the worker's handle implements [`Engine`], and so does the tests' fake.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use imgd_proto::v1;
use tokio::sync::watch;
use tonic::codegen::Bytes;

use crate::{failure::Failure, prompt::Prompt, sandbox::Report};

/// An answer of the engine, some time later.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Starts engines.
pub trait EngineFactory: Send + Sync + 'static {
    /// Starts one; it holds no model yet.
    fn start(&self) -> Answer<Arc<dyn Engine>>;
}

/// A process that owns a device. Calls are answered one after another.
///
/// An answer that is [`crate::failure::is_worker_died`] means that this engine is gone with all it held.
pub trait Engine: Send + Sync + 'static {
    /// Process id, for status.
    fn pid(&self) -> u32;
    /// Ends when the process is gone; says how.
    fn died(&self) -> Pin<Box<dyn Future<Output = Death> + Send>>;
    /// Ends the process at once and waits for its end.
    fn end(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Describes a model from its configuration and headers.
    fn inspect(&self, model: &ModelKey) -> Answer<v1::Model>;
    /// Loads a model; `progress` follows the share that is read, 0 to 1.
    fn load(&self, model: &ModelKey, progress: watch::Sender<f64>) -> Answer<Loaded>;
    /// Frees a model. No generation may use it.
    fn unload(&self, model: &ModelKey) -> Answer<()>;
    /// Encodes the text and draws the noise of one picture, to be known by `generation`.
    fn begin(
        &self,
        generation: GenerationId,
        model: &ModelKey,
        picture: PictureRequest,
    ) -> Answer<Begun>;
    /// Goes on with a saved generation, to be known by `generation`. It starts again at evaluation 0 where model or
    /// engine have changed since; [`Begun::restarted`] says so.
    fn restore(&self, generation: GenerationId, model: &ModelKey, saved: Bytes) -> Answer<Begun>;
    /// The generation's state as bytes; the prompt is in them. Decoding is no part of it: a generation that was
    /// decoded in part is saved as one with all its evaluations.
    fn save(&self, generation: GenerationId) -> Answer<Saved>;
    /// Makes one network evaluation for each of the generations, which are of one model; one result for each, in order.
    fn step(&self, generations: &[GenerationId]) -> Answer<Vec<Result<Stepped, Failure>>>;
    /// A small picture of the state.
    fn preview(&self, generation: GenerationId) -> Answer<v1::Preview>;
    /// Makes one piece of the decoding of a generation whose evaluations are all done: no longer than a step or so, so
    /// that others can go first between two pieces.
    fn decode(&self, generation: GenerationId) -> Answer<Decoded>;
    /// Decodes what is not decoded yet, writes the file's bytes and forgets the generation.
    fn finish(&self, generation: GenerationId, file: FileRequest) -> Answer<Picture>;
    /// Forgets a generation.
    fn forget(&self, generation: GenerationId) -> Answer<()>;
    /// What [`Engine::begin`] would make of a request, from the model's configuration and headers: nothing is loaded.
    fn plan(&self, model: &ModelKey, picture: PictureRequest) -> Answer<Planned>;
}

/// How an engine's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// In words that follow "the worker".
    pub how: String,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel ended it because memory ran out.
    pub is_out_of_memory: bool,
    /// Somebody else ended it, so that nothing it worked on is to blame: SIGKILL, while the kernel's counts of
    /// processes it ended for lack of memory stood still. Never where those counts cannot be read.
    pub is_foreign: bool,
}

/// Names a generation within one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Inside the program.
    Embedded,
    /// A diffusers directory or a single file, as an absolute path.
    Directory(PathBuf),
    /// A model some of whose files lie elsewhere, all of them absolute paths.
    Configured {
        /// The diffusers directory or single file.
        file: PathBuf,
        /// A diffusers directory with what a single file lacks.
        config: Option<PathBuf>,
        /// Files of parts, by the part's name.
        parts: BTreeMap<String, PathBuf>,
    },
    /// An upscaler's file, as an absolute path: no model that draws.
    Upscaler(PathBuf),
}

impl Place {
    /// The model's own file or directory; none inside the program.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Embedded => None,
            Self::Directory(path) | Self::Configured { file: path, .. } | Self::Upscaler(path) => {
                Some(path)
            }
        }
    }
}

/// A model as it is held in memory: two keys are two copies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey {
    /// Where its files are.
    pub place: Place,
    /// The name or path a request used, as it goes into the picture's metadata.
    pub name: String,
    /// What it computes with, as requests asked for it; never unspecified.
    pub precision: v1::Precision,
}

impl ModelKey {
    /// The same model with what it lacks in the directory `config`; an empty path is none.
    #[must_use]
    pub fn with_config(self, config: &str) -> Self {
        if config.is_empty() {
            return self;
        }
        let place = match self.place {
            Place::Directory(file) => Place::Configured {
                file,
                config: Some(config.into()),
                parts: BTreeMap::new(),
            },
            Place::Configured { file, parts, .. } => Place::Configured {
                file,
                config: Some(config.into()),
                parts,
            },
            place @ (Place::Embedded | Place::Upscaler(_)) => place,
        };
        Self { place, ..self }
    }

    /// The same model with the weights of some parts from files of their own. The model inside the program stays as it is.
    #[must_use]
    pub fn with_parts(self, wanted: &[v1::ModelPart]) -> Self {
        if wanted.is_empty() {
            return self;
        }
        let parts = wanted
            .iter()
            .map(|part| (part.part.clone(), PathBuf::from(&part.file)))
            .collect();
        let place = match self.place {
            Place::Directory(file) => Place::Configured {
                file,
                config: None,
                parts,
            },
            Place::Configured { file, config, .. } => Place::Configured {
                file,
                config,
                parts,
            },
            place @ (Place::Embedded | Place::Upscaler(_)) => place,
        };
        Self { place, ..self }
    }

    /// Whether both are copies of one model: whatever they compute with, and wherever the rest of it comes from.
    pub fn is_of(&self, other: &Self) -> bool {
        self.place.file() == other.place.file()
    }

    /// The same model, computing with `precision`.
    #[must_use]
    pub fn with_precision(self, precision: v1::Precision) -> Self {
        let precision = match precision {
            v1::Precision::Unspecified => v1::Precision::Auto,
            chosen => chosen,
        };
        Self { precision, ..self }
    }
}

impl fmt::Display for ModelKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// One picture to make. What is `None` takes the model's default.
#[derive(Debug, Clone)]
pub struct PictureRequest {
    /// What it shows.
    pub prompt: Prompt,
    /// What it avoids.
    pub negative_prompt: Option<Prompt>,
    /// Width in pixels.
    pub width_px: Option<u32>,
    /// Height in pixels.
    pub height_px: Option<u32>,
    /// Denoising steps.
    pub num_inference_steps: Option<u32>,
    /// Classifier-free guidance.
    pub guidance_scale: Option<f64>,
    /// Seed of the noise.
    pub seed: u64,
    /// Another seed, part of whose noise there is.
    pub variation_seed: Option<u64>,
    /// How far the noise is on the way to that seed's.
    pub variation_strength: Option<f64>,
    /// The solver.
    pub sampler: Option<String>,
    /// The list of noise levels.
    pub schedule: Option<String>,
    /// Layer of the text encoder counted from the last.
    pub clip_skip: Option<u32>,
    /// Tokens that the prompt is cut and filled up to.
    pub max_sequence_length: Option<u32>,
    /// How both prompts are read; may be unspecified.
    pub prompt_syntax: v1::PromptSyntax,
    /// Adapters, by the absolute paths of their files.
    pub loras: Vec<v1::Lora>,
    /// ControlNets, by the absolute paths of their files or directories.
    pub controls: Vec<v1::Control>,
    /// Words of the prompts that may stand for embeddings, with the absolute paths of their files.
    pub embeddings: Vec<v1::Embedding>,
    /// Pictures to look at.
    pub ref_images: Vec<v1::ReferenceImage>,
    /// A picture to begin from.
    pub input: Option<v1::ImageInput>,
    /// A second pass at a larger size.
    pub hires: Option<v1::HiresFix>,
    /// Enlarges the picture of `input` instead.
    pub upscale: Option<v1::Upscale>,
}

/// What file to make of a picture.
#[derive(Debug, Clone, Copy)]
pub struct FileRequest {
    /// Never unspecified.
    pub format: v1::ImageFormat,
    /// 1 to 100.
    pub jpeg_quality: u8,
    /// Leaves prompt and settings out of the file.
    pub omit_metadata: bool,
}

/// A model was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// SHA-256 over its weights, hex.
    pub model_hash: String,
    /// Memory it takes.
    pub memory_bytes: u64,
    /// Threads the engine computes with.
    pub threads: u32,
    /// What the engine's process has given up.
    pub hardening: Hardening,
}

/// What an engine's process has given up, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardening {
    /// Its environment has nothing but what it needs.
    pub environment_is_cleared: bool,
    /// A crash leaves no core file.
    pub core_dumps_are_off: bool,
    /// What it found when it tried what its sandbox forbids.
    pub sandbox: Report,
}

/// A generation was started.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Every setting, defaults filled in.
    pub settings: v1::Settings,
    /// Network evaluations it takes.
    pub evaluation_count: u32,
    /// Network evaluations that are done: more than 0 after [`Engine::restore`].
    pub evaluations_done: u32,
    /// Why a restored generation starts again at evaluation 0, if it does.
    pub restarted: Option<String>,
    /// Memory that is taken by what the model keeps beside its own weights: ControlNets.
    pub kept_bytes: u64,
    /// What the user should know.
    pub notices: Vec<v1::Notice>,
    /// Time it took in the engine.
    pub took: Duration,
}

/// A generation made one evaluation.
#[derive(Debug, Clone)]
pub struct Stepped {
    /// Evaluations done.
    pub evaluations_done: u32,
    /// Denoising step, from 1, that the evaluation belongs to.
    pub inference_step: u32,
    /// Noise level after it.
    pub sigma: f64,
    /// Whether it was the last.
    pub is_done: bool,
    /// Time the call took in the engine, for all its generations together.
    pub took: Duration,
}

/// A generation's state.
#[derive(Clone)]
pub struct Saved {
    /// For [`Engine::restore`]; the prompt is in them.
    pub bytes: Bytes,
    /// Time it took in the engine.
    pub took: Duration,
}

/// Without the bytes, which hold the prompt.
impl fmt::Debug for Saved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Saved")
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One piece of a generation was decoded.
#[derive(Debug, Clone, Copy)]
pub struct Decoded {
    /// Whether it was the last.
    pub is_done: bool,
    /// Time it took in the engine.
    pub took: Duration,
}

/// What would be made of a request.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Every setting, defaults filled in.
    pub settings: v1::Settings,
    /// Network evaluations it takes.
    pub evaluation_count: u32,
}

/// A finished picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The file.
    pub bytes: Bytes,
    /// A JPEG of at most 256 x 256 pixels, without metadata.
    pub thumbnail: Bytes,
    /// What it is.
    pub metadata: v1::ImageMetadata,
    /// Time it took in the engine.
    pub took: Duration,
}
