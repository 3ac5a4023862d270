//! What a rough peer does to its own end: it stops reading, or it vanishes.
//!
//! A session that is paused leaves what arrives in QUIC's receive windows. The connection lives on:
//! packets are acknowledged, and once the windows are full the peer may send no more. A session that
//! is abandoned is forgotten at once and its peer told nothing, as when a machine loses power.
//!
//! Load generators and simulations use both. A paused peer holds at most `Limits::receive_window`
//! of stream bytes. Source: RFC 9000 sections 4.1 (flow control), 10.1 (idle time-out).

use crate::connections::Connections;
use crate::host::Host;
use mainstem_core::time::Instant;
use mainstem_core::transport::{App, Closed, SessionId};
use quinn_proto::{ConnectionHandle, EndpointEvent};

impl<A: App> Host<A> {
    /// Stops reading a session's streams, or goes on. A session that is gone stays so.
    pub fn pause(&mut self, now: Instant, session: SessionId, is_paused: bool) {
        let now = self.connections.advance(now);
        self.connections.pause(session, is_paused);
        self.drive(now);
    }

    /// Forgets a session and its connection without a word to the peer. The application is told that
    /// the transport ended it.
    pub fn abandon(&mut self, now: Instant, session: SessionId) {
        let now = self.connections.advance(now);
        self.connections.abandon(session);
        self.drive(now);
    }
}

impl Connections {
    fn pause(&mut self, session: SessionId, is_paused: bool) {
        let Some(handle) = self.sessions.connection_of(session) else {
            return;
        };
        self.with(handle, |connection, _| connection.is_paused = is_paused);
        self.work(handle);
    }

    fn abandon(&mut self, session: SessionId) {
        let Some(handle) = self.sessions.connection_of(session) else {
            return;
        };
        self.with(handle, |connection, cx| {
            let reason = "abandoned by this end".to_owned();
            connection.end_session(Closed::Transport { reason }, cx);
        });
        self.endpoint
            .handle_event(ConnectionHandle(handle), EndpointEvent::drained());
        self.remove(handle);
    }
}
