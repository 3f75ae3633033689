//! The programs: this one, and the `imgd` that it would start.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use imgd_client::survey;
use imgd_proto::PROTOCOL;
use tokio::time::{Instant, sleep};

use super::{finding::Finding, folders::is_changeable};
use crate::{Context, failure::Failure};

/// A program that is asked for its version or its settings has this long.
const LIMIT: Duration = Duration::from_secs(10);

/// What was found.
pub(super) struct Programs {
    pub(super) findings: Vec<Finding>,
    /// The `imgd` that would be started.
    pub(super) imgd: Option<PathBuf>,
}

pub(super) async fn look(context: &Context) -> Programs {
    let version = env!("CARGO_PKG_VERSION");
    let own = std::env::current_exe().map_or_else(
        |error| format!("its own file is not known: {error}"),
        |path| path.display().to_string(),
    );
    let mut findings = vec![Finding::ok(
        "imgctl",
        format!("{version} (protocol {PROTOCOL}), {own}"),
    )];
    let imgd = match survey::program(&context.connect) {
        Ok(imgd) => imgd,
        Err(error) => {
            let failure = Failure::from(error);
            let finding = Finding::problem(
                "imgd",
                failure
                    .message
                    .replace("imgd is not running, and its", "its"),
            );
            findings.push(finding.advice(failure.hint.unwrap_or_default()));
            return Programs {
                findings,
                imgd: None,
            };
        }
    };
    let (finding, is_imgd) = versioned(&imgd, version).await;
    findings.push(finding);
    findings.extend(replaceable(&imgd));
    Programs {
        findings,
        imgd: is_imgd.then_some(imgd),
    }
}

/// What the program says of itself, and whether it is an `imgd` at all.
async fn versioned(imgd: &Path, own_version: &str) -> (Finding, bool) {
    let shown = imgd.display();
    let said = match run(imgd, &["--version".as_ref()]).await {
        Ok(said) => said,
        Err(why) => {
            let finding = Finding::problem("imgd", format!("{shown} cannot be run: {why}"));
            let advice = "install it again, or name another one with IMGD_BIN";
            return (finding.advice(advice), false);
        }
    };
    let version = said.stdout.trim().strip_prefix("imgd ");
    let Some(version) = version.filter(|_| said.is_success) else {
        let found = format!("{shown} does not say its version: it is no imgd");
        let finding = Finding::problem("imgd", found);
        return (
            finding.advice("name the right one with IMGD_BIN, or leave it out"),
            false,
        );
    };
    if version == own_version {
        return (Finding::ok("imgd", format!("{version}, {shown}")), true);
    }
    let found = format!("{version}, {shown}: another version than imgctl's");
    let advice = "install both from one place; IMGD_BIN names another imgd";
    (Finding::note("imgd", found).advice(advice), true)
}

/// Whether other users may put another program in the place of `imgd`.
fn replaceable(imgd: &Path) -> Option<Finding> {
    let path = fs::canonicalize(imgd).ok()?;
    let metadata = fs::metadata(&path).ok()?;
    let (owner, uid) = (metadata.uid(), rustix::process::getuid().as_raw());
    let name = "imgd's file";
    if owner != uid && owner != 0 {
        let found = format!("it belongs to user {owner}, who may replace what is started");
        return Some(Finding::problem(name, found).advice("install imgd for yourself, or as root"));
    }
    is_changeable(&metadata).then(|| {
        let mode = metadata.mode() & 0o7777;
        let found = format!("mode {mode:04o}: other users may replace what is started");
        Finding::problem(name, found).advice(format!("chmod go-w '{}'", path.display()))
    })
}

/// What a program said and how it ended.
pub(super) struct Said {
    pub(super) is_success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program that says little and ends; fails when it does not within [`LIMIT`].
pub(super) async fn run(program: &Path, arguments: &[&std::ffi::OsStr]) -> Result<Said, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(5)).await,
            Ok(None) => {
                // It is ours, and hangs.
                child.kill().ok();
                child.wait().ok();
                return Err(format!("it has not ended after {} s", LIMIT.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    Ok(Said {
        is_success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
