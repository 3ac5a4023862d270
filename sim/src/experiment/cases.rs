//! The experiments themselves.
//!
//! | experiment | varies | lines |
//! |---|---|---|
//! | `loss` | loss on the last mile, 0 to 10 % | group length |
//! | `rtt` | round trip of the last mile, 5 to 300 ms | group length |
//! | `bandwidth` | rate of the last mile for five seconds, of what the track needs | group length |
//! | `hops` | loss on the last mile | 1 to 3 relays on the way |
//! | `priority` | rate of the last mile, of what both tracks need | with and without priorities |
//!
//! Every world: an origin, relays in a line, four viewers behind the last one; 25 objects a second of 2.5 kB
//! (500 kbit/s), 20 s, round trip of 40 ms between viewer and relay unless it is what varies.

use super::{Aspect, Cell, Experiment};
use crate::plan::{
    CarrierPlan, ClockPlan, Fault, FaultKind, LinkBetween, LinkPlan, NodeId, NodeLimits, NodePlan,
    OriginPlan, Plan, Profile, RelayPlan, Role, Target, TokenPlan, TrackPlan, TransportKind,
    VERSION, ViewerPlan,
};

/// Objects a second.
const RATE: u64 = 25;
/// Payload bytes of an object.
const OBJECT_BYTES: usize = 2_500;
/// Viewers of each world.
const VIEWERS: u16 = 4;
/// How long each world lasts.
const DURATION_MS: u64 = 20_000;
/// When viewers join, one after the other.
const JOINS_FROM_MS: u64 = 1_500;
/// Round trip between viewer and relay unless it is what varies.
const RTT_MS: u64 = 40;
/// What QUIC and MoQT add to payloads, of a thousand.
const OVERHEAD_PERMILLE: u64 = 1_060;
/// Group lengths: a name, and objects of a group.
const GROUPS: [(&str, u64); 4] = [
    ("group 0.25 s", RATE / 4),
    ("group 0.5 s", RATE / 2),
    ("group 1 s", RATE),
    ("group 2 s", 2 * RATE),
];
/// Loss on the last mile, in millionths.
const LOSSES: [u32; 7] = [0, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000];
/// Round trips, in milliseconds.
const RTTS: [u64; 7] = [5, 20, 50, 100, 150, 200, 300];
/// Rates, in percent of what is needed.
const SHARES: [u64; 7] = [140, 120, 100, 80, 60, 40, 30];

/// Every experiment, with `seeds` runs for each point.
pub fn all(seeds: u64) -> Vec<Experiment> {
    vec![
        loss(seeds),
        rtt(seeds),
        bandwidth(seeds),
        hops(seeds),
        priority(seeds),
    ]
}

/// A world of an experiment.
struct Setup {
    seed: u64,
    hops: u16,
    rtt_ms: u64,
    group_objects: u64,
    /// Priorities of the tracks: one or two.
    priorities: Vec<u8>,
    /// Between viewers and their relay.
    faults: Vec<FaultKind>,
    /// From when to when.
    times_ms: (u64, u64),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 0,
            hops: 1,
            rtt_ms: RTT_MS,
            group_objects: RATE,
            priorities: vec![128],
            faults: Vec::new(),
            times_ms: (0, DURATION_MS),
        }
    }
}

impl Setup {
    /// Relays come first, the one that the origin publishes to before all others.
    fn plan(self) -> Plan {
        let last = NodeId(self.hops.saturating_sub(1));
        let origin = NodeId(self.hops);
        let viewers: Vec<NodeId> = (0..VIEWERS).map(|at| NodeId(self.hops + 1 + at)).collect();
        let last_mile = LinkPlan {
            delay_us: self.rtt_ms * 500,
            ..LinkPlan::default()
        };
        let tracks: Vec<u16> = (0..).take(self.priorities.len()).collect();
        let relays = (0..self.hops).map(|at| {
            Role::Relay(RelayPlan {
                upstreams: at.checked_sub(1).map(NodeId).into_iter().collect(),
                ..RelayPlan::default()
            })
        });
        let nodes = relays
            .chain([origin_role()])
            .chain((0..VIEWERS).map(|at| viewer_role(last, u64::from(at), tracks.clone())))
            .map(plain)
            .collect();
        Plan {
            version: VERSION,
            about: String::new(),
            seed: self.seed,
            profile: Profile::Perf,
            transport: TransportKind::Quic,
            duration_ms: DURATION_MS,
            heal_ms: 10_000,
            link: LinkPlan::default(),
            links: viewers
                .iter()
                .map(|viewer| LinkBetween {
                    from: last,
                    to: *viewer,
                    link: last_mile,
                })
                .collect(),
            nodes,
            tracks: self
                .priorities
                .iter()
                .enumerate()
                .map(|(at, priority)| track(origin, at, *priority, self.group_objects))
                .collect(),
            faults: self
                .faults
                .iter()
                .flat_map(|kind| viewers.iter().map(move |viewer| (*kind, *viewer)))
                .map(|(kind, viewer)| Fault {
                    start_ms: self.times_ms.0,
                    stop_ms: self.times_ms.1,
                    target: Target::Between {
                        one: last,
                        other: viewer,
                    },
                    kind,
                })
                .collect(),
        }
    }
}

fn origin_role() -> Role {
    Role::Origin(OriginPlan {
        relay: NodeId(0),
        carrier: CarrierPlan::Quic,
        draft: 22,
        start_ms: 0,
        stop_ms: None,
        has_wrong_key: false,
    })
}

fn viewer_role(relay: NodeId, number: u64, tracks: Vec<u16>) -> Role {
    Role::Viewer(ViewerPlan {
        relay,
        carrier: CarrierPlan::WebTransport,
        draft: 22,
        tracks,
        join_ms: JOINS_FROM_MS + number * 330,
        leave_ms: None,
        stalls: Vec::new(),
        token: TokenPlan::None,
        past_groups: None,
        object_timeout_ms: None,
        subgroup_timeout_ms: None,
    })
}

fn plain(role: Role) -> NodePlan {
    NodePlan {
        role,
        limits: NodeLimits::default(),
        clock: ClockPlan::default(),
    }
}

fn track(origin: NodeId, at: usize, priority: u8, group_objects: u64) -> TrackPlan {
    TrackPlan {
        origin,
        name: format!("t{at}"),
        interval_ms: 1_000 / RATE,
        group_objects,
        subgroups: 1,
        object_bytes_min: OBJECT_BYTES,
        object_bytes_max: OBJECT_BYTES,
        priority,
        groups: None,
        is_catalog: false,
    }
}

/// A link with this share of what `tracks` tracks need, and a quarter of a second of queue.
fn share(percent: u64, tracks: u64) -> FaultKind {
    let bytes = u64::try_from(OBJECT_BYTES).unwrap_or(u64::MAX);
    let needed = RATE * bytes * tracks * OVERHEAD_PERMILLE / 1_000;
    let bytes_per_second = needed * percent / 100;
    FaultKind::RateLimit {
        bytes_per_second,
        queue_bytes: bytes_per_second / 4,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "percent and milliseconds are small"
)]
fn axis(value: u64) -> f64 {
    value as f64
}

fn seeds_of(seeds: u64, setup: impl Fn(u64) -> Setup) -> Vec<Plan> {
    (0..seeds).map(|seed| setup(seed).plan()).collect()
}

fn loss(seeds: u64) -> Experiment {
    let mut cells = Vec::new();
    for (series, group_objects) in GROUPS {
        for ppm in LOSSES {
            cells.push(Cell {
                series: series.to_owned(),
                x: f64::from(ppm) / 10_000.0,
                plans: seeds_of(seeds, |seed| Setup {
                    seed,
                    group_objects,
                    faults: vec![FaultKind::Loss { ppm }],
                    ..Setup::default()
                }),
            });
        }
    }
    Experiment {
        name: "loss",
        title: "Loss on the last mile",
        x: "loss, %",
        figures: &[
            Aspect::Join,
            Aspect::Delay(0),
            Aspect::Delivered(0),
            Aspect::Stalled,
        ],
        cells,
    }
}

fn rtt(seeds: u64) -> Experiment {
    let mut cells = Vec::new();
    for (series, group_objects) in GROUPS {
        for rtt_ms in RTTS {
            cells.push(Cell {
                series: series.to_owned(),
                x: axis(rtt_ms),
                plans: seeds_of(seeds, |seed| Setup {
                    seed,
                    group_objects,
                    rtt_ms,
                    faults: vec![FaultKind::Loss { ppm: 10_000 }],
                    ..Setup::default()
                }),
            });
        }
    }
    Experiment {
        name: "rtt",
        title: "Distance, with 1 % loss on the last mile",
        x: "round trip, ms",
        figures: &[Aspect::Join, Aspect::Delay(0), Aspect::Stalled],
        cells,
    }
}

fn bandwidth(seeds: u64) -> Experiment {
    let mut cells = Vec::new();
    for (series, group_objects) in GROUPS {
        for percent in SHARES {
            cells.push(Cell {
                series: series.to_owned(),
                x: axis(percent),
                plans: seeds_of(seeds, |seed| Setup {
                    seed,
                    group_objects,
                    faults: vec![share(percent, 1)],
                    times_ms: (7_000, 12_000),
                    ..Setup::default()
                }),
            });
        }
    }
    Experiment {
        name: "bandwidth",
        title: "Five seconds of a narrow link",
        x: "rate, % of what the track needs",
        figures: &[Aspect::Delay(0), Aspect::Delivered(0), Aspect::Stalled],
        cells,
    }
}

fn hops(seeds: u64) -> Experiment {
    let mut cells = Vec::new();
    for hops in 1..=3u16 {
        let series = if hops == 1 {
            "1 relay".to_owned()
        } else {
            format!("{hops} relays")
        };
        for ppm in LOSSES {
            cells.push(Cell {
                series: series.clone(),
                x: f64::from(ppm) / 10_000.0,
                plans: seeds_of(seeds, |seed| Setup {
                    seed,
                    hops,
                    faults: vec![FaultKind::Loss { ppm }],
                    ..Setup::default()
                }),
            });
        }
    }
    Experiment {
        name: "hops",
        title: "Relays on the way, groups of 1 s",
        x: "loss on the last mile, %",
        figures: &[Aspect::Join, Aspect::Delay(0), Aspect::Stalled],
        cells,
    }
}

fn priority(seeds: u64) -> Experiment {
    let mut cells = Vec::new();
    let lines = [
        ("no priorities", vec![128, 128]),
        ("first track first", vec![10, 200]),
    ];
    for (series, priorities) in lines {
        for percent in SHARES {
            cells.push(Cell {
                series: series.to_owned(),
                x: axis(percent),
                plans: seeds_of(seeds, |seed| Setup {
                    seed,
                    priorities: priorities.clone(),
                    faults: vec![share(percent, 2)],
                    times_ms: (5_000, DURATION_MS),
                    ..Setup::default()
                }),
            });
        }
    }
    Experiment {
        name: "priority",
        title: "Two tracks on a link that is too narrow for both",
        x: "rate, % of what both tracks need",
        figures: &[
            Aspect::Delay(0),
            Aspect::Delay(1),
            Aspect::Delivered(0),
            Aspect::Delivered(1),
        ],
        cells,
    }
}
