//! The right-hand matrix of a product, stored once in the order in which the kernels read it.

use half::bf16;

use super::aligned::Aligned;
use super::blocks::{BlockMatrix, BlockPanels};
use super::operand::Operand;
use super::output::Parts;
use super::parallel;

/// Columns in a panel: two vectors of AVX-512, two tiles of AMX.
pub(super) const PANEL: usize = 32;
/// In bf16, the numbers of a tap are filled up with zeros to a multiple of this: one row of a tile.
pub(super) const TAP_ALIGNMENT: usize = 32;

/// The numbers that products are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Single precision.
    F32,
    /// The upper half of single precision; sums are single precision.
    Bf16,
}

/// A `(depth, columns)` matrix cut into panels of 32 columns; each panel holds its rows one after the other, and the
/// last one is filled up with zero columns. In bf16, two rows at a time lie interleaved.
///
/// The depth is `taps` times the same number of channels. A weight in blocks stays in blocks and is cut into panels, some at a
/// time, whenever it is used.
#[derive(Debug, Clone)]
pub struct Panels {
    numbers: Numbers,
    taps: usize,
    channels: usize,
    columns: usize,
}

#[derive(Debug, Clone)]
enum Numbers {
    F32(Aligned<f32>),
    Bf16(Aligned<bf16>),
    /// Cut into panels of this format.
    Blocks(BlockPanels, Format),
}

impl Panels {
    /// From a weight as torch keeps it for `Linear`: `(columns, depth)`, row-major.
    ///
    /// Panics when `weight` does not have `columns * depth` numbers.
    pub fn from_linear(weight: &[f32], columns: usize, depth: usize, format: Format) -> Self {
        assert_eq!(weight.len(), columns * depth, "weight of a linear layer");
        Self::pack(1, depth, columns, format, |n| Column {
            numbers: &weight[n * depth..][..depth],
            stride: 1,
        })
    }

    /// From a weight as torch keeps it for `Conv2d`: `(columns, channels, kernel, kernel)`. The inner dimension
    /// becomes `(kernel row, kernel column, channel)`, the order in which a channels-last input is read.
    ///
    /// Panics when `weight` does not have that many numbers.
    pub fn from_conv2d(
        weight: &[f32],
        columns: usize,
        channels: usize,
        kernel: usize,
        format: Format,
    ) -> Self {
        let taps = kernel * kernel;
        assert_eq!(
            weight.len(),
            columns * channels * taps,
            "weight of a convolution"
        );
        Self::pack(taps, channels, columns, format, |n| Column {
            numbers: &weight[n * channels * taps..][..channels * taps],
            stride: taps,
        })
    }

    /// From a gated linear weight `(2 * columns, depth)`: panels of the first half and of the second half alternate.
    ///
    /// Panics when `weight` does not have that many numbers.
    pub fn from_gated_linear(weight: &[f32], columns: usize, depth: usize, format: Format) -> Self {
        assert_eq!(
            weight.len(),
            2 * columns * depth,
            "weight of a gated linear layer"
        );
        let padded = columns.div_ceil(PANEL) * PANEL;
        Self::pack(1, depth, 2 * padded, format, |n| {
            let (pair, within) = (n / (2 * PANEL), n % (2 * PANEL));
            let (half, column) = (within / PANEL, pair * PANEL + within % PANEL);
            let numbers = if column < columns {
                &weight[(half * columns + column) * depth..][..depth]
            } else {
                &[]
            };
            Column { numbers, stride: 1 }
        })
    }

    /// From a linear weight in blocks, `(columns, depth)`, whose products are made of `format`.
    ///
    /// `is_gated`: it is the weight of a gated layer, as for [`Self::from_gated_linear`].
    pub fn from_blocks(weight: BlockMatrix, is_gated: bool, format: Format) -> Self {
        let blocks = BlockPanels::new(weight, is_gated);
        Self {
            taps: 1,
            channels: blocks.depth(),
            columns: blocks.columns(),
            numbers: Numbers::Blocks(blocks, format),
        }
    }

    fn pack<'w>(
        taps: usize,
        channels: usize,
        columns: usize,
        format: Format,
        column: impl Fn(usize) -> Column<'w> + Sync,
    ) -> Self {
        let numbers = match format {
            Format::F32 => Numbers::F32(pack(taps, channels, columns, column)),
            Format::Bf16 => Numbers::Bf16(pack(taps, channels, columns, column)),
        };
        Self {
            numbers,
            taps,
            channels,
            columns,
        }
    }

    /// Inner dimension, without what fills it up.
    pub fn depth(&self) -> usize {
        self.taps * self.channels
    }

    /// Columns of the result.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What the panels are made of.
    pub fn format(&self) -> Format {
        match self.numbers {
            Numbers::F32(_) => Format::F32,
            Numbers::Bf16(_) => Format::Bf16,
            Numbers::Blocks(_, format) => format,
        }
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::F32(numbers) => size_of_val(&**numbers),
            Numbers::Bf16(numbers) => size_of_val(&**numbers),
            Numbers::Blocks(blocks, _) => blocks.bytes(),
        }
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// The weight as it is in blocks, if it is.
    pub(super) fn blocks(&self) -> Option<&BlockPanels> {
        match &self.numbers {
            Numbers::Blocks(blocks, _) => Some(blocks),
            Numbers::F32(_) | Numbers::Bf16(_) => None,
        }
    }

    /// Calls `with` with the panels in the format they have.
    pub(super) fn visit<R>(&self, with: impl PanelVisitor<R>) -> R {
        match &self.numbers {
            Numbers::F32(numbers) => with.visit(self.typed(numbers, None)),
            Numbers::Bf16(numbers) => with.visit(self.typed(numbers, None)),
            Numbers::Blocks(blocks, Format::F32) => {
                with.visit(self.typed::<f32>(&[], Some(blocks)))
            }
            Numbers::Blocks(blocks, Format::Bf16) => {
                with.visit(self.typed::<bf16>(&[], Some(blocks)))
            }
        }
    }

    fn typed<'p, T: Operand>(
        &'p self,
        numbers: &'p [T],
        blocks: Option<&'p BlockPanels>,
    ) -> TypedPanels<'p, T> {
        TypedPanels {
            numbers,
            blocks,
            taps: self.taps,
            channels: self.channels,
            padded_channels: padded::<T>(self.channels),
            columns: self.columns,
        }
    }
}

/// Something to do with panels of either format.
pub(super) trait PanelVisitor<R> {
    fn visit<T: Operand>(self, panels: TypedPanels<'_, T>) -> R;
}

/// Panels whose format is known.
#[derive(Clone, Copy)]
pub(super) struct TypedPanels<'a, T> {
    numbers: &'a [T],
    /// Where the numbers come from, if they are not there yet.
    blocks: Option<&'a BlockPanels>,
    pub(super) taps: usize,
    pub(super) channels: usize,
    /// Channels of a tap with what fills them up: what a row of the left-hand side must have.
    pub(super) padded_channels: usize,
    pub(super) columns: usize,
}

impl<'a, T: Operand> TypedPanels<'a, T> {
    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// Inner dimension with what fills it up.
    pub(super) fn padded_depth(&self) -> usize {
        self.taps * self.padded_channels
    }

    /// Calls `with(panels, number of the first one)` with all of them, or some at a time where they are made from blocks: an
    /// even number unless it is the end. They are counted from the first one.
    pub(super) fn for_each_part(&self, mut with: impl FnMut(TypedPanels<'_, T>, usize)) {
        let Some(blocks) = self.blocks else {
            return with(*self, 0);
        };
        blocks.for_each(|numbers, first| {
            let part = TypedPanels {
                numbers,
                blocks: None,
                columns: self
                    .columns
                    .min((first + numbers.len() / self.len()) * PANEL)
                    - first * PANEL,
                ..*self
            };
            with(part, first);
        });
    }

    /// Numbers of a panel.
    fn len(&self) -> usize {
        self.padded_depth() * PANEL
    }

    /// Panel `index`: `padded_depth` rows of 32. Panics where they are made from blocks; see [`Self::for_each_part`].
    pub(super) fn panel(&self, index: usize) -> &'a [T] {
        let len = self.len();
        &self.numbers[index * len..][..len]
    }
}

/// One column of the matrix as the checkpoint has it: number `tap` of channel `c` is at `c * stride + tap`.
/// An empty one is all zeros.
struct Column<'w> {
    numbers: &'w [f32],
    stride: usize,
}

/// `channels` filled up as the format asks.
pub(super) fn padded<T: Operand>(channels: usize) -> usize {
    channels.next_multiple_of(T::TAP_ALIGNMENT)
}

fn pack<'w, T: Operand>(
    taps: usize,
    channels: usize,
    columns: usize,
    column: impl Fn(usize) -> Column<'w> + Sync,
) -> Aligned<T> {
    let padded = padded::<T>(channels);
    let panel_len = taps * padded * PANEL;
    let count = columns.div_ceil(PANEL);
    let mut numbers = Aligned::zeroed(count * panel_len);
    let parts = Parts::new(&mut numbers);
    parallel::for_each(count, |p| {
        // SAFETY: each panel is one task's.
        let panel = unsafe { parts.part(p * panel_len, panel_len) };
        // Column by column: that is the order of torch's weights in memory.
        for j in 0..PANEL.min(columns - p * PANEL) {
            let Column { numbers, stride } = column(p * PANEL + j);
            for tap in 0..taps {
                let of_tap = numbers.iter().skip(tap).step_by(stride);
                for (c, number) in of_tap.enumerate() {
                    panel[T::panel_index(tap * padded + c, j)] = T::from_f32(*number);
                }
            }
        }
    });
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "small")]
    fn count_up(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i % 251) as f32).collect()
    }

    struct At(usize, usize, usize);

    impl PanelVisitor<f32> for At {
        fn visit<T: Operand>(self, panels: TypedPanels<'_, T>) -> f32 {
            let Self(tap, channel, column) = self;
            let row = tap * panels.padded_channels + channel;
            panels.panel(column / PANEL)[T::panel_index(row, column % PANEL)].to_f32()
        }
    }

    #[test]
    fn every_number_is_found_where_the_kernels_look() {
        for format in [Format::F32, Format::Bf16] {
            let (columns, channels, kernel) = (37, 5, 3);
            let weight = count_up(columns * channels * kernel * kernel);
            let panels = Panels::from_conv2d(&weight, columns, channels, kernel, format);
            for column in 0..columns {
                for channel in 0..channels {
                    for tap in 0..kernel * kernel {
                        let expected =
                            weight[(column * channels + channel) * kernel * kernel + tap];
                        assert_eq!(panels.visit(At(tap, channel, column)), expected);
                    }
                }
            }
            let weight = count_up(2 * columns * channels);
            let panels = Panels::from_gated_linear(&weight, columns, channels, format);
            for column in 0..columns {
                let at = |half: usize| (column / PANEL * 2 + half) * PANEL + column % PANEL;
                for half in [0, 1] {
                    let expected = weight[(half * columns + column) * channels + 4];
                    assert_eq!(panels.visit(At(0, 4, at(half))), expected);
                }
            }
        }
    }
}
