//! Conclusion: whoever watches a track hears that its origin ended it.
//!
//! | class | what happened |
//! |---|---|
//! | `untold` | an origin ended a track, nothing was wrong since, and a viewer's subscription goes on |
//!
//! A viewer that comes after the end hears so as well: whoever accepts its subscription knows.

use super::{Checker, Finding, Observation, Seen, finding, poise};
use crate::plan::{NodeId, Plan};
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "conclusion";
/// How long the word may take when nothing is wrong: longer than the last streams of a track may.
pub const TOLD_WITHIN: Duration = Duration::from_secs(15);

type Subscription = (NodeId, u16, Key);

/// See the module's description.
#[derive(Debug)]
pub struct Conclusion {
    within: Duration,
    asked: BTreeMap<Subscription, u16>,
    accepted: BTreeSet<Subscription>,
    /// Subscriptions to tracks that were ended, and since when.
    waiting: BTreeMap<Subscription, Instant>,
    ended: BTreeSet<u16>,
    healed_at: Option<Instant>,
}

impl Conclusion {
    /// Nothing has ended yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            within: TOLD_WITHIN + poise(plan),
            asked: BTreeMap::new(),
            accepted: BTreeSet::new(),
            waiting: BTreeMap::new(),
            ended: BTreeSet::new(),
            healed_at: None,
        }
    }

    fn forget(&mut self, is: impl Fn(&Subscription) -> bool) {
        self.asked.retain(|of, _| !is(of));
        self.accepted.retain(|of| !is(of));
        self.waiting.retain(|of, _| !is(of));
    }
}

impl Checker for Conclusion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (at, node, life) = (observation.at, observation.node, observation.life);
        match &observation.seen {
            Seen::Healed => self.healed_at = Some(at),
            Seen::Asked { key, track, .. } => {
                self.asked.insert((node, life, *key), *track);
            }
            Seen::Accepted { key, .. } => {
                let one = (node, life, *key);
                if let Some(track) = self.asked.get(&one) {
                    self.accepted.insert(one);
                    if self.ended.contains(track) {
                        self.waiting.insert(one, at);
                    }
                }
            }
            // An origin that was started again ends what it had ended: that is no new word.
            Seen::TrackEnded { track, .. } => {
                self.ended.insert(*track);
                let watched = self
                    .accepted
                    .iter()
                    .filter(|of| self.asked.get(of) == Some(track));
                for of in watched {
                    self.waiting.entry(*of).or_insert(at);
                }
            }
            Seen::Ended { key, .. } | Seen::Rejected { key, .. } | Seen::GaveUp { key } => {
                let one = (node, life, *key);
                self.forget(|of| *of == one);
            }
            Seen::Closed { session, .. } => {
                self.forget(|(of, _, key)| *of == node && key.0 == *session);
            }
            Seen::Died | Seen::Started => self.forget(|(of, ..)| *of == node),
            Seen::Closing => self.waiting.clear(),
            _ => {}
        }
        let Some(healed) = self.healed_at else {
            return Ok(());
        };
        let late = self
            .waiting
            .iter()
            .find(|(_, since)| at.saturating_since(healed.max(**since)) > self.within);
        let Some((node, _, key)) = late.map(|(of, _)| *of) else {
            return Ok(());
        };
        self.waiting.clear();
        let message = format!(
            "expected {node} to hear within {} s that the track of its request {} has ended",
            self.within.as_secs(),
            key.1.0
        );
        Err(finding(NAME, "untold", observation, message))
    }

    fn is_content(&self) -> bool {
        self.healed_at.is_none() || self.waiting.is_empty()
    }
}
