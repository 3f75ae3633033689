//! An allocator that keeps large blocks for the next kernel instead of giving them back to the system.
//!
//! A network asks for the same few sizes again and again. Fresh memory of the system costs a page fault and a zeroing
//! for each page, which in a feature map of a large picture takes longer than its convolution. So large blocks are cut
//! from one region of addresses, best fit first; what was given back is whole again with its neighbours, and its pages
//! stay until [`release`]. Blocks begin at a page, and where the system allows it they lie in huge ones: a step reads all
//! weights once, and would miss the translation of every small page of them.
//!
//! A program opts in:
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: PoolingAllocator = PoolingAllocator;
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// See the module. Small blocks are the system allocator's, and large ones too where there is no region.
#[derive(Debug, Clone, Copy)]
pub struct PoolingAllocator;

/// Blocks of at least this size are ours.
const SMALLEST: usize = 64 * 1024;
const PAGE: usize = 4096;
/// Addresses of the region. They cost nothing until they are used.
const REGION: usize = 1 << 37;
/// Gaps between blocks that can be remembered.
const GAPS: usize = 8192;

static POOL: Pool = Pool {
    start: AtomicUsize::new(UNKNOWN),
    locked: AtomicBool::new(false),
    ranges: UnsafeCell::new(Ranges {
        gaps: [Gap { start: 0, len: 0 }; GAPS],
        count: 0,
        used: 0,
    }),
};

/// The region is asked for when the first large block is.
const UNKNOWN: usize = 0;
/// The system has no region to give.
const NONE: usize = 1;

/// Gives the memory that no block uses back to the system: for when the next picture may be long in coming.
pub fn release() {
    let Some(start) = POOL.region() else { return };
    POOL.with(|ranges| {
        for gap in &ranges.gaps[..ranges.count] {
            give_back(start + gap.start, gap.len);
        }
    });
}

/// Unused addresses between blocks, relative to the region.
#[derive(Clone, Copy)]
struct Gap {
    start: usize,
    len: usize,
}

struct Ranges {
    /// In the order of their addresses, no two beside each other.
    gaps: [Gap; GAPS],
    count: usize,
    /// What lies after this was never used.
    used: usize,
}

impl Ranges {
    /// Where `len` bytes are, and how many of them may have been written before. None when the region is full.
    fn take(&mut self, len: usize) -> Option<(usize, usize)> {
        let fitting = (0..self.count).filter(|index| self.gaps[*index].len >= len);
        if let Some(index) = fitting.min_by_key(|index| self.gaps[*index].len) {
            let gap = &mut self.gaps[index];
            let start = gap.start;
            gap.start += len;
            gap.len -= len;
            if gap.len == 0 {
                self.gaps.copy_within(index + 1..self.count, index);
                self.count -= 1;
            }
            return Some((start, len));
        }
        // A gap at the end grows.
        let last = self.count.checked_sub(1).map(|index| self.gaps[index]);
        let start = match last {
            Some(last) if last.start + last.len == self.used => last.start,
            _ => self.used,
        };
        let end = start.checked_add(len).filter(|end| *end <= REGION)?;
        if start < self.used {
            self.count -= 1;
        }
        let dirty = self.used - start;
        self.used = end;
        Some((start, dirty))
    }

    /// Takes a block back.
    fn give(&mut self, start: usize, len: usize) {
        let index = self.gaps[..self.count].partition_point(|gap| gap.start < start);
        let next = self.gaps[..self.count].get(index).copied();
        let joins_next = next.is_some_and(|next| start + len == next.start);
        let next_len = next.map_or(0, |next| next.len);
        let before = index.checked_sub(1).map(|before| &mut self.gaps[before]);
        match before {
            Some(before) if before.start + before.len == start => {
                before.len += len;
                if joins_next {
                    before.len += next_len;
                    self.gaps.copy_within(index + 1..self.count, index);
                    self.count -= 1;
                }
            }
            _ if joins_next => {
                self.gaps[index].start = start;
                self.gaps[index].len += len;
            }
            // With more gaps than can be remembered, this one is not used again.
            _ if self.count == GAPS => {}
            _ => {
                self.gaps.copy_within(index..self.count, index + 1);
                self.gaps[index] = Gap { start, len };
                self.count += 1;
            }
        }
    }
}

struct Pool {
    /// First address of the region, or [`UNKNOWN`] or [`NONE`].
    start: AtomicUsize,
    locked: AtomicBool,
    ranges: UnsafeCell<Ranges>,
}

// SAFETY: `ranges` is touched by `with` alone, one thread at a time.
unsafe impl Sync for Pool {}

impl Pool {
    /// Runs `with` alone. It must not allocate.
    fn with<R>(&self, with: impl FnOnce(&mut Ranges) -> R) -> R {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::hint::spin_loop();
        }
        // SAFETY: the lock is held, and `with` cannot keep the reference.
        let result = with(unsafe { &mut *self.ranges.get() });
        self.locked.store(false, Ordering::Release);
        result
    }

    /// First address of the region, if there is one.
    fn region(&self) -> Option<usize> {
        Some(self.start.load(Ordering::Acquire)).filter(|start| *start > NONE)
    }

    /// The same, and asks the system for it the first time.
    fn region_or_new(&self) -> Option<usize> {
        if self.start.load(Ordering::Acquire) == UNKNOWN {
            self.with(|_| {
                if self.start.load(Ordering::Acquire) == UNKNOWN {
                    self.start
                        .store(reserve().unwrap_or(NONE), Ordering::Release);
                }
            });
        }
        self.region()
    }

    /// A block of the region for `layout`, and how many of its bytes may not be zero; none when it is not ours to give.
    fn take(&self, layout: Layout) -> Option<(*mut u8, usize)> {
        let len = length(layout)?;
        let start = self.region_or_new()?;
        let (at, dirty) = self.with(|ranges| ranges.take(len))?;
        Some((ptr::with_exposed_provenance_mut(start + at), dirty))
    }

    /// Where in the region `block` is, if it is of it.
    fn place(&self, block: *mut u8) -> Option<usize> {
        let at = block.addr().checked_sub(self.region()?)?;
        (at < REGION).then_some(at)
    }
}

/// Bytes that a block of the region for `layout` takes, if it is large enough.
fn length(layout: Layout) -> Option<usize> {
    if layout.size() < SMALLEST || layout.size() > REGION || layout.align() > PAGE {
        return None;
    }
    Some(layout.size().next_multiple_of(PAGE))
}

// SAFETY: a block of the region is as long as its layout rounded up to pages, which is the same when it is taken and
// given, begins at a page, and is in nobody else's hands between the two. Everything else goes to the system allocator
// and comes from it; which one a block is of, its address says.
unsafe impl GlobalAlloc for PoolingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match POOL.take(layout) {
            Some((block, _)) => block,
            // SAFETY: handed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match POOL.take(layout) {
            Some((block, dirty)) => {
                // SAFETY: the block is as long as the layout asks for.
                unsafe { block.write_bytes(0, dirty.min(layout.size())) };
                block
            }
            // SAFETY: handed on.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match POOL.place(block).zip(length(layout)) {
            Some((at, len)) => POOL.with(|ranges| ranges.give(at, len)),
            // SAFETY: handed on.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        let is_ours = POOL.place(block).is_some();
        if is_ours && length(layout) == length(new) {
            return block;
        }
        if !is_ours && length(new).is_none() {
            // SAFETY: handed on.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: both blocks are as long as what is copied, and `block` is the caller's to give up.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// Addresses for the region; none where the system has none to give.
#[cfg(target_os = "linux")]
fn reserve() -> Option<usize> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
    // SAFETY: a new mapping where the system likes it changes nothing that exists.
    let mapped = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            REGION,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let start = mapped.ok()?;
    // SAFETY: advice changes how pages are made, not what is in them. A system without huge pages ignores it.
    let _advised = unsafe { madvise(start, REGION, Advice::LinuxHugepage) };
    Some(start.expose_provenance())
}

#[cfg(not(target_os = "linux"))]
fn reserve() -> Option<usize> {
    None
}

/// Gives pages of a gap back to the system; they are zeros when they are used again.
#[cfg(target_os = "linux")]
fn give_back(start: usize, len: usize) {
    use rustix::mm::{Advice, madvise};
    let start = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the pages are of the region, and of no block. It can only fail for addresses that are none.
    let _given = unsafe { madvise(start, len, Advice::LinuxDontNeed) };
}

#[cfg(not(target_os = "linux"))]
fn give_back(_start: usize, _len: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_joined_and_the_best_is_taken() {
        let mut ranges = Box::new(Ranges {
            gaps: [Gap { start: 0, len: 0 }; GAPS],
            count: 0,
            used: 0,
        });
        let blocks: Vec<usize> = [10, 20, 30, 40, 50]
            .iter()
            .map(|len| ranges.take(*len).unwrap().0)
            .collect();
        assert_eq!(blocks, [0, 10, 30, 60, 100]);
        ranges.give(10, 20);
        ranges.give(60, 40);
        assert_eq!(
            ranges.take(15),
            Some((10, 15)),
            "the smaller gap that is large enough"
        );
        ranges.give(10, 15);
        ranges.give(30, 30);
        assert_eq!(
            (ranges.count, ranges.gaps[0].len),
            (1, 90),
            "three gaps are one"
        );
        ranges.give(100, 50);
        ranges.give(0, 10);
        assert_eq!((ranges.count, ranges.gaps[0].len), (1, 150));
        assert_eq!(ranges.take(200), Some((0, 150)), "the last gap grows");
        assert_eq!((ranges.count, ranges.used), (0, 200));
        assert_eq!(ranges.take(REGION), None);
    }

    #[test]
    fn more_gaps_than_can_be_remembered_are_survived() {
        let mut ranges = Box::new(Ranges {
            gaps: [Gap { start: 0, len: 0 }; GAPS],
            count: 0,
            used: 0,
        });
        for _ in 0..2 * GAPS + 10 {
            ranges.take(1).unwrap();
        }
        (0..GAPS + 5).for_each(|i| ranges.give(2 * i, 1));
        assert_eq!(ranges.count, GAPS);
        (0..GAPS).for_each(|i| ranges.give(2 * i + 1, 1));
        assert_eq!((ranges.count, ranges.gaps[0].len), (1, 2 * GAPS));
    }

    /// Blocks of every size, written whole, in several threads; zeroed ones are zero even after others had them.
    #[test]
    fn blocks_are_whole_and_ones_own() {
        std::thread::scope(|scope| {
            for thread in 1..=3_u8 {
                scope.spawn(move || {
                    let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
                    for round in 0..60_usize {
                        let size = SMALLEST - 1000 + round * 131_071 * usize::from(thread);
                        let layout = Layout::from_size_align(size, 64).unwrap();
                        let mark = thread * 60 + u8::try_from(round).unwrap();
                        // SAFETY: the layout is not empty; blocks are used within it and given back once.
                        unsafe {
                            let block = if round.is_multiple_of(2) {
                                PoolingAllocator.alloc(layout)
                            } else {
                                let block = PoolingAllocator.alloc_zeroed(layout);
                                let bytes = std::slice::from_raw_parts(block, size);
                                assert!(bytes.iter().all(|byte| *byte == 0));
                                block
                            };
                            assert!(block.addr().is_multiple_of(64));
                            block.write_bytes(mark, size);
                            held.push((block, layout, mark));
                            if round.is_multiple_of(3) {
                                let (block, layout, mark) = held.remove(0);
                                let grown = PoolingAllocator.realloc(block, layout, 2 * size);
                                let old = layout.size().min(2 * size);
                                let bytes = std::slice::from_raw_parts(grown, old);
                                assert!(bytes.iter().all(|byte| *byte == mark));
                                let layout = Layout::from_size_align(2 * size, 64).unwrap();
                                PoolingAllocator.dealloc(grown, layout);
                                release();
                            }
                        }
                    }
                    for (block, layout, mark) in held {
                        // SAFETY: as above.
                        unsafe {
                            let bytes = std::slice::from_raw_parts(block, layout.size());
                            assert!(bytes.iter().all(|byte| *byte == mark));
                            PoolingAllocator.dealloc(block, layout);
                        }
                    }
                });
            }
        });
    }
}
