//! How a convolution is cut: bands of image rows for the tasks, and some lines at a time for the kernels.
//!
//! Nothing in a result depends on it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::operand::Operand;
use super::output::with_scratch;
use super::panels::PANEL;
use super::parallel;
use super::tile::Rows;

/// Some rows of the result of one element.
#[derive(Debug, Clone)]
pub(super) struct Band {
    pub(super) element: usize,
    pub(super) rows: Range<usize>,
}

/// Numbers calls, so that a thread knows what is in its working memory.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The tasks of a convolution: in each, some bands times some panels.
pub(super) struct Bands {
    elements: usize,
    height: usize,
    rows_per_band: usize,
    bands_per_task: usize,
    panels: usize,
    panels_per_task: usize,
    /// Rows of input that a band has more than rows of result.
    halo: usize,
    /// Bytes of a row of input.
    row_bytes: usize,
}

impl Bands {
    /// Bytes of a band's input: they stay in the second-level cache while the panels pass by.
    const BAND: usize = 512 * 1024;
    /// Input that stays in the second-level cache beside a panel.
    const CACHED: usize = 1536 * 1024;
    /// Tasks that each thread should get, so that all end at about the same time.
    const TASKS: usize = 3;

    pub(super) fn new(
        elements: usize,
        height: usize,
        halo: usize,
        row_bytes: usize,
        panels: usize,
        panel_bytes: usize,
    ) -> Self {
        let threads = rayon::current_num_threads();
        let wanted = if threads == 1 {
            1
        } else {
            Self::TASKS * threads
        };
        let fitting = (Self::BAND / row_bytes.max(1)).max(halo + 2) - halo;
        let in_element = height.div_ceil(fitting);
        // As many bands as keep all threads busy to the end.
        let bands = (elements * in_element).next_multiple_of(wanted);
        // Either every task takes the whole batch and a share of the panels, so that each weight is read once; or it
        // takes one band and all panels. What costs is what must come from beyond the second-level cache.
        let whole = elements * (height + halo) * row_bytes;
        let again = if whole > Self::CACHED {
            panels * whole
        } else {
            0
        };
        let weights = panels * panel_bytes;
        let (rows_per_band, bands_per_task, panel_tasks) =
            if panels >= wanted && weights + again <= bands * weights {
                (height.max(1), elements.max(1), wanted)
            } else {
                let rows = height.div_ceil(bands.div_ceil(elements.max(1)).max(1));
                (rows.clamp(1, fitting), 1, 1)
            };
        Self {
            elements,
            height,
            rows_per_band,
            bands_per_task,
            panels,
            panels_per_task: panels.div_ceil(panel_tasks).max(1),
            halo,
            row_bytes,
        }
    }

    /// Fills the input of every band by `copy(band, room)`, then calls `task(band, input, panels, sums)` for it.
    pub(super) fn for_each<T: Operand>(
        &self,
        copy: impl Fn(&Band, &mut [T]) + Sync,
        task: impl Fn(&Band, &[T], Range<usize>, &mut [f32]) + Sync,
    ) {
        let in_element = self.height.div_ceil(self.rows_per_band);
        let bands = self.elements * in_element;
        let band = |index: usize| {
            let from = index % in_element * self.rows_per_band;
            Band {
                element: index / in_element,
                rows: from..self.height.min(from + self.rows_per_band),
            }
        };
        let panel_tasks = self.panels.div_ceil(self.panels_per_task);
        let band_tasks = bands.div_ceil(self.bands_per_task);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let room_of_band = (self.rows_per_band + self.halo) * self.row_bytes / size_of::<T>();
        parallel::for_each(band_tasks * panel_tasks, |index| {
            let first = index / panel_tasks * self.bands_per_task;
            let bands = first..bands.min(first + self.bands_per_task);
            let from = index % panel_tasks * self.panels_per_task;
            let panels = from..self.panels.min(from + self.panels_per_task);
            with_scratch(|scratch| {
                // The task before may have been one of other panels and these bands.
                let is_there = scratch.input_is == Some((call, first));
                scratch.input_is = Some((call, first));
                let (input, sums) = T::scratch(scratch);
                let input = input.room(bands.len() * room_of_band);
                let sums = sums.room(Lines::SUMS);
                if !is_there {
                    for (index, room) in bands.clone().zip(input.chunks_exact_mut(room_of_band)) {
                        copy(&band(index), room);
                    }
                }
                if bands.len() == 1 {
                    return task(&band(first), input, panels, sums);
                }
                // One panel at a time for all bands: it comes from memory once.
                for p in panels {
                    for (index, room) in bands.clone().zip(input.chunks_exact(room_of_band)) {
                        task(&band(index), room, p..p + 1, sums);
                    }
                }
            });
        });
    }
}

/// How a band's pixels lie in its input, and which of them make a pixel of the result.
pub(super) struct Lines<'a> {
    /// Pixels of a line that are wanted.
    pub(super) width: usize,
    /// Pixels from one line to the next.
    pub(super) pitch: usize,
    pub(super) taps: &'a [usize],
    /// Numbers of a pixel.
    pub(super) depth: usize,
}

/// Pixels whose sums were made at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first_line: usize,
    pub(super) lines: usize,
    /// First pixel of each line.
    pub(super) from: usize,
    /// Pixels of each line.
    pub(super) line: usize,
    /// Rows of sums from one line to the next.
    pub(super) sums_pitch: usize,
}

impl Lines<'_> {
    /// Rows whose sums are made at once, about: they stay in the first-level cache until they are written.
    const ROWS: usize = 256;
    /// Pixels of a line up to which there are so few that most of a convolution's time is its weights'.
    pub(super) const FEW: usize = 16;
    /// Numbers of sums that a part may have.
    const SUMS: usize = 2 * Self::ROWS * PANEL;

    /// The sums of `lines` lines and one panel, a part at a time.
    pub(super) fn multiply<T: Operand>(
        &self,
        numbers: &[T],
        lines: usize,
        panel: &[T],
        columns: usize,
        sums: &mut [f32],
        mut with: impl FnMut(&mut [f32], Part),
    ) {
        self.parts::<T>(lines, |part| {
            let at = (part.first_line * self.pitch + part.from) * self.depth;
            // Lines with a break between them, or all pixels between the first and the last wanted one.
            let count = (part.lines - 1) * part.sums_pitch + part.line;
            let line = if part.sums_pitch == part.line {
                part.line
            } else {
                count
            };
            let rows = Rows {
                numbers: &numbers[at..],
                stride: self.depth,
                count,
                line,
                line_stride: self.pitch * self.depth,
                taps: self.taps,
                depth: self.depth,
                adds: false,
                fetches: self.width <= Self::FEW && part.first_line == 0,
            };
            let sums = &mut sums[..count * PANEL];
            T::multiply(rows, panel, 1, sums, PANEL, columns);
            with(sums, part);
        });
    }

    fn parts<T: Operand>(&self, lines: usize, mut with: impl FnMut(Part)) {
        let Self { width, pitch, .. } = *self;
        if width >= Self::ROWS {
            for first_line in 0..lines {
                for from in (0..width).step_by(Self::ROWS) {
                    let line = Self::ROWS.min(width - from);
                    with(Part {
                        first_line,
                        lines: 1,
                        from,
                        line,
                        sums_pitch: line,
                    });
                }
            }
            return;
        }
        let breaks = pitch == width || T::wants_lines(width);
        let sums_pitch = if breaks { width } else { pitch };
        let at_once = (Self::ROWS / sums_pitch.max(1)).max(1);
        for first_line in (0..lines).step_by(at_once) {
            with(Part {
                first_line,
                lines: at_once.min(lines - first_line),
                from: 0,
                line: width,
                sums_pitch,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn bands_and_panels_cover_the_result_once() {
        for (elements, height, row_bytes, panels) in [
            (1, 1, 64, 1),
            (2, 8, 25_600, 40),
            (1, 64, 42_240, 10),
            (3, 511, 131_072, 4),
            (0, 5, 10, 1),
        ] {
            let seen: Vec<AtomicU32> = (0..elements * height * panels).map(|_| 0.into()).collect();
            Bands::new(elements, height, 2, row_bytes, panels, 1 << 18).for_each::<f32>(
                |_, _| {},
                |band, room, of_panels, _| {
                    assert!(room.len() * 4 >= (band.rows.len() + 2) * row_bytes);
                    for y in band.rows.clone() {
                        for p in of_panels.clone() {
                            let at = (band.element * height + y) * panels + p;
                            seen[at].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                },
            );
            assert!(seen.into_iter().all(|n| n.into_inner() == 1));
        }
    }

    #[test]
    fn parts_cover_the_lines_once() {
        for (width, pitch) in [
            (1, 3),
            (8, 10),
            (16, 18),
            (50, 52),
            (64, 64),
            (113, 115),
            (512, 514),
        ] {
            let lines = Lines {
                width,
                pitch,
                taps: &[0],
                depth: 1,
            };
            let mut seen = vec![0; 7 * width];
            let mut see = |part: Part| {
                let rows = (part.lines - 1) * part.sums_pitch + part.line;
                assert!(rows * PANEL <= Lines::SUMS);
                for line in part.first_line..part.first_line + part.lines {
                    for x in part.from..part.from + part.line {
                        seen[line * width + x] += 1;
                    }
                }
            };
            lines.parts::<half::bf16>(7, &mut see);
            lines.parts::<f32>(7, &mut see);
            assert!(seen.iter().all(|n| *n == 2));
        }
    }
}
