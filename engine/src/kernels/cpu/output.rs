//! A result that several threads fill at once, each its own part.

use std::cell::RefCell;

use half::bf16;

use super::aligned::Aligned;

/// Numbers that several tasks write, each its own part.
pub(super) struct Parts<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: the pointer is only used by `part`, whose callers take disjoint parts.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Parts<T> {
    /// Of numbers that exist already.
    pub(super) fn new(numbers: &mut [T]) -> Self {
        Self {
            start: numbers.as_mut_ptr(),
            len: numbers.len(),
        }
    }

    /// The `len` numbers from `at` on. Panics when they are not there.
    ///
    /// # Safety
    /// No two parts that are in use at the same time may overlap, and what the parts belong to is still there.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "parts do not overlap")]
    pub(super) unsafe fn part(&self, at: usize, len: usize) -> &mut [T] {
        assert!(
            at.checked_add(len).is_some_and(|end| end <= self.len),
            "a kernel wrote beyond its output"
        );
        // SAFETY: the range is inside the allocation (asserted), and no one else uses it (this function's contract).
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

/// Makes a vector of `len` numbers that `tasks` fills. No zeroing before.
///
/// # Safety
/// `tasks` must write every number below `len` and read none that it has not written, and parts that are in use at
/// the same time must not overlap.
pub(super) unsafe fn fill<T: Copy>(len: usize, tasks: impl FnOnce(&Parts<T>)) -> Vec<T> {
    let mut room = Vec::with_capacity(len);
    tasks(&Parts {
        start: room.as_mut_ptr(),
        len,
    });
    // SAFETY: the capacity is at least `len`, and the caller promises that all of it is written.
    unsafe { room.set_len(len) };
    room
}

/// Working memory of one thread, kept between calls.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) input: Aligned<f32>,
    pub(super) input_bf16: Aligned<bf16>,
    /// Number of the convolution whose bands are in an input, and the first of them; none when it is something else.
    pub(super) input_is: Option<(u64, usize)>,
    pub(super) sums: Aligned<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends this thread's working memory to `task`, which must not start parallel work (it could be asked for twice).
pub(super) fn with_scratch<R>(task: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| task(scratch))
}
