//! Who shares an evaluation: generations of one model, size and guidance, as many as pays and fits.

use std::time::Instant;

use super::{
    Class, Curve, Group, Image, Job, Known, Stage, State, Tick,
    order::{Lead, is_wanted, may_begin, may_go_on},
    residency::{free_bytes, is_ready, make_room, working_bytes},
};

/// Others may slow the one whose evaluation it is by this share where they are less urgent, or where somebody else
/// waits who cannot share it: nobody notices a twentieth.
const GUESTS_SLOW: f64 = 0.05;

/// How urgent a fellow is: its class, then its start tag.
type Rank = (Class, u64);

/// The evaluation that `image` leads: for it alone, or with fellows. Those that are worth it are begun first.
pub(super) fn step(state: &State, lead: &Lead<'_>, image: &Image, now: Instant) -> Tick {
    let leader = lead.candidate.job;
    let each_bytes = working_bytes(state, leader);
    if let Some(room) = make_room(state, each_bytes, &leader.model, Some(image.generation)) {
        return room;
    }
    let Some(group) = image.shared_group() else {
        return save_or_step(&[image], leader);
    };
    let unknown = Curve::default();
    let curve = state.curves.get(&leader.model, group).unwrap_or(&unknown);
    let table = Table {
        state,
        lead,
        image,
        group,
        other: first_other(state, leader, group, now),
        now,
    };
    let free_bytes = free_bytes(state, Some(image.generation));
    let most = u32::try_from(free_bytes.checked_div(each_bytes).unwrap_or(u64::MAX))
        .unwrap_or(u32::MAX)
        .max(1);
    let (mates, guests) = table.in_flight();
    let beginners = table.beginners();
    let waiting: u32 = beginners
        .iter()
        .fold(0, |sum, (_, job)| sum.saturating_add(job.images_left));
    let available = count(mates.len())
        .saturating_add(1)
        .saturating_add(waiting)
        .min(most);
    let number = curve.best(available);
    if let Some((rank, job)) = beginners.into_iter().min_by_key(|(rank, _)| *rank) {
        let before = mates.iter().filter(|(other, _)| *other <= rank).count();
        if 1 + count(before) < number {
            return match job.fingerprint {
                None => Tick::Look(job.id),
                Some(_) => Tick::Begin(job.id),
            };
        }
    }
    let mut together: Vec<&Image> = vec![image];
    together.extend(mates.into_iter().map(|(_, mate)| mate));
    let left_out = together.split_off(together.len().min(usize::try_from(number).unwrap_or(1)));
    let guests: Vec<_> = left_out.into_iter().chain(guests).collect();
    let number = guests_beside(curve, together.len(), guests.len(), most);
    together.extend(guests.into_iter().take(number));
    save_or_step(&together, leader)
}

/// The evaluation of these, or a save that one of them is due before it. A person's first one waits for none.
fn save_or_step(together: &[&Image], leader: &Job) -> Tick {
    let is_first = together
        .first()
        .is_some_and(|image| image.evaluations_done == 0);
    let due = together.iter().find(|image| image.is_save_due);
    match due {
        Some(due) if !(is_first && leader.class == Class::Interactive) => {
            Tick::Save(due.generation)
        }
        _ => Tick::Step(together.iter().map(|image| image.generation).collect()),
    }
}

/// How many of the guests do not slow the others.
fn guests_beside(curve: &Curve, others: usize, guests: usize, most: u32) -> usize {
    let fits = |number: usize| {
        let alone = curve.seconds(count(others));
        let together = curve.seconds(count(others + number));
        count(others + number) <= most
            && alone
                .zip(together)
                .is_some_and(|(alone, together)| together <= alone * (1.0 + GUESTS_SLOW))
    };
    (1..=guests).rev().find(|number| fits(*number)).unwrap_or(0)
}

/// The start tag of the first interactive work by another client that cannot share the evaluation.
fn first_other(state: &State, leader: &Job, group: Group, now: Instant) -> Option<u64> {
    if leader.class != Class::Interactive {
        return None;
    }
    let virtual_time = state.virtual_time(leader.class, now);
    let others = state.jobs.iter().filter(|job| {
        job.class == leader.class
            && job.client != leader.client
            && is_wanted(state, job, now)
            && !shares(state, job, leader, group)
    });
    others
        .filter_map(|job| {
            let images = job.images.iter().filter(|image| may_go_on(job, image));
            let tag = || state.accounts.tag(job.class, job.client, virtual_time);
            images
                .map(|image| image.start_tag)
                .chain(may_begin(state, job).then(tag))
                .min()
        })
        .min()
}

/// Whether pictures of the job, as far as is known, can share evaluations with those of `leader`, which are of `group`.
fn shares(state: &State, job: &Job, leader: &Job, group: Group) -> bool {
    let has_size = |known: &Known| {
        job.width_px.unwrap_or(known.width_px) == group.width_px
            && job.height_px.unwrap_or(known.height_px) == group.height_px
    };
    job.model == leader.model
        && match job.group {
            Some(own) => own == group,
            // In its second pass the leader is larger than those that begin.
            None if (job.width_px, job.height_px) == (leader.width_px, leader.height_px)
                && leader.group.is_none_or(|first| first == group) =>
            {
                true
            }
            None => state.known.get(&job.model).is_some_and(has_size),
        }
}

/// Those who may sit at the leader's table.
struct Table<'a> {
    state: &'a State,
    lead: &'a Lead<'a>,
    image: &'a Image,
    group: Group,
    /// See [`first_other`].
    other: Option<u64>,
    now: Instant,
}

impl<'a> Table<'a> {
    /// Pictures in flight: those that share for what pays, in order, and those that may only where it costs nothing.
    fn in_flight(&self) -> (Vec<(Rank, &'a Image)>, Vec<&'a Image>) {
        let leader = self.lead.candidate.job;
        let mut mates = Vec::new();
        let mut guests = Vec::new();
        for (job, image) in self.state.in_flight() {
            let shares = job.model == leader.model
                && image.shared_group() == Some(self.group)
                && image.stage == Stage::Denoising
                && image.generation != self.image.generation;
            if !shares || !may_go_on(job, image) || !is_wanted(self.state, job, self.now) {
                continue;
            }
            let has_turn = self.state.starving.turn() == Some(image.generation);
            let class = if has_turn { self.lead.top } else { job.class };
            let rank = (class, image.start_tag);
            if self.is_mate(rank) {
                mates.push((rank, image));
            } else {
                guests.push((rank, image));
            }
        }
        mates.sort_by_key(|(rank, mate)| (*rank, mate.generation));
        guests.sort_by_key(|(rank, guest)| (*rank, guest.generation));
        (mates, guests.into_iter().map(|(_, guest)| guest).collect())
    }

    /// Jobs whose next picture could be begun to share; in order of arrival.
    fn beginners(&self) -> Vec<(Rank, &'a Job)> {
        let leader = self.lead.candidate.job;
        let mut virtual_times = Vec::new();
        let jobs = self.state.jobs.iter().filter(|job| {
            job.images_left > 0
                && job.class <= self.lead.top
                && shares(self.state, job, leader, self.group)
                && is_wanted(self.state, job, self.now)
                && is_ready(self.state, job)
                && may_begin(self.state, job)
        });
        let mut beginners = Vec::new();
        for job in jobs {
            let known = virtual_times.iter().find(|(class, _)| *class == job.class);
            let virtual_time = known.map_or_else(
                || self.state.virtual_time(job.class, self.now),
                |(_, time)| *time,
            );
            if known.is_none() {
                virtual_times.push((job.class, virtual_time));
            }
            let tag = self.state.accounts.tag(job.class, job.client, virtual_time);
            let rank = (job.class, tag);
            if self.is_mate(rank) {
                beginners.push((rank, job));
            }
        }
        beginners
    }

    fn is_mate(&self, (class, tag): Rank) -> bool {
        let holds_up = class == Class::Interactive && self.other.is_some_and(|other| other < tag);
        class <= self.lead.top && !holds_up
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
