//! The matrix unit of Intel's servers: products of 16 rows by 32 bf16 numbers with 32 by 16, summed in f32.
//!
//! The instructions are written out, since the compiler's own names for them are not stable yet. The compiler never
//! touches the tile registers, so they keep what one block of instructions leaves in them for the next.

use std::arch::asm;
use std::cell::Cell;

use super::panels::{PANEL, TAP_ALIGNMENT};
use super::tile::Rows;

/// Bytes that come from memory together.
const LINE: usize = 64;
/// Rows of a tile.
const TILE: usize = 16;
/// Numbers of the inner dimension that one product takes.
pub(super) const DEPTH: usize = 32;

/// Whether the processor has AMX with bf16.
pub(super) fn is_there() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const OSXSAVE: u32 = 1 << 27;
    /// Tile configuration and data, in what the system saves for each thread.
    const XTILE: u64 = 3 << 17;
    #[target_feature(enable = "xsave")]
    fn saved_by_the_system() -> u64 {
        // SAFETY: the caller has seen OSXSAVE.
        unsafe { _xgetbv(0) }
    }
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let has = __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE;
    // SAFETY: OSXSAVE says that the instruction is there.
    has && unsafe { saved_by_the_system() } & XTILE == XTILE
}

/// Asks the system for the tile registers of this process. False when it has none to give.
pub(super) fn request() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
        const XFEATURE_XTILEDATA: i64 = 18;
        // SAFETY: `arch_prctl` with this request takes a number and touches no memory of ours.
        unsafe {
            libc::syscall(
                libc::SYS_arch_prctl,
                ARCH_REQ_XCOMP_PERM,
                XFEATURE_XTILEDATA,
            ) == 0
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}

/// What `ldtilecfg` reads: for each of eight tiles its rows and the bytes of a row.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// Sums in tiles 0 to 3, rows in 4 and 5, panels in 6 and 7.
    const fn new(rows: usize) -> Self {
        assert!(rows <= TILE, "a tile has 16 rows");
        let mut row_bytes = [0; 16];
        let mut all_rows = [0; 16];
        let mut tile = 0;
        while tile < 8 {
            row_bytes[tile] = 64;
            #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
            let of_activations = rows as u8;
            all_rows[tile] = if tile < 6 { of_activations } else { 16 };
            tile += 1;
        }
        Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes,
            rows: all_rows,
        }
    }
}

static CONFIGURATIONS: [Configuration; TILE + 1] = {
    let mut all = [const { Configuration::new(0) }; TILE + 1];
    let mut rows = 1;
    while rows <= TILE {
        all[rows] = Configuration::new(rows);
        rows += 1;
    }
    all
};

thread_local! {
    /// Rows that this thread's tiles are configured for; 0 when they are released.
    static CONFIGURED: Cell<usize> = const { Cell::new(0) };
}

/// Configures the tiles of this thread for `height` rows, from 1 to 16, if they are not.
///
/// # Safety
/// The processor has AMX and the system has granted it.
#[inline]
unsafe fn configure(height: usize) {
    if CONFIGURED.get() != height {
        let configuration = &raw const CONFIGURATIONS[height];
        // SAFETY: the configuration is a valid one, and the instruction is there (this function's contract).
        unsafe { asm!("ldtilecfg [{}]", in(reg) configuration, options(nostack, readonly)) };
        CONFIGURED.set(height);
    }
}

/// Releases the tiles of this thread, if it has any: a thread that rests has none to save.
pub(super) fn rest() {
    if CONFIGURED.replace(0) != 0 {
        // SAFETY: tiles were configured, so the instruction is there.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Products of a tile whose part of a panel, 2 KB each, stays in the first-level cache beside the sums.
const PART: usize = 14;

/// `sums[r * sums_stride + p * 32 + j] = rows[r] . panel[p][.., j]` for all rows and panels; `j` below `columns` for the
/// last panel. The tiles stay configured until [`rest`].
///
/// A long panel is taken in parts, each for all rows, with the sums kept in memory between two of them: they are the same
/// numbers as in one go. While a part is used the next one is fetched, since panels come from memory where rows are few.
///
/// # Safety
/// The processor has AMX and the system has granted it. `rows` lie within their numbers, each of the panels has
/// `taps * depth * 32` numbers, `sums` has room for the rows, and the depth is a multiple of 32.
pub(super) unsafe fn multiply(
    rows: Rows<'_, half::bf16>,
    panels: &[half::bf16],
    count: usize,
    sums: &mut [f32],
    sums_stride: usize,
    columns: usize,
) {
    const _: () = assert!(TAP_ALIGNMENT.is_multiple_of(DEPTH), "taps are whole tiles");
    let line = rows.line.min(rows.count);
    assert!(
        rows.count.is_multiple_of(line) && rows.depth >= DEPTH,
        "tiles cover whole lines"
    );
    let steps = rows.depth / DEPTH;
    let rest = rows.count % TILE;
    if line == rows.count && line > TILE && rest > 0 && (rows.adds || steps > PART) {
        let (most, last) = rows.split(rows.count - rest);
        // SAFETY: handed on.
        unsafe {
            multiply(most, panels, count, sums, sums_stride, columns);
            let sums = &mut sums[most.count * sums_stride..];
            multiply(last, panels, count, sums, sums_stride, columns);
        }
        return;
    }
    let height = line.min(TILE);
    assert!(
        !rows.adds || line.is_multiple_of(height),
        "what is added to does not overlap"
    );
    // Tiles with rows in common must not add to the sums of the tile before.
    let in_parts = line.is_multiple_of(height)
        && match rows.taps.len() {
            1 => steps > PART,
            2..=4 => true,
            _ => steps > PART && rows.fetches && height == TILE,
        };
    let part = if in_parts {
        steps.div_ceil(steps.div_ceil(PART))
    } else {
        steps
    };
    let pairs = (rows.count / line * line.div_ceil(TILE)).div_ceil(2);
    let fetch = if in_parts && rows.fetches && pairs > 4 {
        32usize.div_ceil(pairs).next_power_of_two()
    } else {
        0
    };
    let tile = Tiles {
        rows: &rows,
        line,
        height,
        sums_stride: sums_stride * 4,
        fetch,
    };
    // SAFETY: the tiles' rows lie in `rows` and `sums`, as the caller promises: every tile has `height` rows, begins at
    // a row of a line and ends within it. What is fetched ahead need not be there.
    unsafe {
        configure(height);
        let mut b = panels.as_ptr();
        for p in 0..count {
            let narrow = p + 1 == count && columns <= PANEL / 2;
            let sums = sums.as_mut_ptr().add(p * PANEL);
            if in_parts {
                for (t, tap) in rows.taps.iter().enumerate() {
                    for from in (0..steps).step_by(part) {
                        let these = part.min(steps - from);
                        let taps = &[*tap + from * DEPTH];
                        let first = !rows.adds && (t, from) == (0, 0);
                        tile.multiply(taps, these, b, sums, first, narrow);
                        b = b.add(these * DEPTH * PANEL);
                    }
                }
            } else {
                tile.multiply(rows.taps, steps, b, sums, !rows.adds, narrow);
                b = b.add(rows.taps.len() * rows.depth * PANEL);
            }
        }
    }
}

/// The tiles of some rows.
struct Tiles<'a> {
    rows: &'a Rows<'a, half::bf16>,
    /// Rows of a line.
    line: usize,
    /// Rows of a tile.
    height: usize,
    /// Bytes from a row of sums to the next.
    sums_stride: usize,
    /// Cache lines to fetch ahead in each step: 0, 1, 2, 4 or 8.
    fetch: usize,
}

impl Tiles<'_> {
    /// Multiplies `steps` tiles from each of the taps on with `b`, and adds it to the sums, or sets them if these are the
    /// `first`.
    ///
    /// # Safety
    /// As for [`multiply`]; the tiles are configured for `height` rows.
    #[inline(always)]
    unsafe fn multiply(
        &self,
        taps: &[usize],
        steps: usize,
        panel: *const half::bf16,
        sums: *mut f32,
        first: bool,
        narrow: bool,
    ) {
        let Self { rows, line, .. } = *self;
        let stride = self.sums_stride;
        let mut at = Walk {
            line: 0,
            within: 0,
            last: line - self.height,
            rows,
        };
        let end = rows.count / line;
        let mut ahead = panel.wrapping_add(taps.len() * steps * DEPTH * PANEL);
        // SAFETY: handed on.
        unsafe {
            while at.line < end {
                let (r0, a0) = at.step(line);
                let second = (at.line < end).then(|| at.step(line));
                let (r1, a1) = second.unwrap_or((r0, a0));
                let c0 = sums.byte_add(r0 * stride);
                let c1 = sums.byte_add(r1 * stride);
                if first {
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        options(nostack, nomem)
                    );
                } else {
                    asm!(
                        "tileloadd tmm0, [{c0}+{s}*1]",
                        "tileloadd tmm1, [{c0}+{s}*1+64]",
                        "tileloadd tmm2, [{c1}+{s}*1]",
                        "tileloadd tmm3, [{c1}+{s}*1+64]",
                        c0 = in(reg) c0, c1 = in(reg) c1, s = in(reg) stride, options(nostack, readonly)
                    );
                }
                let (a0, a1) = (rows.numbers.as_ptr().add(a0), rows.numbers.as_ptr().add(a1));
                let mut b = panel;
                for tap in taps {
                    let (a0, a1) = (a0.add(*tap), a1.add(*tap));
                    match (second, narrow) {
                        (Some(_), false) => {
                            let stride = rows.stride;
                            match self.fetch {
                                0 => two_by_two::<0>(a0, a1, stride, b, ahead, steps),
                                1 => two_by_two::<1>(a0, a1, stride, b, ahead, steps),
                                2 => two_by_two::<2>(a0, a1, stride, b, ahead, steps),
                                4 => two_by_two::<4>(a0, a1, stride, b, ahead, steps),
                                _ => two_by_two::<8>(a0, a1, stride, b, ahead, steps),
                            }
                            ahead = ahead.wrapping_byte_add(self.fetch * LINE * steps);
                        }
                        (Some(_), true) => two_by_one(a0, a1, rows.stride, b, steps),
                        (None, _) => one_by_two(a0, rows.stride, b, steps),
                    }
                    b = b.add(steps * DEPTH * PANEL);
                }
                asm!("tilestored [{c}+{s}*1], tmm0", "tilestored [{c}+{s}*1+64], tmm1", c = in(reg) c0, s = in(reg) stride, options(nostack));
                if second.is_some() {
                    asm!("tilestored [{c}+{s}*1], tmm2", "tilestored [{c}+{s}*1+64], tmm3", c = in(reg) c1, s = in(reg) stride, options(nostack));
                }
            }
        }
    }
}

/// The tiles of all lines, one after the other. The last tile of a line is moved back to end with it; the rows that it
/// repeats get the same numbers again.
struct Walk<'a> {
    line: usize,
    within: usize,
    /// Where the last tile of a line begins.
    last: usize,
    rows: &'a Rows<'a, half::bf16>,
}

impl Walk<'_> {
    /// First row of the next tile, and where it begins.
    #[inline(always)]
    fn step(&mut self, line_len: usize) -> (usize, usize) {
        let within = self.within.min(self.last);
        let tile = (
            self.line * line_len + within,
            self.line * self.rows.line_stride + within * self.rows.stride,
        );
        self.within += TILE;
        if within == self.last {
            self.within = 0;
            self.line += 1;
        }
        tile
    }
}

/// Bytes from one pair of panel rows to the next.
const PANEL_STRIDE: usize = PANEL * 4;

/// Adds two tiles of rows times both halves of a panel to tiles 0 to 3, and fetches `LINES` cache lines from `ahead` on in
/// each step.
///
/// # Safety
/// Tiles are configured; `a0` and `a1` are readable for 16 rows (or as many as configured), `b` for `steps` products;
/// `ahead` may be anything.
#[inline(always)]
unsafe fn two_by_two<const LINES: usize>(
    a0: *const half::bf16,
    a1: *const half::bf16,
    stride: usize,
    b: *const half::bf16,
    ahead: *const half::bf16,
    steps: usize,
) {
    // SAFETY: handed on.
    unsafe {
        asm!(
            "2:",
            "tileloadd tmm4, [{a0}+{stride}*1]",
            "tileloadd tmm6, [{b}+{panel}*1]",
            ".if {lines} > 0",
            "prefetcht1 [{f}]",
            ".endif",
            "tdpbf16ps tmm0, tmm4, tmm6",
            ".if {lines} > 1",
            "prefetcht1 [{f}+64]",
            ".endif",
            "tileloadd tmm7, [{b}+{panel}*1+64]",
            ".if {lines} > 2",
            "prefetcht1 [{f}+128]",
            "prefetcht1 [{f}+192]",
            ".endif",
            "tdpbf16ps tmm1, tmm4, tmm7",
            ".if {lines} > 4",
            "prefetcht1 [{f}+256]",
            "prefetcht1 [{f}+320]",
            ".endif",
            "tileloadd tmm5, [{a1}+{stride}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            ".if {lines} > 4",
            "prefetcht1 [{f}+384]",
            "prefetcht1 [{f}+448]",
            ".endif",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 64",
            "add {a1}, 64",
            "add {b}, 2048",
            "add {f}, 64*{lines}",
            "dec {n}",
            "jnz 2b",
            a0 = inout(reg) a0 => _, a1 = inout(reg) a1 => _, b = inout(reg) b => _, n = inout(reg) steps => _,
            f = inout(reg) ahead => _, lines = const LINES,
            stride = in(reg) stride * 2, panel = in(reg) PANEL_STRIDE,
            options(nostack, readonly),
        );
    }
}

/// As [`two_by_two`] for the first half of the panel.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn two_by_one(
    a0: *const half::bf16,
    a1: *const half::bf16,
    stride: usize,
    b: *const half::bf16,
    steps: usize,
) {
    // SAFETY: handed on.
    unsafe {
        asm!(
            "2:",
            "tileloadd tmm4, [{a0}+{stride}*1]",
            "tileloadd tmm6, [{b}+{panel}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a1}+{stride}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "add {a0}, 64",
            "add {a1}, 64",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            a0 = inout(reg) a0 => _, a1 = inout(reg) a1 => _, b = inout(reg) b => _, n = inout(reg) steps => _,
            stride = in(reg) stride * 2, panel = in(reg) PANEL_STRIDE,
            options(nostack, readonly),
        );
    }
}

/// As [`two_by_two`] for one tile of rows.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn one_by_two(a0: *const half::bf16, stride: usize, b: *const half::bf16, steps: usize) {
    // SAFETY: handed on.
    unsafe {
        asm!(
            "2:",
            "tileloadd tmm4, [{a0}+{stride}*1]",
            "tileloadd tmm6, [{b}+{panel}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b}+{panel}*1+64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a0}, 64",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            a0 = inout(reg) a0 => _, b = inout(reg) b => _, n = inout(reg) steps => _,
            stride = in(reg) stride * 2, panel = in(reg) PANEL_STRIDE,
            options(nostack, readonly),
        );
    }
}
