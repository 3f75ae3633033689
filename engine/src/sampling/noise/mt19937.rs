//! MT19937, the Mersenne Twister of Matsumoto and Nishimura (1998), seeded as torch seeds it.

const STATE_WORDS: usize = 624;
const SHIFT_WORDS: usize = 397;

/// Bytes that [`Mt19937::save`] writes.
pub(super) const SAVED_BYTES: usize = 2 + STATE_WORDS * 4;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mt19937 {
    words: Box<[u32; STATE_WORDS]>,
    /// Words of the present block handed out; at [`STATE_WORDS`] the next draw makes a new block.
    used: usize,
}

impl Mt19937 {
    /// Seeds by Knuth's multiplier from the lower 32 bits of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut words = Box::new([0_u32; STATE_WORDS]);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "torch seeds with the lower 32 bits"
        )]
        let mut word = seed as u32;
        for (index, slot) in (0_u32..).zip(words.iter_mut()) {
            if index > 0 {
                word = 1_812_433_253_u32
                    .wrapping_mul(word ^ word >> 30)
                    .wrapping_add(index);
            }
            *slot = word;
        }
        Self {
            words,
            used: STATE_WORDS,
        }
    }

    pub(super) fn next_u32(&mut self) -> u32 {
        if self.used == STATE_WORDS {
            self.twist();
            self.used = 0;
        }
        let mut word = self.words[self.used];
        self.used += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    fn twist(&mut self) {
        for index in 0..STATE_WORDS {
            let next = self.words[(index + 1) % STATE_WORDS];
            let mixed = self.words[index] & 0x8000_0000 | next & 0x7fff_ffff;
            let matrix = if next & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[index] =
                self.words[(index + SHIFT_WORDS) % STATE_WORDS] ^ mixed >> 1 ^ matrix;
        }
    }

    pub(super) fn save(&self, bytes: &mut Vec<u8>) {
        let used = u16::try_from(self.used).expect("at most 624");
        bytes.extend(used.to_le_bytes());
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// The engine that [`Mt19937::save`] wrote, or nothing when `bytes` are no such state.
    pub(super) fn restore(bytes: &[u8]) -> Option<Self> {
        let (used, rest) = bytes.split_first_chunk::<2>()?;
        let used = usize::from(u16::from_le_bytes(*used));
        let (chunks, odd) = rest.as_chunks::<4>();
        if used > STATE_WORDS || chunks.len() != STATE_WORDS || !odd.is_empty() {
            return None;
        }
        let mut words = Box::new([0_u32; STATE_WORDS]);
        for (slot, chunk) in words.iter_mut().zip(chunks) {
            *slot = u32::from_le_bytes(*chunk);
        }
        Some(Self { words, used })
    }
}
