//! The matrix unit of Intel's servers: products of 16 rows by 32 bf16 numbers with 32 by 16, summed in f32.
//!
//! The instructions are written out, since the compiler's own names for them are not stable yet. The tile registers
//! are configured and released within one call, so that a thread that rests has none to save.

use std::arch::asm;

use super::panels::{PANEL, TAP_ALIGNMENT};
use super::tile::Rows;

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

/// `sums[r * sums_stride + j] = rows[r] . panel[.., j]` for all rows and, of each panel row, `columns` columns.
///
/// # Safety
/// The processor has AMX and the system has granted it. `rows` lie within their numbers, `panel` has
/// `taps * depth * 32` numbers, `sums` has room for the rows, and the depth is a multiple of 32.
pub(super) unsafe fn multiply(
    rows: Rows<'_, half::bf16>,
    panel: &[half::bf16],
    sums: &mut [f32],
    sums_stride: usize,
    columns: usize,
) {
    const _: () = assert!(TAP_ALIGNMENT.is_multiple_of(DEPTH), "taps are whole tiles");
    static CONFIGURATIONS: [Configuration; TILE + 1] = {
        let mut all = [const { Configuration::new(0) }; TILE + 1];
        let mut rows = 1;
        while rows <= TILE {
            all[rows] = Configuration::new(rows);
            rows += 1;
        }
        all
    };
    let rows = Rows {
        line: rows.line.min(rows.count),
        ..rows
    };
    assert!(
        rows.count.is_multiple_of(rows.line) && rows.depth >= DEPTH,
        "tiles cover whole lines"
    );
    let height = rows.line.min(TILE);
    // The last tile of a line is moved back to end with it; the rows that it repeats get the same numbers again.
    let per_line = rows.line.div_ceil(TILE);
    let tiles = rows.count / rows.line * per_line;
    let first_row = |tile: usize| {
        let (line, within) = (tile / per_line, tile % per_line * TILE);
        line * rows.line + within.min(rows.line - height)
    };
    let at = |row: usize| row / rows.line * rows.line_stride + row % rows.line * rows.stride;
    let narrow = columns <= PANEL / 2;
    // SAFETY: the configuration is a valid one. The tiles' rows lie in `rows` and `sums`, as the caller promises:
    // every tile has `height` rows, begins at a row of a line and ends within it.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATIONS[height], options(nostack, readonly));
        let mut tile = 0;
        while tile < tiles {
            let both = tile + 1 < tiles;
            let (r0, r1) = (
                first_row(tile),
                first_row(if both { tile + 1 } else { tile }),
            );
            let (a0, a1) = (
                rows.numbers.as_ptr().add(at(r0)),
                rows.numbers.as_ptr().add(at(r1)),
            );
            let (c0, c1) = (
                sums.as_mut_ptr().add(r0 * sums_stride),
                sums.as_mut_ptr().add(r1 * sums_stride),
            );
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem)
            );
            for (t, tap) in rows.taps.iter().enumerate() {
                let (a0, a1) = (a0.add(*tap), a1.add(*tap));
                let b = panel.as_ptr().add(t * rows.depth * PANEL);
                let steps = rows.depth / DEPTH;
                match (both, narrow) {
                    (true, false) => two_by_two(a0, a1, rows.stride, b, steps),
                    (true, true) => two_by_one(a0, a1, rows.stride, b, steps),
                    (false, _) => one_by_two(a0, rows.stride, b, steps),
                }
            }
            let stride = sums_stride * 4;
            asm!("tilestored [{c}+{s}*1], tmm0", "tilestored [{c}+{s}*1+64], tmm1", c = in(reg) c0, s = in(reg) stride, options(nostack));
            if both {
                asm!("tilestored [{c}+{s}*1], tmm2", "tilestored [{c}+{s}*1+64], tmm3", c = in(reg) c1, s = in(reg) stride, options(nostack));
            }
            tile += 2;
        }
        asm!("tilerelease", options(nostack, nomem));
    }
}

/// Bytes from one pair of panel rows to the next.
const PANEL_STRIDE: usize = PANEL * 4;

/// # Safety
/// Tiles are configured; `a0` and `a1` are readable for 16 rows (or as many as configured), `b` for `steps` products.
#[inline(always)]
unsafe fn two_by_two(
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
            "tileloadd tmm7, [{b}+{panel}*1+64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1}+{stride}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
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
