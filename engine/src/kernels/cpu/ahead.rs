//! Fetching what a product will need next, while it computes.

use super::panels::PANEL;

/// What comes after a part of a panel, fetched while that part is used.
pub(super) struct Ahead {
    next: *const f32,
    /// Cache lines to fetch at the beginning of each group of rows.
    at_once: usize,
    /// A cache line is fetched for each row of the panel whose number has none of these bits.
    mask: usize,
}

impl Ahead {
    /// Numbers of a cache line.
    const LINE: usize = 64 / size_of::<f32>();
    /// Cache lines that a core can wait for without waiting itself.
    const AT_ONCE: usize = 16;

    /// `len` numbers from `next` on, by `groups` groups of rows that use the part before them one after the other.
    pub(super) fn new(next: *const f32, len: usize, groups: usize) -> Self {
        let lines = (len / Self::LINE).div_ceil(groups);
        if lines <= Self::AT_ONCE {
            return Self {
                next,
                at_once: lines,
                mask: usize::MAX,
            };
        }
        // Rows for each of these lines, and the nearest power of two.
        let rows = (len / PANEL / lines).max(1);
        Self {
            next,
            at_once: 0,
            mask: (rows / 2 + 1).next_power_of_two() - 1,
        }
    }

    /// Nothing.
    pub(super) fn none() -> Self {
        Self {
            next: std::ptr::null(),
            at_once: 0,
            mask: usize::MAX,
        }
    }

    /// To be called for each group of rows.
    pub(super) fn begin(&mut self) {
        (0..self.at_once).for_each(|_| self.fetch());
    }

    /// To be called for row `k` of the panel.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn go_on(&mut self, k: usize) {
        if k & self.mask == 0 {
            self.fetch();
        }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: what is fetched ahead need not be there.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.next.cast()) };
        }
        self.next = self.next.wrapping_add(Self::LINE);
    }
}
