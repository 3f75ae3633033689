//! Where each picture of a job is: a byte for each that was ever begun, nothing for a job that waits.

use std::collections::{BTreeMap, BTreeSet};

use imgd_proto::v1::ImageState;
use tonic::codegen::Bytes;

/// Where a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is to be begun, or to go on.
    Waiting,
    /// It was held and is to go on; its state is in the journal alone.
    Unread,
    /// The same, and it is being read.
    Read,
    /// A worker has it.
    InFlight,
    /// It is finished, failed or held, and the journal does not know it yet.
    Stored,
    /// It came somewhere, and the journal knows it.
    Settled(ImageState),
}

/// A picture's state as it was saved last.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    pub(super) bytes: Bytes,
    pub(super) evaluations_done: u32,
    pub(super) evaluation_count: u32,
}

/// All pictures of a job.
#[derive(Debug, Default)]
pub(super) struct Images {
    count: u32,
    /// Of the pictures up to the last that is not waiting.
    places: Vec<Place>,
    /// No picture before this one was never begun.
    fresh: u32,
    /// Waiting pictures that were begun before.
    returned: BTreeSet<u32>,
    /// The last saved states, of waiting pictures and of those in flight.
    saved: BTreeMap<u32, Saved>,
}

impl Images {
    /// So many pictures that wait.
    pub(super) fn new(count: u32) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    /// Number of pictures.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Where a picture is.
    pub(super) fn place(&self, index: u32) -> Place {
        let place = usize::try_from(index).ok();
        place
            .and_then(|index| self.places.get(index))
            .copied()
            .unwrap_or(Place::Waiting)
    }

    /// A picture is somewhere else now.
    pub(super) fn put(&mut self, index: u32, place: Place) {
        let Ok(at) = usize::try_from(index) else {
            return;
        };
        if index >= self.count {
            return;
        }
        if at >= self.places.len() {
            self.places.resize(at + 1, Place::Waiting);
        }
        self.places[at] = place;
        match place {
            Place::Waiting => {
                self.returned.insert(index);
            }
            Place::InFlight => {
                self.returned.remove(&index);
            }
            Place::Unread | Place::Read | Place::Stored | Place::Settled(_) => {
                self.returned.remove(&index);
                self.saved.remove(&index);
            }
        }
    }

    /// The picture to begin next, those that were begun before first; it is in flight from here on.
    pub(super) fn take_next(&mut self) -> Option<(u32, Option<Saved>)> {
        let index = match self.returned.first() {
            Some(&index) => index,
            None => {
                while self.fresh < self.count && self.place(self.fresh) != Place::Waiting {
                    self.fresh += 1;
                }
                (self.fresh < self.count).then_some(self.fresh)?
            }
        };
        self.put(index, Place::InFlight);
        Some((index, self.saved.get(&index).cloned()))
    }

    /// A picture's state was saved.
    pub(super) fn save(&mut self, index: u32, saved: Saved) {
        self.saved.insert(index, saved);
    }

    /// The state that a picture would go on from.
    pub(super) fn saved(&self, index: u32) -> Option<&Saved> {
        self.saved.get(&index)
    }

    /// A picture's saved state is of no use. Returns whether there was one.
    pub(super) fn lose(&mut self, index: u32) -> bool {
        self.saved.remove(&index).is_some()
    }

    /// Pictures that wait and were begun before.
    pub(super) fn returned(&self) -> usize {
        self.returned.len()
    }

    /// Number of pictures that came there.
    pub(super) fn settled(&self, state: ImageState) -> u32 {
        self.number(Place::Settled(state))
    }

    /// Number of pictures that are there.
    pub(super) fn number(&self, wanted: Place) -> u32 {
        let known = self.places.iter().filter(|place| **place == wanted).count();
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        if wanted == Place::Waiting {
            let begun = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            return known + self.count.saturating_sub(begun);
        }
        known
    }

    /// The pictures that came there, in order.
    pub(super) fn in_state(&self, state: ImageState) -> Vec<u32> {
        (0..)
            .zip(&self.places)
            .filter(|(_, place)| **place == Place::Settled(state))
            .map(|(index, _)| index)
            .collect()
    }

    /// The first picture in that place.
    pub(super) fn first(&self, wanted: Place) -> Option<u32> {
        let place = self.places.iter().position(|place| *place == wanted)?;
        u32::try_from(place).ok()
    }

    /// Pictures of which nothing is left to go on from wait again from the beginning.
    pub(super) fn begin_again(&mut self, index: u32) {
        self.put(index, Place::Waiting);
        self.returned.remove(&index);
        self.saved.remove(&index);
        self.fresh = self.fresh.min(index);
    }
}

#[cfg(test)]
mod tests {
    use imgd_proto::v1::ImageState;
    use tonic::codegen::Bytes;

    use super::{Images, Place, Saved};

    fn saved(evaluations_done: u32) -> Saved {
        Saved {
            bytes: Bytes::new(),
            evaluations_done,
            evaluation_count: 9,
        }
    }

    #[test]
    fn a_job_that_waits_holds_nothing_and_knows_its_number() {
        let images = Images::new(10_000);
        assert_eq!(images.places.capacity(), 0);
        assert_eq!(images.number(Place::Waiting), 10_000);
        assert_eq!(images.place(9_999), Place::Waiting);
    }

    #[test]
    fn pictures_are_taken_in_order_and_those_that_came_back_first() {
        let mut images = Images::new(4);
        assert_eq!(images.take_next().map(|(index, _)| index), Some(0));
        assert_eq!(images.take_next().map(|(index, _)| index), Some(1));
        images.save(1, saved(3));
        images.put(1, Place::Waiting);
        let (index, state) = images.take_next().unwrap();
        assert_eq!((index, state.unwrap().evaluations_done), (1, 3));
        assert_eq!(images.take_next().map(|(index, _)| index), Some(2));
        images.put(0, Place::Settled(ImageState::Done));
        images.put(1, Place::Settled(ImageState::Failed));
        assert!(images.saved(1).is_none());
        assert_eq!(images.take_next().map(|(index, _)| index), Some(3));
        assert!(images.take_next().is_none());
        assert_eq!(images.in_state(ImageState::Failed), [1]);
        assert_eq!(images.number(Place::InFlight), 2);
    }

    #[test]
    fn what_failed_can_begin_again_and_what_is_done_stays() {
        let mut images = Images::new(2);
        for index in 0..2 {
            assert_eq!(images.take_next().unwrap().0, index);
        }
        images.save(0, saved(5));
        images.put(0, Place::Settled(ImageState::Failed));
        images.put(1, Place::Settled(ImageState::Done));
        images.begin_again(0);
        let (index, state) = images.take_next().unwrap();
        assert_eq!((index, state.is_none()), (0, true));
        assert!(images.take_next().is_none());
    }
}
