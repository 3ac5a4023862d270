//! Windows that carry what is watched.
//!
//! A window lets through its own bytes once a round trip: below twice what a round trip needs, a viewer falls
//! behind for ever on a path without any fault, and a relay that keeps little drops what it has not got.
//! Such a window is not drawn. One that is small and wide enough stays.

use super::{Draw, NodeId, NodeLimits, Role};

/// What acknowledgements may wait beside the path's own delay.
const ACK_DELAY_US: u64 = 30_000;

/// Media on its way from one node to another.
struct Flow {
    from: NodeId,
    to: NodeId,
    tracks: Vec<u16>,
}

impl Draw {
    /// Takes windows away that cannot carry what goes through them.
    pub(super) fn windows(&mut self) {
        for flow in self.flows() {
            let round_trip_us = 2 * self.delay_us(&flow) + ACK_DELAY_US;
            let needed = |rate: u64| 2 * rate * round_trip_us / 1_000_000;
            let each = flow
                .tracks
                .iter()
                .map(|track| self.rate([*track].into_iter()));
            let of_stream = needed(each.max().unwrap_or(0));
            let of_connection = needed(self.rate(flow.tracks.iter().copied()));
            if let Some(sender) = self.limits(flow.from) {
                sender.send_window = sender.send_window.filter(|it| *it >= of_connection);
            }
            if let Some(receiver) = self.limits(flow.to) {
                let window = &mut receiver.receive_window;
                *window = window.filter(|it| u64::from(*it) >= of_connection);
                let window = &mut receiver.stream_receive_window;
                *window = window.filter(|it| u64::from(*it) >= of_stream);
            }
        }
    }

    /// From origins to relays, between relays either way, from relays to viewers.
    fn flows(&self) -> Vec<Flow> {
        let plan = &self.plan;
        let every = 0..u16::try_from(plan.tracks.len()).unwrap_or(u16::MAX);
        let mut flows = Vec::new();
        for (id, node) in plan.node_ids() {
            match &node.role {
                Role::Origin(origin) => {
                    let is_own = |track: &u16| {
                        let track = plan.tracks.get(usize::from(*track));
                        track.is_some_and(|track| track.origin == id)
                    };
                    flows.push(Flow {
                        from: id,
                        to: origin.relay,
                        tracks: every.clone().filter(is_own).collect(),
                    });
                }
                Role::Relay(relay) => {
                    for upstream in &relay.upstreams {
                        for (from, to) in [(*upstream, id), (id, *upstream)] {
                            let tracks = every.clone().collect();
                            flows.push(Flow { from, to, tracks });
                        }
                    }
                }
                Role::Viewer(viewer) => flows.push(Flow {
                    from: viewer.relay,
                    to: id,
                    tracks: viewer.tracks.clone(),
                }),
                Role::Hostile(_) => {}
            }
        }
        flows
    }

    /// One way, the slower one.
    fn delay_us(&self, flow: &Flow) -> u64 {
        let is_between =
            |from, to| (from, to) == (flow.from, flow.to) || (to, from) == (flow.from, flow.to);
        let own = self
            .plan
            .links
            .iter()
            .filter(|link| is_between(link.from, link.to));
        let slowest = own.map(|link| link.link.delay_us).max();
        slowest.unwrap_or(0).max(self.plan.link.delay_us)
    }

    fn limits(&mut self, node: NodeId) -> Option<&mut NodeLimits> {
        let node = self.plan.nodes.get_mut(usize::from(node.0))?;
        Some(&mut node.limits)
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{Plan, Profile, Role};

    fn drawn(profile: Profile) -> impl Iterator<Item = Plan> {
        (0..300).map(move |seed| Plan::generate(seed, profile))
    }

    #[test]
    fn narrow_windows_are_drawn_where_they_are_wide_enough() {
        let is_narrow = |plan: &Plan| {
            let mut windows = plan
                .nodes
                .iter()
                .map(|node| node.limits.stream_receive_window);
            windows.any(|window| window == Some(4 << 10))
        };
        assert!(drawn(Profile::Smoke).filter(is_narrow).count() > 10);
    }

    #[test]
    fn a_viewers_windows_let_through_in_a_round_trip_what_it_watches_meanwhile() {
        for plan in drawn(Profile::Perf) {
            for node in &plan.nodes {
                let Role::Viewer(viewer) = &node.role else {
                    continue;
                };
                let rates = viewer.tracks.iter().map(|track| {
                    let track = &plan.tracks[usize::from(*track)];
                    u64::try_from(track.object_bytes_most()).unwrap() * 1_000 / track.interval_ms
                });
                let in_a_round_trip = |rate: u64| rate * 2 * plan.link.delay_us / 1_000_000;
                if let Some(window) = node.limits.stream_receive_window {
                    let largest = rates.clone().max().unwrap_or(0);
                    assert!(
                        u64::from(window) >= in_a_round_trip(largest),
                        "{}",
                        plan.seed
                    );
                }
                let relay = plan.node(viewer.relay).unwrap();
                if let Some(window) = relay.limits.send_window {
                    assert!(window >= in_a_round_trip(rates.sum()), "{}", plan.seed);
                }
            }
        }
    }
}
