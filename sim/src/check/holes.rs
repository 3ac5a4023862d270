//! Holes: what a subscription gets of a subgroup has no hole that nobody told of.
//!
//! | class | what happened |
//! |---|---|
//! | `untold` | an object of a subgroup arrived, the one before it did not, and no stream of the group was reset |
//!
//! A hole is told by the reset of the stream that had it, which may arrive after the objects behind the
//! hole: streams are not ordered among each other. Objects of a group go to its subgroups in turn, so the next
//! one of a subgroup is as many places further as there are subgroups.

use super::{Checker, Finding, Observation, Place, Seen, finding, micros};
use crate::plan::{NodeId, Plan};
use mainstem_core::moqt::session::StreamEnd;
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "holes";
/// How long after the faults the word of a hole may take.
pub const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Groups of a subscription that are remembered.
const GROUPS_MAX: usize = 256;

type Subscription = (NodeId, u16, Key);

#[derive(Debug, Default)]
struct Group {
    /// The last object of each subgroup.
    last: BTreeMap<u64, u64>,
    was_reset: bool,
    hole: Option<(Instant, Place)>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Holes {
    subgroups: Vec<u64>,
    groups: BTreeMap<Subscription, BTreeMap<u64, Group>>,
    open: BTreeSet<(Instant, Subscription, u64)>,
    healed_at: Option<Instant>,
    now: Instant,
}

impl Holes {
    /// For the tracks of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            subgroups: plan.tracks.iter().map(|track| track.subgroups).collect(),
            groups: BTreeMap::new(),
            open: BTreeSet::new(),
            healed_at: None,
            now: Instant::ZERO,
        }
    }

    fn deliver(&mut self, at: Instant, of: Subscription, place: Place, subgroup: u64) {
        let step = self.subgroups.get(usize::from(place.track));
        let step = step.copied().unwrap_or(1).max(1);
        let groups = self.groups.entry(of).or_default();
        if groups.len() > GROUPS_MAX
            && let Some((gone, group)) = groups.pop_first()
            && let Some((at, _)) = group.hole
        {
            self.open.remove(&(at, of, gone));
        }
        let group = groups.entry(place.group).or_default();
        let before = group.last.insert(subgroup, place.object);
        let is_next = before.is_none_or(|before| place.object <= before.saturating_add(step));
        if !is_next && !group.was_reset && group.hole.is_none() {
            group.hole = Some((at, place));
            self.open.insert((at, of, place.group));
        }
    }

    fn told(&mut self, of: Subscription, number: u64) {
        let group = self
            .groups
            .entry(of)
            .or_default()
            .entry(number)
            .or_default();
        group.was_reset = true;
        if let Some((at, _)) = group.hole.take() {
            self.open.remove(&(at, of, number));
        }
    }

    fn forget(&mut self, is: impl Fn(&Subscription) -> bool) {
        self.groups.retain(|of, _| !is(of));
        self.open.retain(|(_, of, _)| !is(of));
    }

    /// The hole that nobody told of in time.
    fn overdue(&self) -> Option<(NodeId, Place)> {
        let (at, of, group) = self.open.first()?;
        let since = self.healed_at?.max(*at);
        if self.now.saturating_since(since) <= TOLD_WITHIN {
            return None;
        }
        let group = self.groups.get(of)?.get(group)?;
        group.hole.map(|(_, place)| (of.0, place))
    }
}

impl Checker for Holes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        self.now = observation.at;
        let (node, life) = (observation.node, observation.life);
        match &observation.seen {
            Seen::Healed => self.healed_at = Some(observation.at),
            Seen::Delivered {
                key,
                place,
                object,
                is_past: false,
            } => {
                if let Some(subgroup) = object.subgroup {
                    self.deliver(observation.at, (node, life, *key), *place, subgroup);
                }
            }
            Seen::SubgroupEnded {
                key,
                group,
                end: StreamEnd::Reset(_),
            } => self.told((node, life, *key), *group),
            Seen::Ended { key, .. } | Seen::Rejected { key, .. } | Seen::GaveUp { key } => {
                let one = (node, life, *key);
                self.forget(|of| *of == one);
            }
            Seen::Closed { session, .. } => {
                self.forget(|(of, _, key)| *of == node && key.0 == *session);
            }
            Seen::Died | Seen::Started => self.forget(|(of, ..)| *of == node),
            _ => {}
        }
        let Some((_, place)) = self.overdue() else {
            return Ok(());
        };
        self.open.clear();
        let message = format!("what comes before {place} in its subgroup is missing, untold");
        Err(finding(NAME, "untold", observation, message))
    }

    fn is_content(&self) -> bool {
        self.healed_at.is_none() || self.open.is_empty()
    }

    fn at_end(&mut self, at: Instant) -> Vec<Finding> {
        self.now = at;
        let Some((node, place)) = self.overdue() else {
            return Vec::new();
        };
        vec![Finding {
            checker: NAME,
            class: "untold",
            at_us: micros(at),
            node,
            message: format!("what comes before {place} in its subgroup is missing, untold"),
        }]
    }
}
