//! `docs/limits.md` is the table of limits.

use std::path::Path;

#[test]
fn the_limits_in_the_documentation_are_those_in_force() {
    let intro = "# Limits\n\nWhat a request may ask. A request outside is refused with the field's name before any work \
                 begins.\nThis page is printed from `proto/src/limits.rs`.\n\n";
    let expected = format!("{intro}{}", imgd_proto::limits::table());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found != expected {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("limits.md");
        std::fs::write(&fresh, expected).unwrap();
        panic!("docs/limits.md is old: cp {} docs/", fresh.display());
    }
}
