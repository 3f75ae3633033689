//! What each client has been given, so that clients of one class take turns.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996) over pixel-evaluations: a
//! picture's start tag is its client's last finish tag, its finish tag that plus its work, and the least start tag is
//! served first. A client that comes, or comes back, begins at the class's virtual time, the start tag in service: it
//! gets no credit for the time before, and one that was greedy owes no more than what it has begun.

use std::collections::{BTreeMap, BTreeSet};

use super::{Class, ClientId};

/// The finish tags of clients, in pixel-evaluations.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    finish: BTreeMap<(Class, ClientId), u64>,
    /// The greatest start tag that was ever served to its end, a class.
    floor: BTreeMap<Class, u64>,
}

impl Accounts {
    /// The start tag of the client's next picture at the class's virtual time.
    pub(super) fn tag(&self, class: Class, client: ClientId, virtual_time: u64) -> u64 {
        self.fixed_tag(class, client).unwrap_or(virtual_time)
    }

    /// The start tag of the next picture of a client that has waited or been served before.
    pub(super) fn fixed_tag(&self, class: Class, client: ClientId) -> Option<u64> {
        self.finish.get(&(class, client)).copied()
    }

    /// Fixes the tags of clients that wait, before the virtual time moves on; forgets those of clients that neither wait
    /// nor owe.
    pub(super) fn settle(
        &mut self,
        waiting: &BTreeSet<(Class, ClientId)>,
        virtual_time: impl Fn(Class) -> u64,
    ) {
        self.finish
            .retain(|client, finish| waiting.contains(client) || *finish > virtual_time(client.0));
        for client in waiting {
            self.finish
                .entry(*client)
                .or_insert_with(|| virtual_time(client.0));
        }
    }

    /// A class had nothing to do: all that was owed is forgiven.
    pub(super) fn idle(&mut self, class: Class) {
        self.finish.retain(|(other, _), _| *other != class);
    }

    /// A client comes, or comes back, at the class's virtual time.
    pub(super) fn came(&mut self, class: Class, client: ClientId, virtual_time: u64) {
        let finish = self.finish.entry((class, client)).or_default();
        *finish = virtual_time.max(*finish);
    }

    /// A picture of the client was begun; `work` is what it takes. Returns its start tag.
    pub(super) fn charge(
        &mut self,
        class: Class,
        client: ClientId,
        virtual_time: u64,
        work: u64,
    ) -> u64 {
        let finish = self.finish.entry((class, client)).or_insert(virtual_time);
        let start_tag = *finish;
        *finish = start_tag.saturating_add(work);
        start_tag
    }

    /// So much of what was charged was not made.
    pub(super) fn refund(&mut self, class: Class, client: ClientId, work: u64) {
        if let Some(finish) = self.finish.get_mut(&(class, client)) {
            *finish = finish.saturating_sub(work);
        }
    }

    /// A picture with that start tag is in flight no more.
    pub(super) fn ended(&mut self, class: Class, start_tag: u64) {
        let floor = self.floor.entry(class).or_default();
        *floor = start_tag.max(*floor);
    }

    /// The virtual time of a class of which nothing is in flight.
    pub(super) fn floor(&self, class: Class) -> u64 {
        self.floor.get(&class).copied().unwrap_or(0)
    }
}
