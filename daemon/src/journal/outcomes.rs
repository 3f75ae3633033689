//! What became of a job's pictures, as runs of equal ones: ten thousand finished pictures are one run.

use imgd_proto::v1::ImageState;

/// Pictures of a job that came somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    runs: Vec<Run>,
}

/// Pictures next to each other that ended alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index of the first.
    pub first: u32,
    /// Their number, at least 1.
    pub count: u32,
    /// What became of them.
    pub state: ImageState,
}

impl Outcomes {
    /// The runs, in order of index.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// What became of a picture; `None` for one that is still to be made.
    pub fn state(&self, index: u32) -> Option<ImageState> {
        let after = self.runs.partition_point(|run| run.first <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (index - run.first < run.count).then_some(run.state)
    }

    /// Number of pictures in this state.
    pub fn count(&self, state: ImageState) -> u32 {
        let alike = self.runs.iter().filter(|run| run.state == state);
        alike.map(|run| run.count).sum()
    }

    /// Every picture with what became of it, in order of index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, ImageState)> + '_ {
        self.runs
            .iter()
            .flat_map(|run| (run.first..run.first + run.count).map(|index| (index, run.state)))
    }

    /// Adds the next picture; its index is above all before.
    pub(super) fn push(&mut self, index: u32, state: ImageState) {
        match self.runs.last_mut() {
            Some(run) if run.state == state && run.first + run.count == index => run.count += 1,
            _ => self.runs.push(Run {
                first: index,
                count: 1,
                state,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_ended_alike_are_one_run() {
        let mut outcomes = Outcomes::default();
        for index in (0..5_000).chain(5_001..10_000) {
            outcomes.push(index, ImageState::Done);
        }
        outcomes.push(10_000, ImageState::Failed);
        assert_eq!(outcomes.runs().len(), 3);
        assert_eq!(outcomes.count(ImageState::Done), 9_999);
        assert_eq!(outcomes.state(4_999), Some(ImageState::Done));
        assert_eq!(outcomes.state(5_000), None);
        assert_eq!(outcomes.state(10_000), Some(ImageState::Failed));
        assert_eq!(outcomes.state(10_001), None);
        assert_eq!(outcomes.iter().count(), 10_000);
    }
}
