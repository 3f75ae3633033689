//! Tasks spread over threads that wait for the next ones awake.
//!
//! A network is hundreds of short kernels in a row. Putting threads to sleep between two of them costs more than many
//! of the kernels do, so helpers spin for a moment before they sleep. One caller at a time has the helpers; a caller
//! that finds them taken does its tasks itself, which by the law of these kernels gives the same numbers.
//!
//! How many threads take part is what rayon's current pool has: the one setting that candle and the readers of
//! checkpoints have too.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a helper looks for work before it sleeps. Longer than any pause between two kernels of a network.
const AWAKE: Duration = Duration::from_micros(200);
/// Looks between two readings of the clock.
const LOOKS: u32 = 64;

/// Calls `task(0)` to `task(count - 1)`, each once, on the threads of the current pool. Returns when all are done.
///
/// Panics with the panic of a task, once all have ended.
pub(super) fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    let threads = rayon::current_num_threads().min(count);
    if threads > 1 {
        static HELPERS: OnceLock<Helpers> = OnceLock::new();
        let helpers = HELPERS.get_or_init(Helpers::default);
        match helpers.crew.try_lock() {
            Ok(mut crew) => return helpers.run(&mut crew, threads - 1, count, &task),
            // A panic reaches the caller after the work was over, so the helpers are as good as before.
            Err(TryLockError::Poisoned(poisoned)) => {
                return helpers.run(&mut poisoned.into_inner(), threads - 1, count, &task);
            }
            Err(TryLockError::WouldBlock) => {}
        }
    }
    (0..count).for_each(task);
    rest();
}

/// A thread that has done its tasks gives back what the next ones would have to save for it.
fn rest() {
    #[cfg(target_arch = "x86_64")]
    super::amx::rest();
}

/// What the helpers are to do.
#[derive(Clone, Copy)]
struct Work {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
    /// Helpers that may take part.
    helpers: usize,
}

/// The threads beside the caller's, and the one piece of work that they share.
struct Helpers {
    /// Handles of the helpers that exist. Whoever holds the lock may give them work.
    crew: Mutex<Vec<Thread>>,
    shared: &'static Shared,
}

struct Shared {
    /// Number of the newest work.
    newest: AtomicU64,
    /// Number of the work that may be begun; 0 when there is none.
    open: AtomicU64,
    /// Helpers that may be looking at `work`.
    inside: AtomicUsize,
    /// The next task to do.
    next: AtomicUsize,
    asleep: AtomicUsize,
    panicked: AtomicBool,
    work: UnsafeCell<Option<Work>>,
}

// SAFETY: `work` is written by the holder of the crew's lock while nothing is open and nobody is inside, and read by
// helpers that are inside and saw that it is open. What its pointer points to is `Sync`, and outlives the work: the
// caller waits until nobody is inside. All else is atomic.
unsafe impl Sync for Shared {}

impl Default for Helpers {
    fn default() -> Self {
        Self {
            crew: Mutex::default(),
            shared: Box::leak(Box::new(Shared {
                newest: AtomicU64::new(0),
                open: AtomicU64::new(0),
                inside: AtomicUsize::new(0),
                next: AtomicUsize::new(0),
                asleep: AtomicUsize::new(0),
                panicked: AtomicBool::new(false),
                work: UnsafeCell::new(None),
            })),
        }
    }
}

impl Helpers {
    fn run(
        &self,
        crew: &mut Vec<Thread>,
        helpers: usize,
        count: usize,
        task: &(dyn Fn(usize) + Sync),
    ) {
        while crew.len() < helpers {
            let (shared, index) = (self.shared, crew.len());
            let spawned = thread::Builder::new()
                .name(format!("kernels-{index}"))
                .spawn(move || shared.help(index));
            match spawned {
                Ok(handle) => crew.push(handle.thread().clone()),
                // A system that has no thread left: those that exist do the work.
                Err(_) => break,
            }
        }
        let shared = self.shared;
        // SAFETY: the lifetime is dropped from the type only. `close` below waits for every helper before this
        // function returns, also when the caller's own part panics.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(
                task,
            )
        };
        let work = Work {
            task,
            count,
            helpers,
        };
        shared.panicked.store(false, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        // SAFETY: the lock is held, nothing is open and nobody is inside: no one else looks at it.
        unsafe { *shared.work.get() = Some(work) };
        let number = shared.newest.load(Ordering::Relaxed) + 1;
        shared.open.store(number, Ordering::SeqCst);
        shared.newest.store(number, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            crew.iter().take(helpers).for_each(Thread::unpark);
        }
        let own = catch_unwind(AssertUnwindSafe(|| shared.take_part(work)));
        if own.is_err() {
            shared.next.store(count, Ordering::Relaxed);
        }
        shared.open.store(0, Ordering::SeqCst);
        let mut looks = 0u32;
        while shared.inside.load(Ordering::SeqCst) > 0 {
            std::hint::spin_loop();
            looks += 1;
            // Its processor may be somebody else's at the moment.
            if looks.is_multiple_of(1 << 12) {
                thread::yield_now();
            }
        }
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(
            !shared.panicked.load(Ordering::Relaxed),
            "a task of a kernel panicked; its message is above"
        );
    }
}

impl Shared {
    /// The life of a helper.
    fn help(&self, index: usize) {
        let mut seen = 0;
        loop {
            seen = self.wait(seen);
            self.inside.fetch_add(1, Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) == seen {
                // SAFETY: this helper is inside and the work is open: it is not changed before this helper is out.
                let work = unsafe { *self.work.get() };
                if let Some(work) = work.filter(|work| index < work.helpers)
                    && catch_unwind(AssertUnwindSafe(|| self.take_part(work))).is_err()
                {
                    self.panicked.store(true, Ordering::Relaxed);
                    self.next.store(work.count, Ordering::Relaxed);
                }
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits for work that is newer than number `seen`; its number.
    fn wait(&self, seen: u64) -> u64 {
        let begin = Instant::now();
        loop {
            for _ in 0..LOOKS {
                let newest = self.newest.load(Ordering::SeqCst);
                if newest != seen {
                    return newest;
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() > AWAKE {
                self.asleep.fetch_add(1, Ordering::SeqCst);
                // Between this look and the sleep an `unpark` is kept, so none is missed.
                while self.newest.load(Ordering::SeqCst) == seen {
                    thread::park();
                }
                self.asleep.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Does tasks until there is none left.
    fn take_part(&self, work: Work) {
        // SAFETY: see `run`: the task lives until nobody takes part any more.
        let task = unsafe { &*work.task };
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= work.count {
                return rest();
            }
            task(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    /// Every index once, from several callers at a time and with calls inside of tasks.
    #[test]
    fn every_task_is_done_once() {
        thread::scope(|scope| {
            for threads in [1, 2, 3, 2] {
                scope.spawn(move || {
                    pool(threads).install(|| {
                        for count in [0, 1, 2, 7, 100, 1000] {
                            let done: Vec<AtomicUsize> =
                                (0..count).map(|_| AtomicUsize::new(0)).collect();
                            let inner = AtomicUsize::new(0);
                            for_each(count, |index| {
                                done[index].fetch_add(1, Ordering::Relaxed);
                                for_each(2, |_| {
                                    inner.fetch_add(1, Ordering::Relaxed);
                                });
                            });
                            assert!(done.iter().all(|n| n.load(Ordering::Relaxed) == 1));
                            assert_eq!(inner.load(Ordering::Relaxed), 2 * count);
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn helpers_that_slept_come_back() {
        pool(2).install(|| {
            for _ in 0..3 {
                let done = AtomicUsize::new(0);
                for_each(50, |_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(done.load(Ordering::Relaxed), 50);
                thread::sleep(AWAKE * 5);
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_next_work_is_done() {
        for bad in [0, 37, 99] {
            let result = catch_unwind(|| {
                pool(2).install(|| for_each(100, |index| assert_ne!(index, bad)));
            });
            assert!(result.is_err());
            let done = AtomicUsize::new(0);
            pool(2).install(|| {
                for_each(100, |_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_eq!(done.load(Ordering::Relaxed), 100);
        }
    }
}
