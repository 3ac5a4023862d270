//! [`Fleet`]: any number of broadcasts over one host.
//!
//! Each broadcast has a session of its own, because a session is admitted for one input. The fleet
//! routes a session's inputs to its broadcast, and looks only at broadcasts that something happened
//! to; the deadlines of the others stand in an ordered set.
//! Limits: the number of broadcasts, which the owner gives.

use super::broadcaster::{Broadcaster, Event};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::publisher;
use crate::time::Instant;
use crate::transport::{Action, App, Input, Output, SessionId};
use std::collections::VecDeque;

/// Names a broadcast in its fleet; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastId(pub u64);

/// The fleet has as many broadcasts as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {0} broadcasts of this program are in use")]
pub struct FleetFull(pub usize);

/// Broadcasts that share a host. See the module.
#[derive(Debug)]
pub struct Fleet {
    members_max: usize,
    next: u64,
    members: BTreeMap<BroadcastId, Broadcaster>,
    owners: BTreeMap<SessionId, BroadcastId>,
    /// Members whose queues may hold something.
    touched: BTreeSet<BroadcastId>,
    deadlines: BTreeSet<(Instant, BroadcastId)>,
    deadline_of: BTreeMap<BroadcastId, Instant>,
    /// Last words of members that were removed.
    outputs: VecDeque<Output>,
}

impl Fleet {
    /// An empty fleet of at most `members_max` broadcasts.
    pub fn new(members_max: usize) -> Self {
        Self {
            members_max,
            next: 0,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            touched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            deadline_of: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes a broadcast in.
    pub fn add(&mut self, broadcaster: Broadcaster) -> Result<BroadcastId, FleetFull> {
        if self.members.len() >= self.members_max {
            return Err(FleetFull(self.members_max));
        }
        let id = BroadcastId(self.next);
        self.next = self.next.saturating_add(1);
        self.members.insert(id, broadcaster);
        self.touched.insert(id);
        Ok(id)
    }

    /// Says that a session which is being opened is for this broadcast.
    pub fn assign(&mut self, session: SessionId, id: BroadcastId) {
        if self.members.contains_key(&id) {
            self.owners.insert(session, id);
        }
    }

    /// A broadcast, to command.
    pub fn member_mut(&mut self, id: BroadcastId) -> Option<&mut Broadcaster> {
        self.touched.insert(id);
        self.members.get_mut(&id)
    }

    /// A broadcast, to look at.
    pub fn member(&self, id: BroadcastId) -> Option<&Broadcaster> {
        self.members.get(&id)
    }

    /// How many broadcasts there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Ends the sessions of a broadcast and lets go of it.
    pub fn remove(&mut self, id: BroadcastId, reason: &str) {
        let Some(mut member) = self.members.remove(&id) else {
            return;
        };
        member.close(reason);
        while let Some(action) = member.poll() {
            if let Action::Transport(output) = action {
                self.outputs.push_back(output);
            }
        }
        self.owners.retain(|_, owner| *owner != id);
        self.touched.remove(&id);
        self.set_deadline(id, None);
    }

    fn set_deadline(&mut self, id: BroadcastId, deadline: Option<Instant>) {
        let before = match deadline {
            Some(deadline) => self.deadline_of.insert(id, deadline),
            None => self.deadline_of.remove(&id),
        };
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
    }
}

impl App for Fleet {
    type Event = (BroadcastId, Event);

    fn handle(&mut self, now: Instant, input: Input) {
        let (Input::Opened { session, .. }
        | Input::Stream { session, .. }
        | Input::Datagram { session, .. }
        | Input::Closed { session, .. }) = &input;
        let Some(id) = self.owners.get(session).copied() else {
            return;
        };
        if let Some(member) = self.member_mut(id) {
            member.handle(now, input);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.set_deadline(id, None);
            if let Some(member) = self.member_mut(id) {
                member.handle_timeout(now);
            }
        }
    }

    fn poll(&mut self) -> Option<Action<Self::Event>> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(Action::Transport(output));
        }
        while let Some(id) = self.touched.first().copied() {
            let action = self.members.get_mut(&id).and_then(Broadcaster::poll);
            match action {
                Some(Action::Transport(output)) => return Some(Action::Transport(output)),
                Some(Action::Event(event)) => {
                    if let Event::Session(publisher::Event::Closed { session, .. }) = &event {
                        self.owners.remove(session);
                    }
                    return Some(Action::Event((id, event)));
                }
                None => {
                    self.touched.remove(&id);
                    let deadline = self.members.get(&id).and_then(Broadcaster::next_timeout);
                    self.set_deadline(id, deadline);
                }
            }
        }
        None
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}
