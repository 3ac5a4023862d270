//! Ends: nothing before its publication, nothing after an end, and every end is told.
//!
//! | class | what happened |
//! |---|---|
//! | `before-publication` | an object arrived that its origin has not published |
//! | `after-end` | an object arrived under a request that was over |
//! | `after-end-of-group` | an object arrived in a group whose every subgroup had ended |
//! | `cut` | a group is there whole, and its stream was reset instead of ended, after the faults |
//! | `unfinished` | a group is there whole, and its streams did not end after the faults |
//!
//! A viewer that set a delivery time-out may see a stream reset for it while the word that all came is on its way back.

use super::{Checker, Finding, Observation, Place, Seen, finding, micros};
use crate::plan::{NodeId, Plan, Role};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::session::StreamEnd;
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "ends";
/// How long after a group's last object its streams may be open, when nothing is wrong.
pub const FINISHED_WITHIN: Duration = Duration::from_secs(5);
/// How long after its last object a group's stream may be reset without a reason, when nothing is wrong.
const CUT_AFTER: Duration = Duration::from_millis(800);
/// Groups of a subscription, and requests that are over, which are remembered.
const REMEMBERED_MAX: usize = 256;

type Subscription = (NodeId, u16, Key);

#[derive(Clone, Copy, Debug)]
struct Shape {
    group_objects: u64,
    subgroups: u64,
}

#[derive(Debug, Default)]
struct Group {
    objects: u64,
    finished: u64,
    whole_at: Option<Instant>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Ends {
    shapes: Vec<Shape>,
    /// Viewers that want what they watch in time or not at all.
    in_time: BTreeSet<NodeId>,
    newest: BTreeMap<u16, Place>,
    over: BTreeSet<Subscription>,
    tracks: BTreeMap<Subscription, u16>,
    groups: BTreeMap<Subscription, BTreeMap<u64, Group>>,
    /// Groups that are there whole and not ended.
    open: BTreeSet<(Instant, Subscription, u64)>,
    healed_at: Option<Instant>,
    now: Instant,
}

impl Ends {
    /// For the tracks of a plan.
    pub fn new(plan: &Plan) -> Self {
        let shape = |track: &crate::plan::TrackPlan| Shape {
            group_objects: track.group_objects,
            subgroups: track.subgroups,
        };
        Self {
            shapes: plan.tracks.iter().map(shape).collect(),
            in_time: plan
                .node_ids()
                .filter_map(|(id, node)| match &node.role {
                    Role::Viewer(viewer) => {
                        let timeout = viewer.object_timeout_ms.or(viewer.subgroup_timeout_ms);
                        timeout.map(|_| id)
                    }
                    Role::Origin(_) | Role::Relay(_) | Role::Hostile(_) => None,
                })
                .collect(),
            newest: BTreeMap::new(),
            over: BTreeSet::new(),
            tracks: BTreeMap::new(),
            groups: BTreeMap::new(),
            open: BTreeSet::new(),
            healed_at: None,
            now: Instant::ZERO,
        }
    }

    fn shape(&self, track: u16) -> Option<Shape> {
        self.shapes.get(usize::from(track)).copied()
    }

    fn deliver(
        &mut self,
        observation: &Observation,
        of: Subscription,
        place: Place,
        is_past: bool,
    ) -> Result<(), Finding> {
        let refuse = |class, message| Err(finding(NAME, class, observation, message));
        if self
            .newest
            .get(&place.track)
            .is_none_or(|newest| place > *newest)
        {
            return refuse(
                "before-publication",
                format!("{place} is not published yet"),
            );
        }
        if self.over.contains(&of) {
            return refuse(
                "after-end",
                format!("{place} came after the end of its request"),
            );
        }
        let Some(shape) = self.shape(place.track).filter(|_| !is_past) else {
            return Ok(());
        };
        let groups = self.groups.entry(of).or_default();
        if groups.len() > REMEMBERED_MAX
            && let Some((gone, group)) = groups.pop_first()
            && let Some(at) = group.whole_at
        {
            self.open.remove(&(at, of, gone));
        }
        let group = groups.entry(place.group).or_default();
        if group.finished >= shape.subgroups {
            let message = format!("{place} came after all {} subgroups ended", shape.subgroups);
            return refuse("after-end-of-group", message);
        }
        group.objects += 1;
        if group.objects == shape.group_objects {
            group.whole_at = Some(observation.at);
            self.open.insert((observation.at, of, place.group));
        }
        Ok(())
    }

    fn finish(&mut self, of: Subscription, group: u64) {
        let subgroups = self
            .tracks
            .get(&of)
            .and_then(|track| self.shape(*track))
            .map_or(1, |shape| shape.subgroups);
        let Some(entry) = self.groups.get_mut(&of).and_then(|all| all.get_mut(&group)) else {
            return;
        };
        entry.finished += 1;
        if entry.finished >= subgroups
            && let Some(at) = entry.whole_at.take()
        {
            self.open.remove(&(at, of, group));
        }
    }

    fn forget(&mut self, is: impl Fn(&Subscription) -> bool) {
        self.groups.retain(|of, _| !is(of));
        self.tracks.retain(|of, _| !is(of));
        self.open.retain(|(_, of, _)| !is(of));
    }

    /// Whether a group was there whole long enough for its end to come, when nothing was wrong.
    fn is_cut(&self, of: Subscription, group: u64) -> bool {
        let whole_at = self
            .groups
            .get(&of)
            .and_then(|groups| groups.get(&group))
            .and_then(|group| group.whole_at);
        let (Some(at), Some(healed)) = (whole_at, self.healed_at) else {
            return false;
        };
        // What went lost before is looked for a moment longer, and whoever has all may not know it.
        at >= healed + FINISHED_WITHIN && self.now.saturating_since(at) > CUT_AFTER
    }

    /// When the oldest open group should have ended.
    fn overdue(&self) -> Option<(Subscription, u64)> {
        let (at, of, group) = self.open.first()?;
        let since = self.healed_at?.max(*at);
        (self.now.saturating_since(since) > FINISHED_WITHIN).then_some((*of, *group))
    }
}

impl Checker for Ends {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        self.now = observation.at;
        let of = |key: &Key| (observation.node, observation.life, *key);
        match &observation.seen {
            Seen::Healed => self.healed_at = Some(observation.at),
            Seen::Published { place, .. } => {
                self.newest.insert(place.track, *place);
            }
            Seen::Asked { key, track, .. } => {
                self.tracks.insert(of(key), *track);
            }
            Seen::Delivered {
                key,
                place,
                is_past,
                ..
            } => return self.deliver(observation, of(key), *place, *is_past),
            Seen::SubgroupEnded {
                key,
                group,
                end: StreamEnd::Finished,
            } => self.finish(of(key), *group),
            // What was given up on the way has no end to wait for.
            Seen::SubgroupEnded { key, group, end } => {
                let (one, group) = (of(key), *group);
                let is_late = *end == StreamEnd::Reset(StreamCode::DELIVERY_TIMEOUT)
                    && self.in_time.contains(&observation.node);
                if !is_late && self.is_cut(one, group) {
                    let message = format!("group {group} is there whole, and its stream was reset");
                    return Err(finding(NAME, "cut", observation, message));
                }
                self.open
                    .retain(|(_, each, number)| (*each, *number) != (one, group));
            }
            Seen::Ended { key, .. } | Seen::Rejected { key, .. } => {
                let one = of(key);
                self.forget(|each| *each == one);
                if self.over.len() > REMEMBERED_MAX {
                    self.over.pop_first();
                }
                self.over.insert(one);
            }
            Seen::GaveUp { key } => {
                let one = of(key);
                self.forget(|each| *each == one);
            }
            Seen::Closed { session, .. } => {
                let node = observation.node;
                self.forget(|(of, _, key)| *of == node && key.0 == *session);
            }
            Seen::Died | Seen::Started => {
                let node = observation.node;
                self.forget(|(of, ..)| *of == node);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_content(&self) -> bool {
        // Not before they are overdue: a run that ends sooner would hide them.
        self.healed_at.is_none() || self.open.is_empty()
    }

    fn at_end(&mut self, at: Instant) -> Vec<Finding> {
        let Some((of, group)) = self.overdue() else {
            return Vec::new();
        };
        let within = FINISHED_WITHIN.as_secs();
        vec![Finding {
            checker: NAME,
            class: "unfinished",
            at_us: micros(at),
            node: of.0,
            message: format!(
                "expected the streams of group {group} to end within {within} s of its last object"
            ),
        }]
    }
}
