//! Each rule about texts finds what it is there to find, in a small repository made for it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{fs, path::Path};

use xtask::{documents, lists, sources};

/// A repository of these files.
fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn only(found: std::io::Result<Vec<String>>) -> String {
    let mut found = found.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn unsafe_code_outside_its_places_is_found() {
    let root = repository(&[
        ("engine/src/kernels/a.rs", "unsafe { x() }"),
        (
            "engine/src/nn/b.rs",
            "// unsafe\nlet s = \"unsafe\";\nunsafe { x() }",
        ),
    ]);
    assert!(only(sources::unsafe_code(root.path())).starts_with("engine/src/nn/b.rs:3"));
}

#[test]
fn reading_the_environment_outside_its_places_is_found() {
    let root = repository(&[
        ("proto/src/socket.rs", "env::var_os(name)"),
        ("client/src/a.rs", "let home = std::env::var(\"HOME\");"),
    ]);
    assert!(only(sources::environment(root.path())).starts_with("client/src/a.rs:1"));
}

#[test]
fn the_engine_in_the_supervisor_is_found() {
    let root = repository(&[
        ("daemon/src/worker/backend.rs", "use imgd_engine::Model;"),
        ("daemon/src/scheduler/actor.rs", "use imgd_engine::Model;"),
        ("engine/src/lib.rs", "use candle_core::Tensor;"),
    ]);
    assert!(only(sources::supervisor(root.path())).starts_with("daemon/src/scheduler/actor.rs:1"));
}

#[test]
fn files_that_no_module_declares_are_found() {
    let root = repository(&[
        ("cli/src/main.rs", "mod a;\nmod c;"),
        ("cli/src/a.rs", "mod b;"),
        ("cli/src/a/b.rs", ""),
        ("cli/src/c/mod.rs", ""),
        ("cli/src/c/lost.rs", ""),
    ]);
    assert!(only(lists::no_orphans(root.path())).starts_with("cli/src/c/lost.rs"));
}

#[test]
fn members_that_are_not_in_their_list_are_found() {
    let root = repository(&[
        (
            "cli/src/verbs/mod.rs",
            "mod a;\nmod b;\nenum Verb { A(a::A) }",
        ),
        ("cli/src/verbs/a.rs", ""),
        ("cli/src/verbs/b.rs", ""),
        (
            "engine/src/families/mod.rs",
            "mod sd;\nmod shared;\nsd::ENTRY",
        ),
        ("engine/src/families/sd/mod.rs", ""),
        ("engine/src/families/shared.rs", ""),
    ]);
    assert!(only(lists::listed(root.path())).starts_with("`b` of cli/src/verbs"));
}

#[test]
fn samplers_without_a_line_and_lines_without_a_sampler_are_found() {
    let root = repository(&[
        (
            "engine/src/sampling/mod.rs",
            "info(\"euler\", x), info(\"heun\", x)",
        ),
        ("engine/src/sampling/plan.rs", "euler::Euler, lms::Lms"),
        ("engine/src/sampling/euler.rs", "impl Solver for Euler {}"),
        ("engine/src/sampling/lms.rs", "impl Solver for Lms {}"),
    ]);
    let found = lists::samplers(root.path()).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("`heun`") && found[1].contains("lms.rs"),
        "{found:?}"
    );
}

#[test]
fn names_in_documents_that_lead_nowhere_are_found() {
    let text =
        "[a](docs/a.md) `cli/src/main.rs::main` `cli/src/main.rs::gone` [x](https://example.org/x)";
    let root = repository(&[
        ("README.md", text),
        ("ARCHITECTURE.md", ""),
        ("CONTRIBUTING.md", ""),
        ("CHANGELOG.md", ""),
        ("docs/a.md", "[back](../README.md)"),
        ("cli/src/main.rs", "fn main() {}"),
    ]);
    assert_eq!(
        only(documents::names(root.path())),
        "README.md: `cli/src/main.rs::gone`"
    );
    fs::write(Path::new(root.path()).join("docs/a.md"), "[lost](b.md)").unwrap();
    assert_eq!(documents::names(root.path()).unwrap().len(), 2);
}
