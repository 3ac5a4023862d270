//! Answers: every request is answered or given up, or its session ends, soon after the faults.
//!
//! | class | what happened |
//! |---|---|
//! | `unanswered` | nothing came for a request within [`ANSWERED_WITHIN`] of it and of the faults' end |
//!
//! A fill is answered with its stream. Where streams are abandoned in the middle, its first bytes may never come
//! and nobody hears which fill that was: there the word that the update was accepted counts.

use super::{Checker, Finding, Observation, Seen, finding, poise};
use crate::plan::{FaultKind, NodeId, Plan};
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "answers";
/// How long an answer may take when nothing is wrong: longer than a relay waits for the control plane.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// See the module's description.
#[derive(Debug)]
pub struct Answers {
    /// Whether data streams may be abandoned in the middle.
    loses_streams: bool,
    within: Duration,
    /// What is open, whether it is of the past, and since when.
    open: BTreeMap<(NodeId, Key, bool), Instant>,
    healed_at: Option<Instant>,
}

impl Answers {
    /// Nothing asked yet.
    pub fn new(plan: &Plan) -> Self {
        let loses_streams = plan.faults.iter().any(|fault| {
            matches!(
                fault.kind,
                FaultKind::ResetStreams { .. } | FaultKind::StopStreams { .. }
            )
        });
        Self {
            loses_streams,
            within: ANSWERED_WITHIN + poise(plan),
            open: BTreeMap::new(),
            healed_at: None,
        }
    }

    fn answered(&mut self, node: NodeId, key: Key) {
        self.open.remove(&(node, key, false));
        self.open.remove(&(node, key, true));
    }
}

impl Checker for Answers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (at, node) = (observation.at, observation.node);
        match &observation.seen {
            Seen::Healed => self.healed_at = Some(at),
            Seen::Asked { key, .. } => {
                self.open.insert((node, *key, false), at);
            }
            Seen::AskedPast { key, .. } => {
                self.open.insert((node, *key, true), at);
            }
            Seen::Accepted { key, .. }
            | Seen::Rejected { key, .. }
            | Seen::Ended { key, .. }
            | Seen::PastEnded { key, .. }
            | Seen::GaveUp { key } => self.answered(node, *key),
            Seen::FillAccepted { key } if self.loses_streams => self.answered(node, *key),
            Seen::Closed { session, .. } => {
                self.open
                    .retain(|(of, key, _), _| *of != node || key.0 != *session);
            }
            Seen::Died | Seen::Started => self.open.retain(|(of, ..), _| *of != node),
            Seen::Closing => self.open.clear(),
            _ => {}
        }
        let Some(healed) = self.healed_at else {
            return Ok(());
        };
        let late = self
            .open
            .iter()
            .find(|(_, asked)| at.saturating_since(healed.max(**asked)) > self.within)
            .map(|(request, _)| *request);
        let Some(request) = late else { return Ok(()) };
        self.open.remove(&request);
        let (node, key, is_past) = request;
        let what = if is_past {
            "of the past"
        } else {
            "for a track"
        };
        let within = self.within.as_secs();
        let message = format!(
            "expected an answer to request {} {what} of {node} within {within} s",
            key.1.0
        );
        Err(finding(NAME, "unanswered", observation, message))
    }

    fn is_content(&self) -> bool {
        self.healed_at.is_none() || self.open.is_empty()
    }
}
