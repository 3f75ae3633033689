//! Numbers that begin at a cache line, so that no vector or tile of them lies in two.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use half::bf16;

/// Bytes of a cache line.
const LINE: usize = 64;

/// What may be kept in [`Aligned`]: plain numbers of at most eight bytes, of which all zeros is one.
pub(super) trait Number: Copy + Send + Sync + 'static {}
impl Number for f32 {}
impl Number for bf16 {}

/// A vector of fixed length that begins at a cache line.
pub(super) struct Aligned<T> {
    /// Room for the numbers and for the way to the first cache line.
    room: Vec<u64>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Number> Aligned<T> {
    /// `len` zeros. Fresh memory of the system is not written.
    pub(super) fn zeroed(len: usize) -> Self {
        let words = (len * size_of::<T>()).div_ceil(8);
        Self {
            room: vec![0; words + LINE / 8],
            len,
            numbers: PhantomData,
        }
    }

    /// The first `len` numbers, for which more room is made when needed; their contents are whatever they were.
    pub(super) fn room(&mut self, len: usize) -> &mut [T] {
        if self.len < len {
            *self = Self::zeroed(len);
        }
        &mut self[..len]
    }

    fn start(&self) -> *const T {
        let start = self.room.as_ptr();
        start
            .wrapping_byte_add(start.addr().wrapping_neg() % LINE)
            .cast()
    }
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `zeroed` made room for `len` numbers after the first cache line, all bits of it are set, and every
        // pattern of bits is a number. The alignment of a cache line is enough for them.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let start = self.room.as_mut_ptr();
        let start = start.wrapping_byte_add(start.addr().wrapping_neg() % LINE);
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(start.cast(), self.len) }
    }
}

impl<T: Number> Default for Aligned<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl<T: Number> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_cache_line_and_are_kept() {
        for len in [0, 1, 7, 8, 33, 1000] {
            let mut numbers = Aligned::<f32>::zeroed(len);
            assert_eq!((numbers.as_ptr().addr() % LINE, numbers.len()), (0, len));
            assert!(numbers.iter().all(|x| *x == 0.0));
            numbers.fill(2.0);
            let copy = numbers.clone();
            assert_eq!(copy.as_ptr().addr() % LINE, 0);
            assert!(copy.iter().all(|x| *x == 2.0));
            let mut halves = Aligned::<bf16>::zeroed(len);
            halves.fill(bf16::ONE);
            assert_eq!(halves.as_ptr().addr() % LINE, 0);
            assert_eq!(halves.room(2 * len).len(), 2 * len);
        }
    }
}
