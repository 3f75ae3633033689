//! What ControlNets take of the memory before they are there: once a picture of theirs is begun, the engine says it.

use std::{fs, path::Path};

use imgd_proto::v1::Precision;

use super::{Order, Work, actor::Actor, desk::Desk};
use crate::{engine::ModelKey, queue::JobId};

/// As many as the engine keeps from one picture to the next (`engine/src/controls/cache.rs`).
const KEPT: usize = 2;

impl Actor {
    /// Memory that a job's ControlNets will take, in bytes, at most: weights on disk have half precision, or single precision,
    /// which becomes half of it where products are made of bf16. 0 where its model has them.
    pub(super) fn controls_bytes(&self, order: &Order) -> u64 {
        let paths = paths(order);
        if self.has_controls(&order.model, &paths) {
            return 0;
        }
        let on_disk = paths.iter().map(|path| on_disk(Path::new(path))).sum();
        match order.model.precision {
            Precision::F32 => 2 * on_disk,
            _ => on_disk,
        }
    }

    /// A picture of the job was begun: its ControlNets are there, and count among the model's memory, for others as well.
    pub(super) fn hold_controls(&mut self, id: JobId) {
        let Some(order) = self.desk(id).map(|desk| &desk.order) else {
            return;
        };
        let (model, used) = (order.model.clone(), paths(order));
        if used.is_empty() {
            return;
        }
        let held = self.held_controls.entry(model.clone()).or_default();
        held.retain(|path| !used.contains(path));
        held.truncate(KEPT.saturating_sub(used.len()));
        held.splice(0..0, used);
        let have = |desk: &Desk| {
            desk.order.model == model && self.has_controls(&model, &paths(&desk.order))
        };
        let jobs: Vec<JobId> = self
            .desks
            .iter()
            .filter(|(_, desk)| have(desk))
            .map(|(id, _)| *id)
            .collect();
        for id in jobs {
            if let Some(job) = self.state.job_mut(id) {
                job.controls_bytes = 0;
            }
        }
    }

    fn has_controls(&self, model: &ModelKey, paths: &[String]) -> bool {
        let held = self.held_controls.get(model);
        held.is_some_and(|held| {
            self.loaded.contains_key(model) && paths.iter().all(|path| held.contains(path))
        })
    }
}

/// The ControlNets of an order, each once.
fn paths(order: &Order) -> Vec<String> {
    let Work::Draw(submission) = &order.work else {
        return Vec::new();
    };
    let controls = submission.generate().controls.iter();
    let mut paths: Vec<String> = controls
        .map(|control| control.control_model.clone())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Size of a file's weights, or of those in a directory, of which one file is read; 0 where nothing can be read.
fn on_disk(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file);
    if let Some(file) = size(path) {
        return file.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| ending == "safetensors")
        })
        .filter_map(|path| size(&path))
        .map(|file| file.len())
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_as_large_as_its_largest_weights() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, size| {
            let path = folder.path().join(name);
            fs::write(&path, vec![0; size]).unwrap();
            path
        };
        write("config.json", 900);
        write("diffusion_pytorch_model.fp16.safetensors", 200);
        let file = write("diffusion_pytorch_model.safetensors", 400);
        assert_eq!(on_disk(folder.path()), 400);
        assert_eq!(on_disk(&file), 400);
        assert_eq!(on_disk(&folder.path().join("nowhere")), 0);
    }
}
