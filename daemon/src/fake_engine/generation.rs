//! A generation of the fake: numbers, and how they are saved.

use imgd_proto::v1;

use crate::{
    engine::{ModelKey, PictureRequest},
    failure::{Failure, Reason},
};

/// Pieces of a picture's decoding.
pub(super) const DECODER_STAGES: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) prompt: String,
    pub(super) seed: u64,
    /// Width, height, and whether it is guided.
    pub(super) group: (u32, u32, bool),
    pub(super) count: u32,
    pub(super) done: u32,
    pub(super) decoded: u32,
}

impl Generation {
    /// What a request makes; 64 x 64 pixels in three evaluations unless it says otherwise.
    pub(super) fn of(picture: &PictureRequest) -> Result<Self, Failure> {
        let prompt = picture.prompt.reveal().to_owned();
        if prompt.contains("wrong") {
            return Err(Failure::invalid("sampler", "there is no such sampler"));
        }
        Ok(Self {
            prompt,
            seed: picture.seed,
            group: (
                picture.width_px.unwrap_or(64),
                picture.height_px.unwrap_or(64),
                picture.guidance_scale.is_none_or(|scale| scale > 1.0),
            ),
            count: picture.num_inference_steps.unwrap_or(3),
            done: 0,
            decoded: 0,
        })
    }

    pub(super) fn settings(&self, model: &ModelKey) -> v1::Settings {
        let (width_px, height_px, is_guided) = self.group;
        v1::Settings {
            model: model.name.clone(),
            seed: self.seed,
            num_inference_steps: self.count,
            width_px,
            height_px,
            guidance_scale: if is_guided { 7.5 } else { 0.0 },
            is_guided,
            ..v1::Settings::default()
        }
    }

    /// The state as text. Decoding is no part of it.
    pub(super) fn save(&self) -> Vec<u8> {
        let (width_px, height_px, is_guided) = self.group;
        let Self {
            prompt,
            seed,
            count,
            done,
            ..
        } = self;
        format!("{seed} {count} {done} {width_px} {height_px} {is_guided} {prompt}").into_bytes()
    }

    pub(super) fn restore(bytes: &[u8]) -> Result<Self, Failure> {
        let damaged = || Failure::new(Reason::Internal, "the saved state is damaged");
        let read = || {
            let mut words = std::str::from_utf8(bytes).ok()?.splitn(7, ' ');
            let (seed, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let done = words.next()?.parse().ok()?;
            let (width, height) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let is_guided = words.next()?.parse().ok()?;
            Some(Self {
                prompt: words.next()?.to_owned(),
                seed,
                group: (width, height, is_guided),
                count,
                done,
                decoded: 0,
            })
        };
        read().ok_or_else(damaged)
    }

    /// Whether the prompt says that it happens at the evaluation that was made last: the word, `@` and its number.
    pub(super) fn says(&self, word: &str) -> bool {
        let marks = self.prompt.split(word).skip(1);
        marks
            .filter_map(|rest| {
                let rest = rest.strip_prefix('@')?;
                let end = rest.find(|letter: char| !letter.is_ascii_digit());
                rest[..end.unwrap_or(rest.len())].parse::<u32>().ok()
            })
            .any(|evaluation| evaluation == self.done)
    }
}
