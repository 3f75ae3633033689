//! Where the programs under test are.
//!
//! `cargo test --workspace` builds them before any test runs, since their packages have integration tests. When one
//! package is tested alone they may be missing or older than their sources, and are built here.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::SystemTime,
};

/// Path of `imgd`, `imgctl` or `imgd-faulty` (an `imgd` with faults on demand), built from the sources as they are.
///
/// `IMGD_E2E_BIN` names a folder to take both from instead, such as that of a release build.
///
/// # Panics
/// When there is none and none can be built.
pub fn program(name: &'static str) -> PathBuf {
    static IMGD: OnceLock<PathBuf> = OnceLock::new();
    static IMGCTL: OnceLock<PathBuf> = OnceLock::new();
    static FAULTY: OnceLock<PathBuf> = OnceLock::new();
    let cell = match name {
        "imgd" => &IMGD,
        "imgctl" => &IMGCTL,
        "imgd-faulty" => &FAULTY,
        other => panic!("no program is called `{other}`"),
    };
    cell.get_or_init(|| find(name)).clone()
}

fn find(name: &str) -> PathBuf {
    if let Some(folder) = environment("IMGD_E2E_BIN") {
        let path = Path::new(&folder).join(name);
        assert!(path.is_file(), "IMGD_E2E_BIN has no `{name}`");
        return path;
    }
    if let Some(path) = profile_folder().map(|folder| folder.join(name))
        && is_current(&path)
    {
        return path;
    }
    build(name)
}

/// The folder of the build profile this test or program was built in; the usual one for a doc example, which lies
/// elsewhere.
fn profile_folder() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let folder = here.parent()?;
    let of_test = (folder.file_name() == Some(OsStr::new("deps"))).then(|| folder.parent());
    let of_program = folder.join("deps").is_dir().then_some(folder);
    of_test
        .flatten()
        .or(of_program)
        .map(Path::to_path_buf)
        .or_else(|| {
            let target = environment("CARGO_TARGET_DIR")
                .map_or_else(|| repository().join("target"), PathBuf::from);
            Some(target.join("debug"))
        })
}

/// Whether the program is there and no source it was made from is younger. Cargo lists the sources beside it.
fn is_current(program: &Path) -> bool {
    let Ok(built) = modified(program) else {
        return false;
    };
    let Ok(sources) = fs::read_to_string(program.with_extension("d")) else {
        return true;
    };
    // `program: source source …`, with spaces inside names written `\ `
    let sources = sources.split_once(": ").map_or("", |(_, list)| list);
    let sources = sources.replace("\\ ", "\u{0}");
    sources
        .split_whitespace()
        .all(|source| modified(Path::new(&source.replace('\u{0}', " "))).is_ok_and(|t| t <= built))
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Builds the program and returns where Cargo says it is.
fn build(name: &str) -> PathBuf {
    let profile = profile_folder().and_then(|folder| {
        let name = folder.file_name()?.to_str()?.to_owned();
        Some(if name == "debug" { "dev".into() } else { name })
    });
    let output = Command::new(environment("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(repository())
        .args(["build", "--bin", name])
        // both packages, so that their dependencies have the features that they have in a build of all
        .args(["--package", "imgd", "--package", "imgctl"])
        .args(match name {
            "imgd-faulty" => &["--features", "imgd/faults"][..],
            _ => &[],
        })
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--profile", profile.as_deref().unwrap_or("dev")])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs: it runs this test");
    assert!(output.status.success(), "`{name}` does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo says where it put what it built")
}

/// The root of the repository. Tests run in their package's folder; not a path known at compile time, since
/// checkouts may share a build folder.
///
/// # Panics
/// When the current folder is outside.
pub fn repository() -> PathBuf {
    let here = std::env::current_dir().expect("the current folder exists");
    let root = here
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("tests run inside the workspace").to_path_buf()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests find the programs by what Cargo sets; no program of ours links this"
)]
fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}
