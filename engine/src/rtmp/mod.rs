//! The RTMP listener: bounds who may connect, and runs a task per connection.
//!
//! Limits: connections in all, and per address those that do not publish yet, so that no single
//! client can keep the others out. A connection past them is closed without a word.

mod connection;
mod outgoing;
mod publishing;

use crate::engine::Shared;
use crate::metrics::Metrics;
use crate::tcp::{Accept, Stream};
use connection::Connection;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pause after the system refused a connection for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the engine stops, then waits for those there are.
pub(crate) async fn listen(
    socket: impl Accept,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) {
    let handshakes = Arc::new(Handshakes {
        max: shared.config.rtmp.handshakes_per_ip_max,
        by_address: Mutex::new(BTreeMap::new()),
    });
    let mut connections = JoinSet::new();
    let for_each = stopping.clone();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let is_full = connections.len() >= shared.config.rtmp.connections_max;
                    let admitted = (!is_full).then(|| handshakes.admit(peer.ip())).flatten();
                    if let Some(handshake) = admitted {
                        let serving = serve(stream, peer, handshake, Arc::clone(&shared), for_each.clone());
                        connections.spawn(serving);
                    } else {
                        Metrics::add(&shared.metrics.connections_refused_total, 1);
                        tracing::info!(%peer, is_full, "too many connections");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed");
                }
            }
            () = stopped(&mut stopping) => break,
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Waits until the engine stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the engine was dropped.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

async fn serve(
    stream: impl Stream,
    peer: SocketAddr,
    handshake: Handshake,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) {
    let metrics = Arc::clone(&shared.metrics);
    Metrics::add(&metrics.connections_total, 1);
    Metrics::add(&metrics.connections, 1);
    Connection::new(stream, peer, handshake, shared, stopping)
        .run()
        .await;
    Metrics::sub(&metrics.connections, 1);
}

/// How many connections of each address do not publish yet.
struct Handshakes {
    max: usize,
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One of them; dropped when it publishes, or ends.
struct Handshake {
    all: Arc<Handshakes>,
    address: IpAddr,
}

impl Handshakes {
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Handshake> {
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Handshake {
            all: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut by_address = self
            .all
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_the_room() {
        let handshakes = Arc::new(Handshakes {
            max: 2,
            by_address: Mutex::new(BTreeMap::new()),
        });
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = handshakes.admit(address("192.0.2.1"));
        let second = handshakes.admit(address("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(handshakes.admit(address("192.0.2.1")).is_none());
        assert!(handshakes.admit(address("192.0.2.2")).is_some());
        drop(first);
        assert!(handshakes.admit(address("192.0.2.1")).is_some());
        drop(second);
        assert_eq!(handshakes.by_address.lock().unwrap().len(), 0);
    }
}
