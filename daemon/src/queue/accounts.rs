//! What each client has been given, so that clients of one class take turns.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996) over pixel-evaluations: a
//! picture's start tag is the later of its client's last finish tag and the class's virtual time; its finish tag is its
//! start tag plus its work. The least start tag is served first. The virtual time is the start tag in service, so a
//! client that was idle gets no credit for it, and one that was greedy owes no more than what it has begun.

use std::collections::BTreeMap;

use super::{Class, ClientId};

/// The finish tags of clients, in pixel-evaluations.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    finish: BTreeMap<(Class, ClientId), u64>,
    /// The greatest start tag that was ever served to its end, a class.
    floor: BTreeMap<Class, u64>,
}

impl Accounts {
    /// The start tag of the client's next picture; `in_service` is the least start tag of its class in flight.
    pub fn start_tag(&self, class: Class, client: ClientId, in_service: Option<u64>) -> u64 {
        let finish = self.finish.get(&(class, client)).copied().unwrap_or(0);
        finish.max(in_service.unwrap_or_else(|| self.floor(class)))
    }

    /// A picture of the client with that start tag was begun; `work` is what it takes.
    pub fn charge(&mut self, class: Class, client: ClientId, start_tag: u64, work: u64) {
        self.finish
            .insert((class, client), start_tag.saturating_add(work));
    }

    /// So much of what was charged was not made.
    pub fn refund(&mut self, class: Class, client: ClientId, work: u64) {
        if let Some(finish) = self.finish.get_mut(&(class, client)) {
            *finish = finish.saturating_sub(work);
        }
    }

    /// A picture with that start tag is in flight no more.
    pub fn ended(&mut self, class: Class, start_tag: u64) {
        let floor = self.floor.entry(class).or_default();
        *floor = start_tag.max(*floor);
    }

    /// A client has no jobs of the class any more; what it owes is kept as long as it says something.
    pub fn left(&mut self, class: Class) {
        let floor = self.floor(class);
        self.finish
            .retain(|(other, _), finish| *other != class || *finish > floor);
    }

    fn floor(&self, class: Class) -> u64 {
        self.floor.get(&class).copied().unwrap_or(0)
    }
}
