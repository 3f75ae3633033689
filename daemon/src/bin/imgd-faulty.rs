//! `imgd` with faults on demand, for tests of what follows from them: `e2e/tests/faults.rs`. It has no model inside and
//! is given `--starter-dir`.

use std::process::ExitCode;

fn main() -> ExitCode {
    imgd::run(&[])
}
