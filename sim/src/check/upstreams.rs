//! Upstreams: a relay asks an origin once for a track, and not longer than somebody watches.
//!
//! | class | what happened |
//! |---|---|
//! | `second` | an origin serves more subscriptions to a track than it has sessions |
//! | `leaked` | an origin serves a track long after everybody stopped watching it, in worlds where nobody hostile watches |
//!
//! A relay that gives a subscription up and asks anew does so on two streams. Where packets get lost the second may
//! come first, and the word that the first is over as late as the next probe after the loss: there a second
//! subscription counts only when it stays for longer than that.

use super::{Checker, Finding, Observation, Seen, finding};
use crate::plan::{Behaviour, Fault, FaultKind, LinkPlan, NodeId, Plan, Role};
use mainstem_core::moqt::relay;
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "upstreams";
/// Beyond the lingering of each relay on the way.
const SLACK: Duration = Duration::from_secs(3);

/// See the module's description.
#[derive(Debug)]
pub struct Upstreams {
    linger: Duration,
    watchers: BTreeMap<u16, BTreeSet<(NodeId, u16, Key)>>,
    tracks: BTreeMap<(NodeId, u16, Key), u16>,
    /// Since when nobody watches a track.
    unwatched: BTreeMap<u16, Instant>,
    faults: usize,
    calm_since: Instant,
    /// Origins that serve a track once more than they have sessions, and since when.
    doubled: BTreeMap<(NodeId, u16), Instant>,
    /// How long they may.
    doubled_max: Duration,
    /// Hostile peers may watch as well, and do not say so.
    is_watched_in_secret: bool,
    is_healed: bool,
}

impl Upstreams {
    /// For the relays of a plan.
    pub fn new(plan: &Plan) -> Self {
        let usual = relay::Config::default().subscriber_linger;
        let lingers = plan.nodes.iter().filter_map(|node| match node.role {
            Role::Relay(_) => {
                let ms = node.limits.subscriber_linger_ms;
                Some(ms.map_or(usual, Duration::from_millis))
            }
            _ => None,
        });
        Self {
            linger: lingers.sum::<Duration>() + SLACK,
            watchers: BTreeMap::new(),
            tracks: BTreeMap::new(),
            unwatched: BTreeMap::new(),
            faults: 0,
            calm_since: Instant::ZERO,
            doubled: BTreeMap::new(),
            doubled_max: doubled_max(plan),
            is_watched_in_secret: plan.nodes.iter().any(|node| subscribes(&node.role)),
            is_healed: false,
        }
    }

    /// Whether an origin serves a track too often for too long.
    fn is_doubled(&mut self, of: (NodeId, u16), at: Instant, is_over: bool) -> bool {
        if !is_over {
            self.doubled.remove(&of);
            return false;
        }
        let since = *self.doubled.entry(of).or_insert(at);
        if self.doubled_max.is_zero() {
            return true;
        }
        self.faults == 0 && at.saturating_since(self.calm_since.max(since)) > self.doubled_max
    }

    fn gone(&mut self, at: Instant, is: impl Fn(&(NodeId, u16, Key)) -> bool) {
        let gone: Vec<_> = self.tracks.keys().filter(|of| is(of)).copied().collect();
        for of in gone {
            let Some(track) = self.tracks.remove(&of) else {
                continue;
            };
            let watchers = self.watchers.entry(track).or_default();
            watchers.remove(&of);
            if watchers.is_empty() {
                self.unwatched.insert(track, at);
            }
        }
    }
}

/// How long the end of a subscription may be outrun: not at all where nothing is lost, and where something is
/// until a probe that was put off for as long as the loss lasted.
fn doubled_max(plan: &Plan) -> Duration {
    let is_narrow = |link: &LinkPlan| link.bytes_per_second > 0;
    let is_narrow = is_narrow(&plan.link) || plan.links.iter().any(|each| is_narrow(&each.link));
    let loses = |fault: &&Fault| {
        let stops = matches!(fault.kind, FaultKind::Pause | FaultKind::AddressChange);
        stops || !fault.kind.is_of_node()
    };
    let lasting = plan.faults.iter().filter(loses);
    let longest = lasting.map(|fault| fault.stop_ms.saturating_sub(fault.start_ms));
    match longest.max() {
        Some(ms) => SLACK + Duration::from_millis(ms),
        None if is_narrow => SLACK,
        None => Duration::ZERO,
    }
}

/// Whether a role is one that subscribes without being a viewer.
fn subscribes(role: &Role) -> bool {
    let Role::Hostile(hostile) = role else {
        return false;
    };
    matches!(
        hostile.behaviour,
        Behaviour::NeverReads | Behaviour::FloodsRequests
    )
}

impl Checker for Upstreams {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (at, node, life) = (observation.at, observation.node, observation.life);
        match &observation.seen {
            Seen::FaultBegan { .. } => self.faults += 1,
            Seen::FaultEnded { .. } => {
                self.faults = self.faults.saturating_sub(1);
                self.calm_since = at;
            }
            Seen::Closing => self.doubled.clear(),
            Seen::Healed => {
                self.is_healed = true;
                self.faults = 0;
                self.calm_since = at;
            }
            Seen::Asked { key, track, .. } => {
                self.tracks.insert((node, life, *key), *track);
                let watchers = self.watchers.entry(*track).or_default();
                watchers.insert((node, life, *key));
                self.unwatched.remove(track);
            }
            Seen::Rejected { key, .. } | Seen::Ended { key, .. } | Seen::GaveUp { key } => {
                self.gone(at, |of| *of == (node, life, *key));
            }
            Seen::Closed { session, .. } => {
                self.gone(at, |of| of.0 == node && of.2.0 == *session);
            }
            Seen::Died | Seen::Started => {
                self.doubled.retain(|of, _| of.0 != node);
                self.gone(at, |of| of.0 == node);
            }
            Seen::Serving {
                track,
                subscriptions,
                sessions,
            } => {
                if self.is_doubled((node, *track), at, subscriptions > sessions) {
                    let message = format!(
                        "expected at most {sessions} subscriptions to t{track}, there are {subscriptions}"
                    );
                    return Err(finding(NAME, "second", observation, message));
                }
                let since = self.unwatched.get(track).map(|at| self.calm_since.max(*at));
                let is_late = since.is_some_and(|since| at.saturating_since(since) > self.linger);
                let may_be_idle = self.faults == 0 && !self.is_watched_in_secret;
                if *subscriptions > 0 && may_be_idle && is_late {
                    let message = format!("t{track} is served, and nobody has watched it for long");
                    return Err(finding(NAME, "leaked", observation, message));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_content(&self) -> bool {
        !self.is_healed || self.doubled.is_empty()
    }
}
