//! What supervisor and worker say to each other: a length of four bytes, little-endian, then that many bytes of protobuf.
//!
//! The two are always the same build, so that numbers of fields may change at will. Messages of the contract are used
//! where they say the same thing. Calls are answered one after another; a reply names its call.

use std::{
    fmt,
    io::{self, Read, Write},
};

use imgd_proto::v1;
use prost::{Message, bytes::Bytes};

use crate::sandbox::Report;

/// Longest message in bytes: a picture of 4,096 x 4,096 as PNG and a saved generation of that size both fit.
pub(crate) const MAX_MESSAGE_BYTES: u32 = 512 << 20;

/// A model as it is held in memory: two keys are two copies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Message)]
pub(crate) struct ModelKey {
    /// Its directory or file, as the system's bytes; absent for the model inside the program.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) directory: Option<Vec<u8>>,
    /// The name or path the user knows it by.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(enumeration = "v1::Precision", tag = "3")]
    pub(crate) precision: i32,
    /// A directory with what a single file lacks.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) config: Option<Vec<u8>>,
    /// Parts with files of their own.
    #[prost(message, repeated, tag = "5")]
    pub(crate) parts: Vec<ModelPart>,
    /// Whether it is an upscaler's file.
    #[prost(bool, tag = "28")]
    pub(crate) is_upscaler: bool,
}

impl ModelKey {
    /// Its directory or file for people; empty for the model inside the program.
    pub(super) fn shown_path(&self) -> String {
        let path = self.directory.as_deref();
        path.map(|path| String::from_utf8_lossy(path).into_owned())
            .unwrap_or_default()
    }
}

/// A part of a model and its file, as the system's bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Message)]
pub(crate) struct ModelPart {
    #[prost(string, tag = "1")]
    pub(crate) part: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) file: Vec<u8>,
}

/// The supervisor asks.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Call {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(oneof = "Verb", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub(crate) verb: Option<Verb>,
}

/// What can be asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Verb {
    /// Loads a model; progress comes before the answer. [`Outcome::Loaded`]
    #[prost(message, tag = "2")]
    Load(ModelKey),
    /// Reads configuration and headers alone. [`Outcome::Inspected`]
    #[prost(message, tag = "3")]
    Inspect(ModelKey),
    /// Encodes the text and draws the noise. [`Outcome::Started`]
    #[prost(message, tag = "4")]
    Start(Start),
    /// One network evaluation for each of the generations, which are of one model. [`Outcome::Stepped`]
    #[prost(message, tag = "5")]
    Step(Generations),
    /// A small picture of the state. [`Outcome::Previewed`]
    #[prost(uint64, tag = "6")]
    Preview(u64),
    /// Decodes, makes the file, and forgets the generation. [`Outcome::Finished`]
    #[prost(message, tag = "7")]
    Finish(Finish),
    /// [`Outcome::Saved`]
    #[prost(uint64, tag = "8")]
    Save(u64),
    /// Goes on with a saved generation. [`Outcome::Started`]
    #[prost(message, tag = "9")]
    Restore(Restore),
    /// Forgets a generation; one that does not exist is forgotten already. [`Outcome::Done`]
    #[prost(uint64, tag = "10")]
    Drop(u64),
    /// Frees a model and forgets its generations. [`Outcome::Done`]
    #[prost(message, tag = "11")]
    Unload(ModelKey),
    /// [`Outcome::Stats`]
    #[prost(message, tag = "12")]
    Stats(Empty),
    /// One piece of a picture's decoding. [`Outcome::Decoded`]
    #[prost(uint64, tag = "13")]
    Decode(u64),
    /// What would be made of a request, from configuration and headers alone; its generation says nothing.
    /// [`Outcome::Planned`]
    #[prost(message, tag = "14")]
    Plan(Start),
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Empty {}

/// A picture to begin. What is absent takes the model's default.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Start {
    /// Names the generation from now on; chosen by the supervisor.
    #[prost(uint64, tag = "1")]
    pub(crate) generation: u64,
    #[prost(message, required, tag = "2")]
    pub(crate) model: ModelKey,
    #[prost(string, tag = "3")]
    pub(crate) prompt: String,
    #[prost(string, optional, tag = "4")]
    pub(crate) negative_prompt: Option<String>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) width_px: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(crate) height_px: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    pub(crate) num_inference_steps: Option<u32>,
    #[prost(double, optional, tag = "8")]
    pub(crate) guidance_scale: Option<f64>,
    #[prost(uint64, tag = "9")]
    pub(crate) seed: u64,
    #[prost(string, optional, tag = "10")]
    pub(crate) sampler: Option<String>,
    #[prost(string, optional, tag = "11")]
    pub(crate) schedule: Option<String>,
    #[prost(uint32, optional, tag = "12")]
    pub(crate) clip_skip: Option<u32>,
    #[prost(uint32, optional, tag = "13")]
    pub(crate) max_sequence_length: Option<u32>,
    #[prost(message, optional, tag = "14")]
    pub(crate) input: Option<v1::ImageInput>,
    #[prost(enumeration = "v1::PromptSyntax", tag = "16")]
    pub(crate) prompt_syntax: i32,
    #[prost(message, repeated, tag = "15")]
    pub(crate) loras: Vec<v1::Lora>,
    #[prost(message, repeated, tag = "17")]
    pub(crate) controls: Vec<v1::Control>,
    #[prost(uint64, optional, tag = "19")]
    pub(crate) variation_seed: Option<u64>,
    #[prost(double, optional, tag = "20")]
    pub(crate) variation_strength: Option<f64>,
    #[prost(message, repeated, tag = "26")]
    pub(crate) embeddings: Vec<v1::Embedding>,
    #[prost(message, repeated, tag = "27")]
    pub(crate) ref_images: Vec<v1::ReferenceImage>,
    #[prost(message, optional, tag = "23")]
    pub(crate) hires: Option<v1::HiresFix>,
    /// With an upscaler in place of the model: enlarges the picture of `input`.
    #[prost(message, optional, tag = "28")]
    pub(crate) upscale: Option<v1::Upscale>,
}

/// Without the prompts, which reach no log.
impl fmt::Debug for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Start")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Generations {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) ids: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Finish {
    #[prost(uint64, tag = "1")]
    pub(crate) generation: u64,
    #[prost(enumeration = "v1::ImageFormat", tag = "2")]
    pub(crate) format: i32,
    /// 1 to 100; of a JPEG alone.
    #[prost(uint32, tag = "3")]
    pub(crate) jpeg_quality: u32,
    #[prost(bool, tag = "4")]
    pub(crate) omit_metadata: bool,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Restore {
    #[prost(uint64, tag = "1")]
    pub(crate) generation: u64,
    #[prost(message, required, tag = "2")]
    pub(crate) model: ModelKey,
    /// What [`Outcome::Saved`] held: the prompt is in it.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) saved: Bytes,
}

impl fmt::Debug for Restore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Restore")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The worker answers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reply {
    /// The call.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// Time it took in the worker.
    #[prost(uint64, tag = "2")]
    pub(crate) elapsed_micros: u64,
    #[prost(
        oneof = "Outcome",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
    )]
    pub(crate) outcome: Option<Outcome>,
}

/// What came of a call.
#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
pub(crate) enum Outcome {
    /// Not the answer yet: the share that is done, 0 to 1.
    #[prost(double, tag = "3")]
    Progress(f64),
    #[prost(message, tag = "4")]
    Failed(Failed),
    #[prost(message, tag = "5")]
    Done(Empty),
    #[prost(message, tag = "6")]
    Loaded(Loaded),
    #[prost(message, tag = "7")]
    Inspected(v1::Model),
    #[prost(message, tag = "8")]
    Started(Started),
    #[prost(message, tag = "9")]
    Stepped(Stepped),
    #[prost(message, tag = "10")]
    Previewed(Previewed),
    #[prost(message, tag = "11")]
    Finished(Finished),
    #[prost(bytes = "bytes", tag = "12")]
    Saved(Bytes),
    #[prost(message, tag = "13")]
    Stats(Stats),
    /// Whether it was the last piece.
    #[prost(bool, tag = "14")]
    Decoded(bool),
    #[prost(message, tag = "15")]
    Planned(Planned),
}

/// The kind alone: pictures are long, and saved generations and notices hold prompts.
impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Progress(_) => "Progress",
            Self::Failed(_) => "Failed",
            Self::Done(_) => "Done",
            Self::Loaded(_) => "Loaded",
            Self::Inspected(_) => "Inspected",
            Self::Started(_) => "Started",
            Self::Stepped(_) => "Stepped",
            Self::Previewed(_) => "Previewed",
            Self::Finished(_) => "Finished",
            Self::Saved(_) => "Saved",
            Self::Stats(_) => "Stats",
            Self::Decoded(_) => "Decoded",
            Self::Planned(_) => "Planned",
        })
    }
}

/// A failure, as [`imgd_proto::Failure`] has it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failed {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) field: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) hint: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) file: Option<String>,
}

impl From<imgd_proto::Failure> for Failed {
    fn from(failure: imgd_proto::Failure) -> Self {
        let imgd_proto::Failure {
            reason,
            message,
            field,
            hint,
            file,
            retry_after: _,
        } = failure;
        Self {
            reason: reason.as_str().to_owned(),
            message,
            field,
            hint,
            file,
        }
    }
}

impl From<Failed> for imgd_proto::Failure {
    fn from(failed: Failed) -> Self {
        let reason =
            imgd_proto::Reason::parse(&failed.reason).unwrap_or(imgd_proto::Reason::Internal);
        let Failed {
            message,
            field,
            hint,
            file,
            ..
        } = failed;
        Self {
            reason,
            message,
            field,
            hint,
            file,
            retry_after: None,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Loaded {
    /// SHA-256 over the weights, hex.
    #[prost(string, tag = "1")]
    pub(crate) model_hash: String,
    /// Memory by which the worker has grown.
    #[prost(uint64, tag = "2")]
    pub(crate) memory_bytes: u64,
    /// Threads it computes with.
    #[prost(uint32, tag = "3")]
    pub(crate) threads: u32,
    /// Variables in the worker's environment that no worker may see.
    #[prost(uint32, tag = "4")]
    pub(crate) foreign_variables: u32,
    /// Whether a crash of the worker leaves no core file.
    #[prost(bool, tag = "5")]
    pub(crate) core_dumps_are_off: bool,
    /// What the worker found when it tried what its sandbox forbids.
    #[prost(message, required, tag = "6")]
    pub(crate) sandbox: Report,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Started {
    #[prost(message, required, tag = "1")]
    pub(crate) settings: v1::Settings,
    #[prost(message, repeated, tag = "2")]
    pub(crate) notices: Vec<v1::Notice>,
    #[prost(uint32, tag = "3")]
    pub(crate) evaluation_count: u32,
    /// More than 0 after [`Verb::Restore`].
    #[prost(uint32, tag = "4")]
    pub(crate) evaluations_done: u32,
    /// Why a restored generation starts again at step 0, if it does.
    #[prost(string, optional, tag = "5")]
    pub(crate) restarted: Option<String>,
    /// Memory that is taken by what the model keeps beside its own weights.
    #[prost(uint64, tag = "6")]
    pub(crate) kept_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stepped {
    /// One for each generation, in the order asked.
    #[prost(message, repeated, tag = "1")]
    pub(crate) results: Vec<StepResult>,
}

/// Where a generation is after its evaluation, or why it failed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StepResult {
    #[prost(message, optional, tag = "1")]
    pub(crate) failed: Option<Failed>,
    #[prost(uint32, tag = "2")]
    pub(crate) evaluations_done: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) inference_step: u32,
    #[prost(double, tag = "4")]
    pub(crate) sigma: f64,
    #[prost(bool, tag = "5")]
    pub(crate) is_done: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Finished {
    /// The file.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) bytes: Bytes,
    #[prost(message, required, tag = "2")]
    pub(crate) metadata: v1::ImageMetadata,
    /// A small JPEG of it.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) thumbnail: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Previewed {
    #[prost(message, required, tag = "1")]
    pub(crate) preview: v1::Preview,
    /// Why a tiny autoencoder that is there did not make it; said once for each file.
    #[prost(message, optional, tag = "31")]
    pub(crate) notice: Option<Failed>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Planned {
    #[prost(message, required, tag = "1")]
    pub(crate) settings: v1::Settings,
    #[prost(uint32, tag = "2")]
    pub(crate) evaluation_count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Stats {
    #[prost(uint32, tag = "1")]
    pub(crate) models: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) generations: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) resident_bytes: u64,
    #[prost(uint32, tag = "4")]
    pub(crate) threads: u32,
}

/// A message with its length before it.
pub(crate) fn frame(message: &impl Message) -> io::Result<Vec<u8>> {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a message of {length} bytes is too long"),
        ));
    }
    let mut bytes = Vec::with_capacity(message.encoded_len() + 4);
    bytes.extend_from_slice(&length.to_le_bytes());
    message.encode_raw(&mut bytes);
    Ok(bytes)
}

/// Checks the length that a message claims.
pub(crate) fn checked_length(prefix: [u8; 4]) -> io::Result<u32> {
    match u32::from_le_bytes(prefix) {
        length if length <= MAX_MESSAGE_BYTES => Ok(length),
        length => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message claims {length} bytes"),
        )),
    }
}

/// Writes one message.
pub(crate) fn write_message(stream: &mut impl Write, message: &impl Message) -> io::Result<()> {
    stream.write_all(&frame(message)?)
}

/// Reads one message; `None` when the other end has closed between two. Memory grows with what really comes.
pub(crate) fn read_message<M: Message + Default>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let mut prefix = [0; 4];
    let first = loop {
        match stream.read(&mut prefix) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[first..])?;
    let length = checked_length(prefix)?;
    let mut bytes = Vec::new();
    if stream.take(length.into()).read_to_end(&mut bytes)? as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(M::decode(Bytes::from(bytes))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire_and_end_between_two() {
        let call = Call {
            id: 7,
            verb: Some(Verb::Step(Generations { ids: vec![1, 2] })),
        };
        let mut bytes = frame(&call).unwrap();
        write_message(&mut bytes, &call).unwrap();
        let mut stream = bytes.as_slice();
        assert_eq!(
            read_message::<Call>(&mut stream).unwrap(),
            Some(call.clone())
        );
        assert_eq!(read_message::<Call>(&mut stream).unwrap(), Some(call));
        assert_eq!(read_message::<Call>(&mut stream).unwrap(), None);
    }

    #[test]
    fn cut_and_hostile_messages_are_errors() {
        let call = Call {
            id: 7,
            verb: Some(Verb::Stats(Empty {})),
        };
        let whole = frame(&call).unwrap();
        for end in 1..whole.len() {
            read_message::<Call>(&mut &whole[..end]).unwrap_err();
        }
        read_message::<Call>(&mut [0xff; 8].as_slice()).unwrap_err();
        read_message::<Call>(&mut [2, 0, 0, 0, 0xff, 0xff].as_slice()).unwrap_err();
        // A length within the limit, and nothing behind it: no memory is taken.
        read_message::<Call>(&mut MAX_MESSAGE_BYTES.to_le_bytes().as_slice()).unwrap_err();
    }

    #[test]
    fn debug_output_holds_no_prompt() {
        let start = Start {
            prompt: "canary".into(),
            negative_prompt: Some("canary".into()),
            ..Start::default()
        };
        let restore = Restore {
            saved: Bytes::from_static(b"canary"),
            ..Restore::default()
        };
        for verb in [
            Verb::Start(start.clone()),
            Verb::Plan(start),
            Verb::Restore(restore),
        ] {
            let shown = format!(
                "{:?}",
                Call {
                    id: 1,
                    verb: Some(verb)
                }
            );
            assert!(
                !shown.contains("canary") && !shown.contains("99, 97"),
                "{shown}"
            );
        }
    }

    #[test]
    fn failures_survive_the_wire() {
        let failure = imgd_proto::Failure::invalid("sampler", "not known")
            .with_hint("h")
            .with_file("f");
        assert_eq!(
            imgd_proto::Failure::from(Failed::from(failure.clone())),
            failure
        );
    }
}
