//! Noise: named generators of standard normal numbers.
//!
//! A seed names a picture only together with the generator that turns it into noise, so the generator's name is part
//! of a request. There is one today, `torch`: bit for bit what `torch.randn(n, generator=g)` draws in `float32` on the
//! CPU from `g = torch.Generator("cpu").manual_seed(seed)`, on every machine.

mod box_muller;
mod mt19937;
mod variation;

use crate::{Error, ErrorKind, Result};
use mt19937::Mt19937;
pub(crate) use variation::variation;

/// The names that [`Generator::new`] knows.
pub const KINDS: &[&str] = &["torch"];

/// From this many values on, torch transforms whole groups in single precision.
const GROUP: usize = 16;

/// A stream of standard normal numbers; its whole state can be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    engine: Mt19937,
    /// The sine half of the last pair drawn by the scalar path, not handed out yet.
    next_normal: Option<f64>,
}

impl Generator {
    /// A generator by name, at the start of the stream of `seed`.
    ///
    /// `torch` uses the lower 32 bits of the seed only, as torch does.
    /// Fails when `kind` is not one of [`KINDS`].
    pub fn new(kind: &str, seed: u64) -> Result<Self> {
        if !KINDS.contains(&kind) {
            return Err(Error::invalid(
                "noise_generator",
                format!("noise generator `{kind}` is not known"),
            )
            .with_hint(format!("known generators: {}", KINDS.join(", "))));
        }
        Ok(Self {
            engine: Mt19937::new(seed),
            next_normal: None,
        })
    }

    /// The name to ask [`Generator::new`] for.
    pub fn kind(&self) -> &'static str {
        "torch"
    }

    /// The next `n` standard normal numbers.
    ///
    /// How many numbers are asked for at once decides how they are drawn: below 16 one pair after the other in double
    /// precision; from 16 on in groups of 16 in single precision, where a length that is no multiple of 16 draws 16
    /// more numbers and overwrites the last 16 values with them.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < GROUP {
            return (0..n).map(|_| self.scalar_normal()).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.uniform_f32()).collect();
        for group in values.chunks_exact_mut(GROUP) {
            box_muller::transform_16(group);
        }
        if !n.is_multiple_of(GROUP) {
            let tail = &mut values[n - GROUP..];
            tail.fill_with(|| self.uniform_f32());
            box_muller::transform_16(tail);
        }
        values
    }

    /// The whole state, 2.5 KB; [`Generator::restore`] goes on where it was.
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SAVED_BYTES);
        bytes.push(SAVED_VERSION);
        bytes.push(u8::from(self.next_normal.is_some()));
        bytes.extend(self.next_normal.unwrap_or(0.0).to_bits().to_le_bytes());
        self.engine.save(&mut bytes);
        bytes
    }

    /// The generator that [`Generator::save`] was called on. Fails when `bytes` are not a saved state.
    pub fn restore(kind: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = || {
            Error::new(
                ErrorKind::Internal,
                "the saved state of the noise generator is damaged",
            )
        };
        Self::new(kind, 0)?;
        if bytes.len() != SAVED_BYTES || bytes[0] != SAVED_VERSION || bytes[1] > 1 {
            return Err(damaged());
        }
        let (head, engine) = bytes.split_at(10);
        let cached = f64::from_bits(u64::from_le_bytes(
            head[2..].try_into().map_err(|_short| damaged())?,
        ));
        let engine = Mt19937::restore(engine).ok_or_else(damaged)?;
        Ok(Self {
            engine,
            next_normal: (head[1] == 1).then_some(cached),
        })
    }

    /// Uniform in `[0, 1)` with 24 bits.
    fn uniform_f32(&mut self) -> f32 {
        let value = (self.engine.next_u32() & 0x00ff_ffff) as f32;
        value / 16_777_216.0
    }

    /// Uniform in `[0, 1)` with 53 bits; two draws, the first gives the high bits.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        let value = ((high << 32 | low) & ((1 << 53) - 1)) as f64;
        value / 9_007_199_254_740_992.0
    }

    /// Box-Muller in double precision; every second number comes from the pair before.
    fn scalar_normal(&mut self) -> f32 {
        let normal = self.next_normal.take().unwrap_or_else(|| {
            let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
            let radius = (-2.0 * (-u2).ln_1p()).sqrt();
            let theta = 2.0 * std::f64::consts::PI * u1;
            self.next_normal = Some(radius * theta.sin());
            radius * theta.cos()
        });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the result is single precision"
        )]
        let normal = normal as f32;
        normal
    }
}

const SAVED_VERSION: u8 = 1;
const SAVED_BYTES: usize = 10 + mt19937::SAVED_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    /// `[seed, [lengths drawn one after the other], [bits of the first values and of the last 40 of each draw]]`.
    #[derive(serde::Deserialize)]
    struct Case {
        seed: u64,
        draws: Vec<Draw>,
    }

    #[derive(serde::Deserialize)]
    struct Draw {
        n: usize,
        /// Bits of the values; of long draws the first 24 and the last 40.
        head: Vec<u32>,
        tail: Vec<u32>,
        /// Sum of all bits, wrapping: no value of a long draw is left out.
        checksum: u32,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(include_str!("golden/noise.json")).unwrap()
    }

    fn assert_draw(draw: &Draw, values: &[f32], seed: u64) {
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(
            bits[..draw.head.len()],
            draw.head,
            "seed {seed}, n {}",
            draw.n
        );
        assert_eq!(
            bits[bits.len() - draw.tail.len()..],
            draw.tail,
            "seed {seed}, n {}",
            draw.n
        );
        assert_eq!(
            bits.iter().fold(0_u32, |sum, bit| sum.wrapping_add(*bit)),
            draw.checksum,
            "seed {seed}, n {}",
            draw.n
        );
    }

    #[test]
    fn every_bit_is_what_torch_draws() {
        for case in cases() {
            let mut generator = Generator::new("torch", case.seed).unwrap();
            for draw in &case.draws {
                let values = generator.randn(draw.n);
                assert_eq!(values.len(), draw.n);
                assert_draw(draw, &values, case.seed);
            }
        }
    }

    #[test]
    fn saved_and_restored_between_draws_equals_straight_through() {
        for case in cases() {
            let mut generator = Generator::new("torch", case.seed).unwrap();
            for draw in &case.draws {
                generator = Generator::restore("torch", &generator.save()).unwrap();
                assert_draw(draw, &generator.randn(draw.n), case.seed);
            }
        }
    }

    #[test]
    fn only_the_lower_32_bits_of_a_seed_count() {
        let mut low = Generator::new("torch", 42).unwrap();
        let mut high = Generator::new("torch", 42 | 7 << 32).unwrap();
        assert_eq!(low.randn(100), high.randn(100));
    }

    #[test]
    fn damaged_states_are_refused() {
        let saved = Generator::new("torch", 1).unwrap().save();
        assert!(Generator::restore("torch", &saved[1..]).is_err());
        assert!(Generator::restore("torch", &[]).is_err());
        assert!(Generator::restore("philox", &saved).is_err());
        let mut beyond = saved.clone();
        beyond[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(Generator::restore("torch", &beyond).is_err());
        let mut version = saved;
        version[0] = 9;
        assert!(Generator::restore("torch", &version).is_err());
    }

    #[test]
    fn an_unknown_generator_is_refused_by_name() {
        let error = Generator::new("philox", 1).unwrap_err();
        assert_eq!(error.to_string(), "noise generator `philox` is not known");
        assert_eq!(error.field(), Some("noise_generator"));
    }
}
