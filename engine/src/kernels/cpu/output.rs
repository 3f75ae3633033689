//! A result that several threads fill at once, each its own part.

use std::cell::RefCell;

/// Room for a result while it is being written. Every number is written exactly once, by one task.
pub(super) struct Output {
    start: *mut f32,
    len: usize,
}

// SAFETY: the pointer is only used by `write`, whose callers write disjoint ranges (the contract of `fill`).
unsafe impl Sync for Output {}

impl Output {
    /// Makes a vector of `len` numbers that `tasks` fills. No zeroing before.
    ///
    /// # Safety
    /// `tasks` must write every index below `len`, and no two threads may write the same index at the same time.
    pub(super) unsafe fn fill(len: usize, tasks: impl FnOnce(&Self)) -> Vec<f32> {
        let mut room = Vec::with_capacity(len);
        tasks(&Self {
            start: room.as_mut_ptr(),
            len,
        });
        // SAFETY: the capacity is at least `len`, and the caller promises that all of it is written.
        unsafe { room.set_len(len) };
        room
    }

    /// Copies `values` to the indices from `at` on.
    #[inline]
    pub(super) fn write(&self, at: usize, values: &[f32]) {
        assert!(
            at.checked_add(values.len())
                .is_some_and(|end| end <= self.len),
            "a kernel wrote beyond its output"
        );
        // SAFETY: the range is inside the allocation (asserted), and no one else writes it (contract of `fill`).
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(at), values.len()) };
    }
}

/// Working memory of one thread, kept between calls.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) input: Vec<f32>,
    pub(super) sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends this thread's working memory to `task`, which must not start parallel work (it could be asked for twice).
pub(super) fn with_scratch<R>(task: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(task)
}

/// The first `len` numbers of `buffer`, which grows when needed; their contents are whatever they were.
pub(super) fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
