//! What one link does, packet by packet.

use super::*;
use crate::plan::Target;
use std::time::Duration;

const FROM: NodeId = NodeId(0);
const TO: NodeId = NodeId(1);

fn network() -> Network {
    Network::new(&Plan::generate(1, crate::plan::Profile::Smoke))
}

fn fault(kind: FaultKind) -> Fault {
    Fault {
        start_ms: 0,
        stop_ms: 1,
        target: Target::All,
        kind,
    }
}

fn send(network: &mut Network, at_ms: u64, bytes: usize) -> Vec<u64> {
    let mut arrivals = Vec::new();
    let now = Instant::ZERO + Duration::from_millis(at_ms);
    network.send(
        now,
        FROM,
        TO,
        Packet::Datagram(vec![0; bytes], None),
        &mut arrivals,
    );
    let micros = arrivals.iter().map(|(at, _)| at.as_nanos() / 1_000);
    micros.collect()
}

#[test]
fn a_queue_drains_at_its_rate_and_drops_at_its_tail() {
    let mut network = network();
    network.usual.delay_us = 0;
    network.start(
        0,
        fault(FaultKind::RateLimit {
            bytes_per_second: 1_000_000,
            queue_bytes: 1_500,
        }),
    );
    // A thousand bytes take a millisecond each; the third finds 2,000 before it.
    assert_eq!(send(&mut network, 0, 1_000), [1_000]);
    assert_eq!(send(&mut network, 0, 1_000), [2_000]);
    assert_eq!(send(&mut network, 0, 1_000), [0; 0]);
    assert_eq!(send(&mut network, 1, 1_000), [3_000]);
    assert_eq!(network.counters().dropped_by_queue, 1);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let in_order = |kind| {
        let mut network = network();
        network.start(0, fault(kind));
        let sent: Vec<u64> = (0..200)
            .flat_map(|ms| send(&mut network, ms, 100))
            .collect();
        sent.is_sorted()
    };
    assert!(in_order(FaultKind::Jitter { ms: 50 }));
    assert!(!in_order(FaultKind::Reorder {
        ppm: 300_000,
        ms: 50
    }));
}

#[test]
fn bursts_are_longer_than_single_losses() {
    let mut network = network();
    network.start(
        0,
        fault(FaultKind::BurstLoss {
            enter_ppm: 10_000,
            leave_ppm: 100_000,
            loss_ppm: 1_000_000,
        }),
    );
    let fates: Vec<bool> = (0..20_000)
        .map(|ms| send(&mut network, ms, 100).is_empty())
        .collect();
    let lost = fates.iter().filter(|lost| **lost).count();
    let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    // A burst lasts ten packets on average.
    assert!(lost > bursts * 7 && lost < bursts * 14, "{lost} {bursts}");
}

#[test]
fn a_change_of_one_links_traffic_leaves_the_others_as_they_are() {
    let draw = |packets| {
        let mut network = network();
        network.start(0, fault(FaultKind::Jitter { ms: 50 }));
        for _ in 0..packets {
            send(&mut network, 0, 10);
        }
        let mut arrivals = Vec::new();
        let packet = Packet::Datagram(vec![0; 10], None);
        network.send(Instant::ZERO, TO, FROM, packet, &mut arrivals);
        arrivals.first().map(|(at, _)| *at)
    };
    assert_eq!(draw(1), draw(7));
}
