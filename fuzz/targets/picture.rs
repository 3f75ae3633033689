//! Pictures to begin from, and metadata of pictures: PNG, JPEG, WebP.

#![no_main]

use imgd_engine::image::{read_grey, read_metadata, read_rgb, size_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_metadata(bytes);
    // Large ones take long by right.
    if size_of(bytes, "init_image").is_ok_and(|(width, height)| width <= 512 && height <= 512) {
        let _ = read_rgb(bytes, (32, 24), "init_image");
        let _ = read_grey(bytes, (32, 24), "mask");
    }
});
