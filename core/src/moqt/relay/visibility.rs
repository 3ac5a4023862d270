//! What a relay shows of itself: counters, the sessions that are open, and their event logs.
//!
//! Counting is always on. An event log is switched on for all sessions or for one, and its records
//! come out as [`Event::Logged`]; while none is on it costs one comparison per stream event.

use super::{Event, Peer, Relay};
use crate::map::BTreeMap;
use crate::moqt::session::{Session, Tally, record::Record};
use crate::time::Instant;
use crate::transport::{Carrier, Closed, SessionId};
use std::net::SocketAddr;
use std::time::Duration;

/// Refusals for want of permission: of what (`session`, `request` or `update`), and why. All causes are words
/// of this relay's own, so there are few.
pub type Denials = BTreeMap<(&'static str, &'static str), u64>;

/// What happened to a session, for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSummary {
    /// The session.
    pub session: SessionId,
    /// Its peer.
    pub remote: SocketAddr,
    /// The protocol that was negotiated, such as `moqt-22`.
    pub protocol: String,
    /// Whether it is carried by WebTransport; by QUIC itself otherwise.
    pub is_web_transport: bool,
    /// How long it has been open.
    pub age: Duration,
    /// Stream bytes from the peer.
    pub bytes_in: u64,
    /// Stream bytes to the peer.
    pub bytes_out: u64,
    /// Whether an event log of it is kept.
    pub is_logged: bool,
}

impl Relay {
    /// What the sessions have done so far, by draft, kind and code.
    pub fn tally(&self) -> &Tally {
        self.sessions.tally()
    }

    /// Sessions and requests that were refused for want of permission.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    pub(super) fn count_denial(&mut self, of: &'static str, cause: &'static str) {
        *self.denials.entry((of, cause)).or_insert(0) += 1;
    }

    /// Switches the event log of all sessions on or off, those that open later included.
    pub fn log_all(&mut self, is_on: bool) {
        self.sessions.log_all(is_on);
    }

    /// Switches one session's event log on or off; false when there is no such session.
    pub fn log_session(&mut self, session: SessionId, is_on: bool) -> bool {
        self.sessions.log(session, is_on)
    }

    /// The sessions that are open, `limit` of them at most.
    pub fn open_sessions(&self, now: Instant, limit: usize) -> Vec<SessionSummary> {
        let open = self.peers.iter().take(limit);
        open.map(|(session, peer)| self.summary(now, *session, peer))
            .collect()
    }

    fn summary(&self, now: Instant, session: SessionId, peer: &Peer) -> SessionSummary {
        let open = self.sessions.session(session);
        let (bytes_in, bytes_out) = open.map_or((0, 0), Session::stream_bytes);
        SessionSummary {
            session,
            remote: peer.remote,
            protocol: peer.protocol.clone(),
            is_web_transport: peer.carrier == Carrier::WebTransport,
            age: now.saturating_since(peer.opened),
            bytes_in,
            bytes_out,
            is_logged: open.is_some_and(Session::is_logging),
        }
    }

    pub(super) fn tell_opened(&mut self, now: Instant, session: SessionId) {
        if let Some(peer) = self.peers.get(&session) {
            let summary = Box::new(self.summary(now, session, peer));
            self.events.push_back(Event::Opened { summary });
        }
    }

    pub(super) fn tell_closed(&mut self, now: Instant, session: SessionId, closed: &Closed) {
        if let Some(peer) = self.peers.get(&session) {
            let summary = Box::new(self.summary(now, session, peer));
            let closed = closed.clone();
            self.events.push_back(Event::Closed { summary, closed });
        }
    }

    pub(super) fn next_record(&mut self) -> Option<Event> {
        let (session, record): (SessionId, Record) = self.sessions.poll_record()?;
        let record = Box::new(record);
        Some(Event::Logged { session, record })
    }
}
