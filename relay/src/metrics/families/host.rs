//! What the host and the operating system know: connections, packets, the process.

use super::super::{Family, process};
use super::{buckets, family, known, one, seconds, split};
use mainstem_quic::RTT_BOUNDS_MS;

pub(super) static QUIC: [Family; 11] = [
    family(
        "mainstem_quic_connections",
        "gauge",
        "QUIC connections, in any state",
        &[],
        |f| one(f.host.connections_open),
    ),
    family(
        "mainstem_quic_connections_opened_total",
        "counter",
        "QUIC connections begun or accepted",
        &[],
        |f| one(f.host.connections_opened),
    ),
    family(
        "mainstem_quic_handshakes_refused_total",
        "counter",
        "Clients that got no session: host full or a bad first packet, too many of one address, too many handshakes at once (they try again), broken HTTP/3",
        &["cause"],
        |f| {
            let counters = &f.host;
            split(
                "cause",
                [
                    ("refused", counters.connections_refused),
                    ("address", counters.connections_refused_address),
                    ("busy", counters.connections_dropped),
                    ("http3", counters.refused),
                ],
            )
        },
    ),
    family(
        "mainstem_quic_overloads_total",
        "counter",
        "Sessions closed for passing a bound on unsent bytes or waiting streams",
        &[],
        |f| one(f.host.overloads),
    ),
    family(
        "mainstem_quic_overloads_shared_total",
        "counter",
        "Of those, sessions that kept the most unsent bytes when all sessions together kept too many",
        &[],
        |f| one(f.host.overloads_shared),
    ),
    family(
        "mainstem_quic_udp_bytes_total",
        "counter",
        "UDP payload bytes",
        &["direction"],
        |f| {
            let (bytes_in, bytes_out) = (f.host.bytes_received, f.host.bytes_sent);
            split("direction", [("in", bytes_in), ("out", bytes_out)])
        },
    ),
    family(
        "mainstem_quic_packets_total",
        "counter",
        "QUIC packets sent, and those of them that were lost",
        &["outcome"],
        |f| {
            let (sent, lost) = (f.paths.packets_sent, f.paths.packets_lost);
            split("outcome", [("sent", sent), ("lost", lost)])
        },
    ),
    family(
        "mainstem_quic_congestion_events_total",
        "counter",
        "Times that a congestion window was cut",
        &[],
        |f| one(f.paths.congestion_events),
    ),
    family(
        "mainstem_quic_smoothed_rtt_connections",
        "gauge",
        "Open connections whose smoothed round trip, in seconds, is at most le",
        &["le"],
        |f| {
            let bounds = RTT_BOUNDS_MS.iter().map(|ms| seconds(*ms));
            buckets("", &bounds.collect::<Vec<_>>(), &f.paths.rtt)
        },
    ),
    family(
        "mainstem_quic_unsent_bytes",
        "gauge",
        "Bytes that wait to be handed to QUIC, over all connections",
        &[],
        |f| one(f.paths.unsent_bytes),
    ),
    family(
        "mainstem_quic_streams_waiting",
        "gauge",
        "Streams that wait for their peer's credit",
        &[],
        |f| one(f.paths.streams_waiting),
    ),
];

pub(super) static PROCESS: [Family; 4] = [
    family(
        "process_cpu_seconds_total",
        "counter",
        "Processor time of this process, user and system",
        &[],
        |_| known(process::cpu_seconds()),
    ),
    family(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of this process",
        &[],
        |_| known(process::resident_bytes()),
    ),
    family(
        "process_open_fds",
        "gauge",
        "Open file descriptors of this process",
        &[],
        |_| known(process::open_fds()),
    ),
    family(
        "process_threads",
        "gauge",
        "Threads of this process",
        &[],
        |_| known(process::threads()),
    ),
];
