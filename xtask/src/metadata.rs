//! What Cargo says about the workspace and the crates it needs.

use std::{collections::BTreeMap, io, path::Path, process::Command};

use serde_json::Value;

/// What Cargo says about the workspace.
pub(crate) struct Metadata {
    json: Value,
}

impl Metadata {
    /// Asks Cargo, for the platform this was built for.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let output = Command::new("cargo")
            .current_dir(root)
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", host()])
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr)));
        }
        let json = serde_json::from_slice(&output.stdout)?;
        Ok(Self { json })
    }

    fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
        value[key].as_array().map_or(&[], Vec::as_slice)
    }

    /// What Cargo says about each crate.
    pub(crate) fn packages(&self) -> &[Value] {
        Self::list(&self.json, "packages")
    }

    /// Names of all crates by id, and whether they are ours.
    pub(crate) fn names(&self) -> BTreeMap<&str, (&str, bool)> {
        self.packages()
            .iter()
            .filter_map(|package| {
                let ours = package["source"].is_null();
                Some((package["id"].as_str()?, (package["name"].as_str()?, ours)))
            })
            .collect()
    }

    /// The crates that become part of `id` itself.
    pub(crate) fn linked(&self, id: &str) -> impl Iterator<Item = &str> {
        let node = Self::list(&self.json["resolve"], "nodes")
            .iter()
            .find(|node| node["id"] == id);
        let needs = node.map_or(&[][..], |node| Self::list(node, "deps"));
        needs.iter().filter_map(|dependency| {
            let mut kinds = Self::list(dependency, "dep_kinds").iter();
            let is_linked = kinds.any(|kind| kind["kind"].is_null());
            dependency["pkg"].as_str().filter(|_| is_linked)
        })
    }

    /// The crates that `id` was resolved to need, each with whether only its tests do.
    pub(crate) fn needs(&self, id: &str) -> Vec<(&str, bool)> {
        let node = Self::list(&self.json["resolve"], "nodes")
            .iter()
            .find(|node| node["id"] == id);
        node.map_or(&[][..], |node| Self::list(node, "deps"))
            .iter()
            .filter_map(|dependency| {
                let mut kinds = Self::list(dependency, "dep_kinds").iter();
                let only_tests = kinds.all(|kind| kind["kind"] == "dev");
                Some((dependency["pkg"].as_str()?, only_tests))
            })
            .collect()
    }
}

/// The platform this was built for, in Cargo's words.
const fn host() -> &'static str {
    if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
        "aarch64-apple-darwin"
    } else if cfg!(target_os = "macos") {
        "x86_64-apple-darwin"
    } else if cfg!(target_arch = "aarch64") {
        "aarch64-unknown-linux-gnu"
    } else {
        "x86_64-unknown-linux-gnu"
    }
}
