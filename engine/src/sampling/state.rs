//! The saved state of a sampler: plain numbers, exact to the bit, in serde's formats or in bytes of our own.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"imgd-sm\x01";

/// What a sampler remembers between two evaluations. Numbers are kept as bits, so that no format rounds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplerState {
    sampler: String,
    fingerprint: u64,
    evaluations_done: u32,
    denoised: Option<Vec<u32>>,
    history: Vec<Vec<u32>>,
}

impl SamplerState {
    pub(super) fn new(
        sampler: &str,
        fingerprint: u64,
        done: usize,
        denoised: Option<&[f32]>,
        history: &[&[f32]],
    ) -> Self {
        let bits = |tensor: &[f32]| tensor.iter().map(|x| x.to_bits()).collect();
        Self {
            sampler: sampler.to_owned(),
            fingerprint,
            evaluations_done: u32::try_from(done).expect("a plan has a few thousand evaluations"),
            denoised: denoised.map(bits),
            history: history.iter().map(|tensor| bits(tensor)).collect(),
        }
    }

    /// The sampler that was saved.
    pub fn sampler(&self) -> &str {
        &self.sampler
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Network evaluations made when it was saved.
    pub fn evaluations_done(&self) -> usize {
        self.evaluations_done as usize
    }

    /// The picture of the last evaluation, and the history.
    pub(super) fn into_tensors(self) -> (Option<Vec<f32>>, Vec<Vec<f32>>) {
        let floats = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect();
        (
            self.denoised.map(floats),
            self.history.into_iter().map(floats).collect(),
        )
    }

    /// The state as bytes, the same for equal states.
    ///
    /// Little-endian: a magic of 8 bytes, fingerprint (8), evaluations done (4), length of the name (1), name, whether
    /// there is a picture (1), tensors (4); then each tensor, the picture first: length (4), values (4 each).
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = |length: usize| {
            u32::try_from(length)
                .expect("latents are far below 2^32")
                .to_le_bytes()
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.fingerprint.to_le_bytes());
        bytes.extend(self.evaluations_done.to_le_bytes());
        bytes.push(u8::try_from(self.sampler.len()).expect("names of samplers are short"));
        bytes.extend(self.sampler.as_bytes());
        bytes.push(u8::from(self.denoised.is_some()));
        bytes.extend(length(self.history.len()));
        for tensor in self.denoised.iter().chain(&self.history) {
            bytes.extend(length(tensor.len()));
            bytes.extend(tensor.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// The state that [`to_bytes`](Self::to_bytes) wrote. Fails when `bytes` are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || {
            Error::new(
                ErrorKind::Internal,
                "the saved state of the sampler is damaged",
            )
        };
        Self::read(&mut Reader(bytes)).ok_or_else(damaged)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let fingerprint = u64::from_le_bytes(reader.take(8)?.try_into().ok()?);
        let evaluations_done = reader.number()?;
        let name_len = usize::from(reader.take(1)?[0]);
        let sampler = std::str::from_utf8(reader.take(name_len)?).ok()?.to_owned();
        let has_picture = match reader.take(1)?[0] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let tensors = reader.number()?;
        let denoised = if has_picture {
            Some(reader.tensor()?)
        } else {
            None
        };
        let history = (0..tensors)
            .map(|_| reader.tensor())
            .collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Self {
            sampler,
            fingerprint,
            evaluations_done,
            denoised,
            history,
        })
    }
}

/// The bytes not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn tensor(&mut self) -> Option<Vec<u32>> {
        let length = usize::try_from(self.number()?).ok()?;
        let (values, _) = self.take(length.checked_mul(4)?)?.as_chunks::<4>();
        Some(
            values
                .iter()
                .map(|value| u32::from_le_bytes(*value))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> SamplerState {
        SamplerState::new(
            "heun",
            u64::MAX - 3,
            7,
            Some(&[1.5, f32::NAN, -0.0]),
            &[&[1e-40, 2.0, 3.0], &[0.1, 0.2, 0.3]],
        )
    }

    #[test]
    fn bytes_and_json_give_the_same_state() {
        let bytes = state().to_bytes();
        assert_eq!(SamplerState::from_bytes(&bytes).unwrap(), state());
        assert_eq!(SamplerState::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        let json = serde_json::to_string(&state()).unwrap();
        assert_eq!(
            serde_json::from_str::<SamplerState>(&json).unwrap(),
            state()
        );
    }

    #[test]
    fn every_cut_and_any_extra_byte_is_refused() {
        let mut bytes = state().to_bytes();
        for length in 0..bytes.len() {
            assert!(
                SamplerState::from_bytes(&bytes[..length]).is_err(),
                "{length}"
            );
        }
        bytes.push(0);
        assert!(SamplerState::from_bytes(&bytes).is_err());
    }
}
