//! [`Figures`]: how the paths of a host's connections do.
//!
//! Packets, losses and congestion events are summed over all connections, those that are over
//! included. The round trip is what the open ones measure now. Reading walks all connections: for a
//! metrics page, not for every packet.

use crate::connections::Connections;
use crate::host::Host;
use mainstem_core::transport::App;
use quinn_proto::ConnectionStats;

/// Upper bounds of the round-trip buckets in milliseconds; one more holds the rest.
pub const RTT_BOUNDS_MS: [u64; 9] = [1, 5, 10, 25, 50, 100, 250, 500, 1000];

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// QUIC packets sent.
    pub packets_sent: u64,
    /// Of those, packets declared lost.
    pub packets_lost: u64,
    /// Bytes of those.
    pub bytes_lost: u64,
    /// Times that a congestion window was cut.
    pub congestion_events: u64,
    /// Open connections by their smoothed round trip.
    pub rtt: [u64; RTT_BOUNDS_MS.len() + 1],
    /// Bytes that wait to be handed to QUIC, over all connections, with an allowance per write.
    pub unsent_bytes: u64,
    /// The most that one connection has waiting.
    pub unsent_bytes_of_one: u64,
    /// Streams that wait for their peer's credit.
    pub streams_waiting: u64,
}

impl Figures {
    /// Adds what one connection's paths did.
    pub(crate) fn add(&mut self, stats: &ConnectionStats) {
        self.packets_sent += stats.path.sent_packets;
        self.packets_lost += stats.path.lost_packets;
        self.bytes_lost += stats.path.lost_bytes;
        self.congestion_events += stats.path.congestion_events;
    }
}

impl<A: App> Host<A> {
    /// How the paths do.
    pub fn figures(&self) -> Figures {
        self.connections.figures()
    }
}

impl Connections {
    fn figures(&self) -> Figures {
        let mut figures = self.retired;
        for connection in self.slots.iter().flatten() {
            let stats = connection.quic.stats();
            figures.add(&stats);
            let rtt = u64::try_from(stats.path.rtt.as_micros()).unwrap_or(u64::MAX);
            let bucket = RTT_BOUNDS_MS.partition_point(|bound| bound * 1000 < rtt);
            if let Some(count) = figures.rtt.get_mut(bucket) {
                *count += 1;
            }
            let unsent = u64::try_from(connection.streams.unsent()).unwrap_or(u64::MAX);
            figures.unsent_bytes = figures.unsent_bytes.saturating_add(unsent);
            figures.unsent_bytes_of_one = figures.unsent_bytes_of_one.max(unsent);
            let waiting = u64::try_from(connection.streams.waiting()).unwrap_or(u64::MAX);
            figures.streams_waiting = figures.streams_waiting.saturating_add(waiting);
        }
        figures
    }
}
