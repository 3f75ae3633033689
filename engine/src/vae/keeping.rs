//! How much of a picture's feature maps is in memory at a time.

/// How feature maps are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    /// About how many pixels a band has. Fewer take less memory, more keep more threads busy.
    pub(super) band_pixels: usize,
    /// Bytes from which an enlargement is made twice instead of kept, where the next piece is narrower.
    pub(super) most_bytes: usize,
}

impl Keeping {
    /// Bands with enough work for all threads; pictures below about 700x700 take no more time than in one piece.
    pub(super) fn usual() -> Self {
        let threads = rayon::current_num_threads();
        Self {
            band_pixels: 8 * 1024 * threads.max(2),
            most_bytes: 512 << 20,
        }
    }
}
