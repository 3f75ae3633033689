//! How a picture is cut: into tiles that are enlarged one after the other, each with some pixels of its neighbours.
//!
//! Tiles follow from the picture's size and the network alone, never from the memory that there is: a picture's bytes do too.

use std::ops::Range;

use super::window::Window;

/// Pixels of a tile's side, as the network sees them, at most.
pub(super) const TILE_PX: usize = 256;
/// Pixels of its neighbours that a tile sees on each side, as the network sees them.
pub(super) const OVERLAP_PX: usize = 32;

/// The tiles of one picture, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tiles {
    /// Height and width of the picture, filled up to what the network takes.
    size: (usize, usize),
    rows: Vec<Range<usize>>,
    columns: Vec<Range<usize>>,
    overlap: usize,
}

/// One tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    /// What the network sees.
    pub(super) seen: Window,
    /// What is kept of it.
    pub(super) kept: Window,
}

impl Tiles {
    /// Of a picture of `(height, width)` pixels, for a network whose pixels are `multiple` times `multiple` of them.
    pub(super) fn new((height, width): (usize, usize), multiple: usize) -> Self {
        let cut = |side: usize| cut(side.div_ceil(multiple), multiple);
        Self {
            size: (
                height.next_multiple_of(multiple),
                width.next_multiple_of(multiple),
            ),
            rows: cut(height),
            columns: cut(width),
            overlap: OVERLAP_PX * multiple,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Tile `index` of [`Self::count`].
    pub(super) fn get(&self, index: usize) -> Tile {
        let kept = Window {
            rows: self.rows[index / self.columns.len()].clone(),
            columns: self.columns[index % self.columns.len()].clone(),
        };
        Tile {
            seen: kept.grown(self.overlap, self.size),
            kept,
        }
    }

    /// Width and height of what the network sees of the largest, in pixels of the picture.
    pub(super) fn largest(&self) -> (u32, u32) {
        let tiles = (0..self.count()).map(|index| self.get(index).seen);
        let largest = tiles.max_by_key(|seen| seen.rows.len() * seen.columns.len());
        let side = |range: Range<usize>| u32::try_from(range.len()).unwrap_or(u32::MAX);
        largest.map_or((0, 0), |seen| (side(seen.columns), side(seen.rows)))
    }

    /// Rows of the picture that the first `count` tiles have to do with.
    pub(super) fn rows_of(&self, count: usize) -> usize {
        let rows = count.div_ceil(self.columns.len());
        rows.checked_sub(1).map_or(0, |last| self.rows[last].end)
    }
}

/// As few parts as a side can have, about as long as each other; ends are multiples of `multiple`.
fn cut(side: usize, multiple: usize) -> Vec<Range<usize>> {
    let parts = side.div_ceil(TILE_PX).max(1);
    let end = |part: usize| part * side / parts * multiple;
    (0..parts).map(|part| end(part)..end(part + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_once_and_see_no_more_than_there_is() {
        for (height, width, multiple) in [(1, 1, 1), (256, 257, 1), (601, 385, 2), (33, 1027, 4)] {
            let tiles = Tiles::new((height, width), multiple);
            let (high, wide) = tiles.size;
            let mut covered = vec![0; high * wide];
            for index in 0..tiles.count() {
                let Tile { seen, kept } = tiles.get(index);
                for y in kept.rows.clone() {
                    for x in kept.columns.clone() {
                        covered[y * wide + x] += 1;
                    }
                }
                assert!(seen.rows.end <= high && seen.columns.end <= wide);
                for (seen, kept, side) in [
                    (&seen.rows, &kept.rows, high),
                    (&seen.columns, &kept.columns, wide),
                ] {
                    assert!(kept.len() <= TILE_PX * multiple);
                    let overlap = OVERLAP_PX * multiple;
                    assert_eq!(seen.start, kept.start.saturating_sub(overlap));
                    assert_eq!(seen.end, side.min(kept.end + overlap));
                    assert!(
                        seen.start.is_multiple_of(multiple) && seen.end.is_multiple_of(multiple)
                    );
                }
                assert!(kept.rows.end <= tiles.rows_of(index + 1));
            }
            assert!(covered.iter().all(|times| *times == 1));
            assert_eq!(tiles.rows_of(0), 0);
            assert_eq!(tiles.rows_of(tiles.count()), high);
        }
    }
}
