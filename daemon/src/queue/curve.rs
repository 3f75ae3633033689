//! What sharing an evaluation costs on this machine: seconds of one evaluation by the number of generations in it.
//!
//! Learned from the evaluations that are made anyway. Trying a number costs nothing: it is useful work, and no picture
//! depends on what it was computed with.

use std::collections::BTreeMap;

use super::Group;
use crate::engine::ModelKey;

/// Numbers of generations that are tried, in order. Beyond the last, a tick would keep an arrival waiting for long.
pub(super) const LADDER: [u32; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// Sharing has to be cheaper than going one after another by this share: less is within what a busy machine's
/// measurements scatter, and a longer tick keeps an arrival waiting longer.
const WORTH: f64 = 0.08;

/// The smallest number that costs at most this share more than the cheapest is taken: the rest is not worth the wait.
const CLOSE: f64 = 0.04;

/// The next larger number is tried while each was cheaper than all before by this share.
const PROMISING: f64 = 0.02;

/// Evaluations of a number before it is believed: the first one also pays for pages that are touched for the first time.
const TRUSTED: usize = 2;

/// Evaluations of a number that are remembered. The least of them counts: what disturbs a measurement makes it longer.
const REMEMBERED: usize = 5;

/// After so many evaluations without it, the next larger number is tried again: machines change.
const STALE: u64 = 512;

/// A change by this share is worth storing.
const NEWS: f64 = 0.1;

/// Curves that are kept at once; each takes a few hundred bytes.
const MAX_CURVES: usize = 256;

/// One number of generations, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Generations in the evaluation.
    pub generations: u32,
    /// Seconds it takes.
    pub seconds: f64,
}

/// Seconds of one evaluation by the number of generations in it, of one model and group.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    samples: BTreeMap<u32, Samples>,
    /// Evaluations measured.
    evaluations: u64,
}

#[derive(Debug, Clone, Default)]
struct Samples {
    /// The last ones, oldest first.
    seconds: Vec<f64>,
    /// [`Curve::evaluations`] at the last one.
    at: u64,
}

impl Samples {
    fn seconds(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

impl Curve {
    /// The curve that was stored.
    pub fn restore(points: impl IntoIterator<Item = CurvePoint>) -> Self {
        let mut curve = Self::default();
        for point in points {
            // A stored point was believed.
            for _ in 0..TRUSTED {
                curve.measured(point.generations, point.seconds);
            }
        }
        curve
    }

    /// What is believed, to store.
    pub fn points(&self) -> impl Iterator<Item = CurvePoint> {
        self.trusted().map(|(generations, seconds)| CurvePoint {
            generations,
            seconds,
        })
    }

    /// An evaluation of so many generations took so long.
    pub fn measured(&mut self, generations: u32, seconds: f64) {
        if generations == 0 || !seconds.is_finite() || seconds <= 0.0 {
            return;
        }
        self.evaluations += 1;
        let samples = self.samples.entry(generations).or_default();
        if samples.seconds.len() >= REMEMBERED {
            samples.seconds.remove(0);
        }
        samples.seconds.push(seconds);
        samples.at = self.evaluations;
    }

    /// Seconds that an evaluation of so many generations takes, where it is known.
    pub fn seconds(&self, generations: u32) -> Option<f64> {
        self.samples
            .get(&generations)
            .filter(|samples| samples.seconds.len() >= TRUSTED)
            .map(Samples::seconds)
    }

    /// How many of `available` generations, at least 1, are to share the next evaluation: the number that pays best,
    /// or the next one to try.
    pub fn best(&self, available: u32) -> u32 {
        self.to_try(available)
            .unwrap_or_else(|| self.best_known(available))
    }

    /// The number that pays best of those that are known: the smallest that is close to the cheapest, and one where the
    /// cheapest saves no more than noise.
    pub fn best_known(&self, available: u32) -> u32 {
        let known = || {
            self.trusted()
                .filter(|(generations, _)| *generations <= available)
                .map(|(generations, seconds)| (generations, seconds / f64::from(generations)))
        };
        let least = known().map(|(_, each)| each).fold(f64::INFINITY, f64::min);
        let alone = self.seconds(1).unwrap_or(f64::INFINITY);
        if least > alone * (1.0 - WORTH) {
            return 1;
        }
        let mut close = known().filter(|(_, each)| *each <= least * (1.0 + CLOSE));
        close.next().map_or(1, |(generations, _)| generations)
    }

    /// Whether so many together take less than one after another.
    pub fn pays(&self, generations: u32) -> bool {
        match (self.seconds(1), self.seconds(generations)) {
            (Some(one), Some(all)) => {
                generations == 1 || all <= one * f64::from(generations) * (1.0 - WORTH)
            }
            _ => false,
        }
    }

    /// The smallest number to try that is not known, as long as each larger one paid better than all before; or the
    /// next larger than the best when it was not tried for long.
    fn to_try(&self, available: u32) -> Option<u32> {
        let mut least = f64::INFINITY;
        for generations in LADDER {
            if generations > available {
                return None;
            }
            let Some(seconds) = self.seconds(generations) else {
                return Some(generations);
            };
            let each = seconds / f64::from(generations);
            if each > least * (1.0 - PROMISING) {
                let is_stale = self
                    .samples
                    .get(&generations)
                    .is_some_and(|samples| samples.at + STALE <= self.evaluations);
                return is_stale.then_some(generations);
            }
            least = each;
        }
        None
    }

    fn trusted(&self) -> impl Iterator<Item = (u32, f64)> {
        self.samples
            .iter()
            .filter(|(_, samples)| samples.seconds.len() >= TRUSTED)
            .map(|(generations, samples)| (*generations, samples.seconds()))
    }
}

/// The curves of all models and groups.
#[derive(Debug, Clone, Default)]
pub struct Curves(BTreeMap<(ModelKey, Group), Curve>);

impl Curves {
    /// The curve, where anything is known of it.
    pub fn get(&self, model: &ModelKey, group: Group) -> Option<&Curve> {
        self.0.get(&(model.clone(), group))
    }

    /// Puts a stored curve in the place of nothing; one that was measured meanwhile is kept.
    pub fn restore(&mut self, model: &ModelKey, group: Group, curve: Curve) {
        self.0.entry((model.clone(), group)).or_insert(curve);
    }

    /// An evaluation was made. Returns whether what is believed has changed so much that it is worth storing.
    pub fn measured(
        &mut self,
        model: &ModelKey,
        group: Group,
        generations: u32,
        seconds: f64,
    ) -> bool {
        let key = (model.clone(), group);
        if !self.0.contains_key(&key) && self.0.len() >= MAX_CURVES {
            self.0.pop_first();
        }
        let curve = self.0.entry(key).or_default();
        let before = curve.seconds(generations);
        curve.measured(generations, seconds);
        match (before, curve.seconds(generations)) {
            (Some(before), Some(after)) => (after / before - 1.0).abs() > NEWS,
            (before, after) => before.is_none() && after.is_some(),
        }
    }

    /// All of a model, to store.
    pub fn of_model<'a>(&'a self, model: &'a ModelKey) -> impl Iterator<Item = (Group, &'a Curve)> {
        self.0
            .iter()
            .filter(move |((key, _), _)| key == model)
            .map(|((_, group), curve)| (*group, curve))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::{Curve, LADDER, TRUSTED, WORTH};

    /// Learns what a machine takes, which has `available` generations for each evaluation.
    fn learn(curve: &mut Curve, available: u32, evaluations: u32, seconds: impl Fn(u32) -> f64) {
        for _ in 0..evaluations {
            let generations = curve.best(available);
            curve.measured(generations, seconds(generations));
        }
    }

    #[test]
    fn numbers_are_tried_as_long_as_each_pays_better() {
        let mut curve = Curve::default();
        let mut tried = Vec::new();
        // Four share an evaluation well, more do not.
        let seconds =
            |number: u32| 1.0 + 0.1 * f64::from(number) + f64::from(number.saturating_sub(4));
        for _ in 0..20 {
            let generations = curve.best(16);
            curve.measured(generations, seconds(generations));
            tried.push(generations);
        }
        assert_eq!(tried[..10], [1, 1, 2, 2, 3, 3, 4, 4, 6, 6]);
        assert!(
            tried[10..].iter().all(|generations| *generations == 4),
            "{tried:?}"
        );
        assert!(curve.pays(4) && curve.pays(6) && !curve.pays(8));
    }

    #[test]
    fn a_machine_that_gains_nothing_works_on_one_at_a_time() {
        let mut curve = Curve::default();
        learn(&mut curve, 16, 10, f64::from);
        assert_eq!(curve.best(16), 1);
        assert!(!curve.pays(2));
    }

    #[test]
    fn one_hiccup_is_forgiven_and_a_machine_that_changed_is_noticed() {
        let mut curve = Curve::default();
        let shared = |number: u32| 1.0 + 0.1 * f64::from(number);
        curve.measured(1, shared(1));
        curve.measured(1, shared(1));
        curve.measured(2, 10.0);
        learn(&mut curve, 4, 20, shared);
        assert_eq!(curve.best(4), 4);
        // Sharing stops to pay, and after a while is found to pay again.
        learn(&mut curve, 4, 40, |number| f64::from(number * number));
        assert_eq!(curve.best(4), 1);
        learn(&mut curve, 4, 2000, shared);
        assert_eq!(curve.best(4), 4);
    }

    #[test]
    fn what_is_stored_is_believed_when_it_comes_back() {
        let mut curve = Curve::default();
        learn(&mut curve, 8, 30, |number| 1.0 + 0.1 * f64::from(number));
        let restored = Curve::restore(curve.points());
        assert_eq!(restored.best(8), curve.best(8));
        assert_eq!(restored.seconds(8), curve.seconds(8));
        assert_eq!(Curve::restore([]).best(8), 1);
    }

    #[test]
    fn nonsense_is_not_measured() {
        let mut curve = Curve::default();
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            curve.measured(1, seconds);
            curve.measured(1, seconds);
        }
        curve.measured(0, 1.0);
        assert_eq!(curve.points().count(), 0);
    }

    proptest! {
        #[test]
        fn the_choice_is_monotone_and_never_worse_than_one_by_more_than_noise(
            seconds in prop::collection::vec(0.01f64..100.0, LADDER.len()),
            known in 0usize..=LADDER.len(),
        ) {
            let mut curve = Curve::default();
            for (generations, seconds) in LADDER.into_iter().zip(&seconds).take(known) {
                for _ in 0..TRUSTED {
                    curve.measured(generations, *seconds);
                }
            }
            let mut before = 1;
            for available in 1..=20 {
                let best = curve.best_known(available);
                prop_assert!(best <= available);
                prop_assert!(before <= best, "more to choose from made it fewer");
                prop_assert!(curve.best(available) <= available);
                before = best;
                if best > 1 {
                    let alone = curve.seconds(1).unwrap_or(f64::INFINITY);
                    let each = curve.seconds(best).unwrap() / f64::from(best);
                    prop_assert!(each <= alone * (1.0 - WORTH));
                    prop_assert!(curve.seconds(1).is_none() || curve.pays(best));
                }
            }
        }
    }
}
