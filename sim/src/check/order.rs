//! Order: objects of a subgroup arrive in order, and none twice for one subscription.
//!
//! An overlapping fetch may bring what a subscription brought as well; under one request and by the
//! same way (subscription or fill), an object comes once.

use super::{Checker, Finding, Observation, Seen, finding};
use crate::plan::NodeId;
use mainstem_core::moqt::subscriber::Key;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "order";
/// Groups of a subscription that are remembered.
const GROUPS_MAX: usize = 256;

type Subscription = (NodeId, u16, Key, bool);

/// See the module's description.
#[derive(Debug, Default)]
pub struct Order {
    /// What each request got, by group.
    got: BTreeMap<Subscription, BTreeMap<u64, Group>>,
}

#[derive(Debug, Default)]
struct Group {
    objects: BTreeSet<u64>,
    /// The last object of each subgroup.
    last: BTreeMap<u64, u64>,
}

impl Order {
    /// Nothing delivered yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Checker for Order {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (node, life) = (observation.node, observation.life);
        match &observation.seen {
            Seen::Delivered {
                key,
                place,
                object,
                is_past,
            } => {
                let groups = self.got.entry((node, life, *key, *is_past)).or_default();
                if groups.len() > GROUPS_MAX {
                    groups.pop_first();
                }
                let group = groups.entry(place.group).or_default();
                if !group.objects.insert(place.object) {
                    let message = format!("{place} came twice under one request");
                    return Err(finding(NAME, "duplicate", observation, message));
                }
                let Some(subgroup) = object.subgroup else {
                    return Ok(());
                };
                let before = group.last.insert(subgroup, place.object);
                match before {
                    Some(before) if before > place.object => {
                        let message = format!("{place} came after object {before} of its subgroup");
                        Err(finding(NAME, "out-of-order", observation, message))
                    }
                    _ => Ok(()),
                }
            }
            Seen::Closed { session, .. } => {
                self.got
                    .retain(|(of, _, key, _), _| *of != node || key.0 != *session);
                Ok(())
            }
            Seen::Ended { key, .. } => {
                for is_past in [false, true] {
                    self.got.remove(&(node, life, *key, is_past));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
