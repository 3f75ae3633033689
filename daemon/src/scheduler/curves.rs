//! What sharing evaluations costs, kept between two lives of the daemon: measured by this build, with so many threads.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use imgd_proto::v1;
use tracing::warn;

use super::{actor::Actor, writing::Report};
use crate::{
    engine::ModelKey,
    journal,
    queue::{Curve, CurvePoint, Group, SecondPass},
};

impl Actor {
    /// A model is in memory: what was measured of it before counts again.
    pub(super) fn restore_curves(&mut self, model: &ModelKey) {
        let Some(loaded) = self.loaded.get(model) else {
            return;
        };
        let mut points: Vec<_> = self.stored_curves.iter().collect();
        let measured_by = self.measured_by(model);
        points.retain(|point| {
            point.model_hash == loaded.model_hash
                && point.threads == loaded.threads
                && point.build_id == measured_by
        });
        points.sort_by_key(|point| group(point));
        for same in points.chunk_by(|a, b| group(a) == group(b)) {
            let curve = Curve::restore(same.iter().map(|point| CurvePoint {
                generations: point.batch_size,
                seconds: point.seconds,
            }));
            if let Some(first) = same.first() {
                self.state.curves.restore(model, group(first), curve);
            }
        }
    }

    /// The program, and the numbers it computes with for this model.
    fn measured_by(&self, model: &ModelKey) -> String {
        format!(
            "{} {}",
            self.options.build_id,
            model.precision.as_str_name()
        )
    }

    /// More is known of a curve: it is written down.
    pub(super) fn store_curve(&mut self, model: &ModelKey, group: Group) {
        // What adapters cost is known while they are used; the next ones are others.
        if group.adapters != 0 {
            return;
        }
        let (Some(loaded), Some(curve)) =
            (self.loaded.get(model), self.state.curves.get(model, group))
        else {
            return;
        };
        let points: Vec<_> = curve
            .points()
            .map(|point| journal::CurvePoint {
                model_hash: loaded.model_hash.clone(),
                width_px: group.width_px,
                height_px: group.height_px,
                is_guided: group.is_guided,
                threads: loaded.threads,
                build_id: self.measured_by(model),
                batch_size: point.generations,
                seconds: point.seconds,
            })
            .collect();
        let stored = self.journal.curve(points);
        self.reports.spawn(async move {
            if let Err(failure) = stored.await {
                warn!("what was measured is not kept: {failure}");
            }
            Report::Nothing
        });
    }
}

fn group(point: &journal::CurvePoint) -> Group {
    Group {
        width_px: point.width_px,
        height_px: point.height_px,
        is_guided: point.is_guided,
        adapters: 0,
    }
}

/// What the engine's settings have in common with others of one evaluation.
pub(super) fn group_of(settings: &v1::Settings) -> Group {
    let is_plain = settings.loras.is_empty()
        && settings.controls.is_empty()
        && settings.ref_image_sha256.is_empty();
    let adapters = if is_plain {
        0
    } else {
        let mut hasher = DefaultHasher::new();
        for lora in &settings.loras {
            (&lora.sha256, lora.weight.to_bits()).hash(&mut hasher);
        }
        // ControlNets take time of their own; their pictures and weights may differ.
        for control in &settings.controls {
            (0_u8, &control.sha256).hash(&mut hasher);
        }
        // So do pictures to look at, most of which are brought to about one size.
        if !settings.ref_image_sha256.is_empty() {
            (1_u8, settings.ref_image_sha256.len()).hash(&mut hasher);
        }
        hasher.finish().max(1)
    };
    let (width_px, height_px) = match &settings.upscale {
        // An evaluation is a tile.
        Some(upscale) => (upscale.tile_width_px, upscale.tile_height_px),
        None => (settings.width_px, settings.height_px),
    };
    Group {
        width_px,
        height_px,
        is_guided: settings.is_guided,
        adapters,
    }
}

/// The second pass that the engine's settings have.
pub(super) fn second_pass_of(settings: &v1::Settings) -> Option<SecondPass> {
    let hires = settings.hires.as_ref()?;
    Some(SecondPass {
        after: hires.first_pass_evaluations,
        group: Group {
            width_px: hires.width_px,
            height_px: hires.height_px,
            ..group_of(settings)
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(loras: &[(&str, f64)]) -> Group {
        group_of(&v1::Settings {
            loras: loras
                .iter()
                .map(|(sha256, weight)| v1::UsedLora {
                    sha256: (*sha256).to_owned(),
                    weight: *weight,
                    ..v1::UsedLora::default()
                })
                .collect(),
            ..v1::Settings::default()
        })
    }

    #[test]
    fn the_same_control_nets_share_whatever_they_see() {
        let with = |controls: &[(&str, &str)]| {
            let used = controls.iter().map(|(sha256, image)| v1::UsedControl {
                sha256: (*sha256).to_owned(),
                image_sha256: (*image).to_owned(),
                ..v1::UsedControl::default()
            });
            group_of(&v1::Settings {
                controls: used.collect(),
                ..v1::Settings::default()
            })
        };
        assert_eq!(with(&[]).adapters, 0);
        assert_eq!(with(&[("a", "1")]), with(&[("a", "2")]));
        for other in [&[][..], &[("b", "1")], &[("a", "1"), ("b", "1")]] {
            assert_ne!(with(&[("a", "1")]), with(other));
        }
    }

    #[test]
    fn as_many_pictures_to_look_at_share_whatever_they_show() {
        let with = |pictures: &[&str]| {
            group_of(&v1::Settings {
                ref_image_sha256: pictures.iter().map(ToString::to_string).collect(),
                ..v1::Settings::default()
            })
        };
        assert_eq!(with(&[]).adapters, 0);
        assert_eq!(with(&["a"]), with(&["b"]));
        assert_ne!(with(&["a"]), with(&[]));
        assert_ne!(with(&["a"]), with(&["a", "b"]));
    }

    #[test]
    fn the_same_adapters_share_and_others_do_not() {
        assert_eq!(with(&[]).adapters, 0);
        assert_eq!(with(&[("a", 0.5)]), with(&[("a", 0.5)]));
        for other in [
            &[][..],
            &[("a", 0.6)],
            &[("b", 0.5)],
            &[("a", 0.5), ("b", 0.5)],
        ] {
            assert_ne!(with(&[("a", 0.5)]), with(other));
        }
    }
}
