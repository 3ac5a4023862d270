//! Lateness: what a viewer wanted within a time does not come long after it.
//!
//! | class | what happened |
//! |---|---|
//! | `late` | an object came to a viewer with an object time-out when it was older than that and [`SLACK`] |
//!
//! A relay gives a late object up; what its transport and the links had taken before still comes. So links' queues
//! count as well, and only plans are held in which nothing stands still: there an object grows old in front
//! of a link that is too narrow, and nowhere else. What is older than its viewer is no older than that: a relay that
//! nobody watched a track at gets what the publisher retains when somebody does, and its time begins there.

use super::{Checker, Finding, Observation, Place, Seen, finding};
use crate::plan::{FaultKind, LinkPlan, NodeId, Plan, Role};
use mainstem_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "lateness";
/// What transports hold, and lost packets cost.
pub const SLACK: Duration = Duration::from_secs(3);
/// Published objects that are remembered.
const REMEMBERED_MAX: usize = 4096;

/// See the module's description.
#[derive(Debug)]
pub struct Lateness {
    /// Since when each viewer that set a time watches, and how old an object may be there.
    oldest: BTreeMap<NodeId, (Instant, Duration)>,
    published: BTreeMap<Place, Instant>,
}

impl Lateness {
    /// For the viewers of a plan that set a time.
    pub fn new(plan: &Plan) -> Self {
        let waits = queues(plan).unwrap_or_default().saturating_add(SLACK);
        let is_held = queues(plan).is_some();
        let oldest = plan
            .node_ids()
            .filter_map(|(id, node)| {
                let Role::Viewer(viewer) = &node.role else {
                    return None;
                };
                let timeout = Duration::from_millis(viewer.object_timeout_ms?);
                let joins = Instant::ZERO + Duration::from_millis(viewer.join_ms);
                let oldest = timeout.saturating_add(waits);
                (is_held && viewer.stalls.is_empty()).then_some((id, (joins, oldest)))
            })
            .collect();
        Self {
            oldest,
            published: BTreeMap::new(),
        }
    }
}

/// How long packets may wait for the links of a plan together; `None` when something stands still in it.
fn queues(plan: &Plan) -> Option<Duration> {
    let drain = |bytes: u64, rate: u64| {
        let ms = bytes.saturating_mul(1_000).checked_div(rate).unwrap_or(0);
        Duration::from_millis(ms)
    };
    let of_link = |link: &LinkPlan| {
        drain(link.queue_bytes, link.bytes_per_second) + Duration::from_micros(link.delay_us) * 4
    };
    let mut total = of_link(&plan.link);
    let links = plan.links.iter().map(|each| of_link(&each.link));
    total += links.sum::<Duration>();
    for fault in &plan.faults {
        match fault.kind {
            FaultKind::RateLimit {
                bytes_per_second,
                queue_bytes,
            } => total += drain(queue_bytes, bytes_per_second),
            FaultKind::ClockStep { .. } | FaultKind::ClockDrift { .. } => {}
            _ => return None,
        }
    }
    let is_slow = |node: &crate::plan::NodePlan| node.limits.stream_receive_window.is_some();
    (!plan.nodes.iter().any(is_slow)).then_some(total)
}

impl Checker for Lateness {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        if self.oldest.is_empty() {
            return Ok(());
        }
        match &observation.seen {
            Seen::Published { place, .. } => {
                if self.published.len() >= REMEMBERED_MAX {
                    self.published.pop_first();
                }
                self.published.insert(*place, observation.at);
            }
            Seen::Delivered {
                place,
                is_past: false,
                ..
            } => {
                let oldest = self.oldest.get(&observation.node);
                let (Some((joins, oldest)), Some(at)) = (oldest, self.published.get(place)) else {
                    return Ok(());
                };
                let age = observation.at.saturating_since(*at.max(joins));
                if age > *oldest {
                    let (age, oldest) = (age.as_millis(), oldest.as_millis());
                    let message =
                        format!("expected {place} within {oldest} ms or not, it is {age} ms old");
                    return Err(finding(NAME, "late", observation, message));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
