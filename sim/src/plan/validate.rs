//! What a plan may be: bounds, and numbers that name something.

use super::node::draft_of;
use super::{
    Fault, FaultKind, HostilePlan, LinkPlan, NodeId, NodePlan, OriginPlan, Plan, Role, TrackPlan,
    VERSION, ViewerPlan,
};

/// Nodes at most.
const NODES_MAX: usize = 256;
/// Tracks at most.
const TRACKS_MAX: usize = 64;
/// Faults at most.
const FAULTS_MAX: usize = 256;
/// Longest phase: an hour.
const PHASE_MS_MAX: u64 = 3_600_000;
/// Longest delay of a packet by one cause.
const DELAY_MS_MAX: u64 = 10_000;
/// Largest object.
const OBJECT_BYTES_MAX: usize = 4 << 20;
/// Slowest link that is one.
const RATE_MIN: u64 = 1_000;
/// Smallest packets that QUIC needs.
const MTU_MIN: usize = 1_200;
/// Largest error of a clock: ten years.
const CLOCK_MS_MAX: i64 = 315_360_000_000;
/// Rates are of a million.
const MILLION: u32 = 1_000_000;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not JSON, or not of this form.
    #[error("expected a plan as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("expected a plan of version {VERSION}, not {0}")]
    Version(u32),
    /// Too many, too long, too large or too small.
    #[error("{field}: expected {expected}, not {found}")]
    Bound {
        /// Where in the plan.
        field: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
}

fn refuse(field: String, expected: &str, found: impl ToString) -> PlanError {
    PlanError::Bound {
        field,
        expected: expected.to_owned(),
        found: found.to_string(),
    }
}

impl Plan {
    /// Whether the plan makes sense; the first thing that does not.
    pub fn validate(&self) -> Result<(), PlanError> {
        if self.version != VERSION {
            return Err(PlanError::Version(self.version));
        }
        self.validate_sizes()?;
        check_link("link", self.link)?;
        for (at, between) in self.links.iter().enumerate() {
            let field = format!("links[{at}]");
            self.require_node(&field, between.from)?;
            self.require_node(&field, between.to)?;
            check_link(&field, between.link)?;
        }
        for (at, track) in self.tracks.iter().enumerate() {
            self.check_track(&format!("tracks[{at}]"), track)?;
        }
        for (at, node) in self.nodes.iter().enumerate() {
            self.check_node(&format!("nodes[{at}]"), node)?;
        }
        for (at, fault) in self.faults.iter().enumerate() {
            self.check_fault(&format!("faults[{at}]"), fault)?;
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<(), PlanError> {
        let sizes = [
            ("nodes", self.nodes.len(), NODES_MAX),
            ("tracks", self.tracks.len(), TRACKS_MAX),
            ("faults", self.faults.len(), FAULTS_MAX),
            ("links", self.links.len(), NODES_MAX),
        ];
        for (field, length, most) in sizes {
            if length > most {
                return Err(refuse(field.to_owned(), &format!("at most {most}"), length));
            }
        }
        let phases = [("duration_ms", self.duration_ms), ("heal_ms", self.heal_ms)];
        for (field, ms) in phases {
            if ms == 0 || ms > PHASE_MS_MAX {
                return Err(refuse(
                    field.to_owned(),
                    &format!("1 to {PHASE_MS_MAX}"),
                    ms,
                ));
            }
        }
        Ok(())
    }

    fn require_node(&self, field: &str, id: NodeId) -> Result<&NodePlan, PlanError> {
        self.node(id)
            .ok_or_else(|| refuse(field.to_owned(), "a node of the plan", id))
    }

    fn require_relay(&self, field: &str, id: NodeId) -> Result<(), PlanError> {
        match self.require_node(field, id)?.role {
            Role::Relay(_) => Ok(()),
            _ => Err(refuse(field.to_owned(), "a relay", id)),
        }
    }

    fn check_track(&self, field: &str, track: &TrackPlan) -> Result<(), PlanError> {
        if !matches!(
            self.require_node(field, track.origin)?.role,
            Role::Origin(_)
        ) {
            return Err(refuse(format!("{field}.origin"), "an origin", track.origin));
        }
        let within = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(refuse(
                format!("{field}.{name}"),
                &format!("{low} to {high}"),
                value,
            ))
        };
        within("interval_ms", track.interval_ms, 1, 60_000)?;
        within("group_objects", track.group_objects, 1, 10_000)?;
        within(
            "subgroups",
            track.subgroups,
            1,
            track.group_objects.min(100),
        )?;
        let name_is_plain = track.name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if track.name.is_empty() || track.name.len() > 64 || !name_is_plain {
            return Err(refuse(
                format!("{field}.name"),
                "1 to 64 letters and digits",
                &track.name,
            ));
        }
        if track.object_bytes_min > track.object_bytes_max
            || track.object_bytes_max > OBJECT_BYTES_MAX
        {
            return Err(refuse(
                format!("{field}.object_bytes_max"),
                &format!("object_bytes_min to {OBJECT_BYTES_MAX}"),
                track.object_bytes_max,
            ));
        }
        Ok(())
    }

    fn check_node(&self, field: &str, node: &NodePlan) -> Result<(), PlanError> {
        if node.clock.ahead_ms.abs() > CLOCK_MS_MAX || node.clock.drift_ppm.abs() > 1_000_000 {
            return Err(refuse(
                format!("{field}.clock"),
                "at most ten years ahead and a drift of at most 1000000 ppm",
                format!("{:?}", node.clock),
            ));
        }
        match &node.role {
            Role::Origin(OriginPlan { relay, draft, .. })
            | Role::Hostile(HostilePlan { relay, draft, .. }) => {
                self.require_relay(&format!("{field}.relay"), *relay)?;
                check_draft(field, *draft)
            }
            Role::Relay(relay) => relay
                .upstreams
                .iter()
                .try_for_each(|id| self.require_relay(&format!("{field}.upstreams"), *id)),
            Role::Viewer(viewer) => self.check_viewer(field, viewer),
        }
    }

    fn check_viewer(&self, field: &str, viewer: &ViewerPlan) -> Result<(), PlanError> {
        self.require_relay(&format!("{field}.relay"), viewer.relay)?;
        check_draft(field, viewer.draft)?;
        let mut origins = viewer.tracks.iter().map(|index| {
            let track = self.tracks.get(usize::from(*index));
            track.map(|track| track.origin).ok_or_else(|| {
                refuse(
                    format!("{field}.tracks"),
                    "places in the plan's tracks",
                    index,
                )
            })
        });
        if let Some(first) = origins.next().transpose()? {
            for origin in origins {
                let origin = origin?;
                if origin != first {
                    return Err(refuse(
                        format!("{field}.tracks"),
                        "tracks of one origin",
                        origin,
                    ));
                }
            }
        }
        let timeouts = [
            ("object_timeout_ms", viewer.object_timeout_ms),
            ("subgroup_timeout_ms", viewer.subgroup_timeout_ms),
        ];
        for (name, ms) in timeouts {
            if ms.is_some_and(|ms| ms == 0 || ms > 60_000) {
                return Err(refuse(
                    format!("{field}.{name}"),
                    "1 to 60000",
                    ms.unwrap_or_default(),
                ));
            }
        }
        let times = [
            ("join_ms", Some(viewer.join_ms)),
            ("leave_ms", viewer.leave_ms),
        ];
        for (name, ms) in times {
            if ms.is_some_and(|ms| ms > self.duration_ms) {
                return Err(refuse(
                    format!("{field}.{name}"),
                    "a time of the safety phase",
                    ms.unwrap_or_default(),
                ));
            }
        }
        Ok(())
    }

    fn check_fault(&self, field: &str, fault: &Fault) -> Result<(), PlanError> {
        if fault.start_ms > fault.stop_ms || fault.stop_ms > PHASE_MS_MAX {
            return Err(refuse(
                format!("{field}.stop_ms"),
                "a time after start_ms",
                fault.stop_ms,
            ));
        }
        match fault.target {
            super::Target::All => {}
            super::Target::Node(node) => {
                self.require_node(field, node)?;
            }
            super::Target::OneWay { from, to } => {
                self.require_node(field, from)?;
                self.require_node(field, to)?;
            }
            super::Target::Between { one, other } => {
                self.require_node(field, one)?;
                self.require_node(field, other)?;
            }
        }
        if fault.kind.is_of_node() && fault.target.node().is_none() {
            return Err(refuse(
                format!("{field}.target"),
                "one node",
                fault.kind.name(),
            ));
        }
        self.check_fault_role(field, fault)?;
        check_values(field, fault.kind)
    }

    fn check_fault_role(&self, field: &str, fault: &Fault) -> Result<(), PlanError> {
        let Some(node) = fault.target.node() else {
            return Ok(());
        };
        let is_relay = matches!(self.require_node(field, node)?.role, Role::Relay(_));
        match fault.kind {
            FaultKind::AddressChange if is_relay => Err(refuse(
                format!("{field}.target"),
                "a node that only dials",
                node,
            )),
            FaultKind::Drain { to } => {
                if let Some(to) = to {
                    self.require_relay(&format!("{field}.kind.drain.to"), to)?;
                }
                self.require_relay(&format!("{field}.target"), node)
            }
            _ => Ok(()),
        }
    }
}

fn check_draft(field: &str, number: u8) -> Result<(), PlanError> {
    match draft_of(number) {
        Some(_) => Ok(()),
        None => Err(refuse(
            format!("{field}.draft"),
            "16, 18, 20, 21 or 22",
            number,
        )),
    }
}

fn check_link(field: &str, link: LinkPlan) -> Result<(), PlanError> {
    if link.delay_us > DELAY_MS_MAX * 1_000 {
        let expected = format!("at most {}", DELAY_MS_MAX * 1_000);
        return Err(refuse(
            format!("{field}.delay_us"),
            &expected,
            link.delay_us,
        ));
    }
    if link.bytes_per_second != 0 && link.bytes_per_second < RATE_MIN {
        let expected = format!("0 or at least {RATE_MIN}");
        return Err(refuse(
            format!("{field}.bytes_per_second"),
            &expected,
            link.bytes_per_second,
        ));
    }
    Ok(())
}

fn check_values(field: &str, kind: FaultKind) -> Result<(), PlanError> {
    let of_million = |values: &[u32]| {
        let found = values.iter().find(|value| **value > MILLION);
        found.map_or(Ok(()), |value| {
            Err(refuse(
                format!("{field}.kind.ppm"),
                "at most 1000000",
                value,
            ))
        })
    };
    let of_time = |ms: u64| {
        if ms <= DELAY_MS_MAX {
            return Ok(());
        }
        let expected = format!("at most {DELAY_MS_MAX}");
        Err(refuse(format!("{field}.kind.ms"), &expected, ms))
    };
    match kind {
        FaultKind::Loss { ppm }
        | FaultKind::Duplicate { ppm }
        | FaultKind::Corrupt { ppm }
        | FaultKind::Truncate { ppm }
        | FaultKind::CongestionMark { ppm }
        | FaultKind::MarkLoss { ppm }
        | FaultKind::ResetStreams { ppm }
        | FaultKind::StopStreams { ppm } => of_million(&[ppm]),
        FaultKind::BurstLoss {
            enter_ppm,
            leave_ppm,
            loss_ppm,
        } => of_million(&[enter_ppm, leave_ppm, loss_ppm]),
        FaultKind::Delay { ms } | FaultKind::Jitter { ms } => of_time(ms),
        FaultKind::Reorder { ppm, ms } => of_million(&[ppm]).and(of_time(ms)),
        FaultKind::MtuDrop { bytes } if bytes < MTU_MIN => {
            let expected = format!("at least {MTU_MIN}");
            Err(refuse(format!("{field}.kind.bytes"), &expected, bytes))
        }
        FaultKind::RateLimit {
            bytes_per_second, ..
        } if bytes_per_second < RATE_MIN => {
            let expected = format!("at least {RATE_MIN}");
            Err(refuse(
                format!("{field}.kind.bytes_per_second"),
                &expected,
                bytes_per_second,
            ))
        }
        FaultKind::ClockStep { ms } if ms.abs() > CLOCK_MS_MAX => {
            Err(refuse(format!("{field}.kind.ms"), "at most ten years", ms))
        }
        FaultKind::ClockDrift { ppm } if ppm.abs() > 1_000_000 => {
            Err(refuse(format!("{field}.kind.ppm"), "at most 1000000", ppm))
        }
        _ => Ok(()),
    }
}
