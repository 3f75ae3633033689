//! `docs/samplers.md` is the catalogue of samplers and schedules.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{fmt::Write as _, path::Path};

use imgd_engine::sampling::{samplers, schedules};

const INTRO: &str = "# Samplers and schedules

Three things that are often mixed up stay apart: a *sampler* is the solver, a *schedule* the list of noise levels, a
*prediction* what the network outputs (the model decides that). Without `--sampler` and `--schedule` the model's own
`scheduler_config.json` decides, as diffusers would. `--sampler X` replaces the solver and keeps the rest of that file.
This page is printed from the engine's list; `imgctl samplers` shows the same.

";

fn page() -> String {
    let mut page = INTRO.to_owned();
    let columns: Vec<&str> = schedules().iter().map(|schedule| schedule.name).collect();
    writeln!(page, "| sampler | | numbers of | evaluations a step | draws noise | zero-SNR betas | predictions | {} |", columns.join(" | ")).unwrap();
    writeln!(
        page,
        "|---|---|---|---|---|---|---|{}",
        "---|".repeat(columns.len())
    )
    .unwrap();
    let mark = |yes| if yes { "yes" } else { "" };
    for sampler in samplers() {
        let takes: Vec<&str> = columns
            .iter()
            .map(|name| mark(sampler.schedules.contains(name)))
            .collect();
        writeln!(
            page,
            "| `{}` | {} | `{}` | {} | {} | {} | {} | {} |",
            sampler.name,
            sampler.description,
            sampler.diffusers_class,
            sampler.evaluations_per_step,
            mark(sampler.stochastic),
            mark(sampler.zero_snr),
            sampler.predictions.join(", "),
            takes.join(" | "),
        )
        .unwrap();
    }
    page.push_str("\n| schedule | |\n|---|---|\n");
    for schedule in schedules() {
        writeln!(page, "| `{}` | {} |", schedule.name, schedule.description).unwrap();
    }
    page
}

#[test]
fn the_samplers_in_the_documentation_are_those_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samplers.md");
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found != page() {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("samplers.md");
        std::fs::write(&fresh, page()).unwrap();
        panic!("docs/samplers.md is old: cp {} docs/", fresh.display());
    }
}
