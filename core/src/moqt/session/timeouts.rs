//! What a session waits for, and for how long.
//!
//! | what | how long | then |
//! |---|---|---|
//! | the peer's SETUP | `setup_timeout` | the session closes, CONTROL_MESSAGE_TIMEOUT |
//! | the peer's leave after our GOAWAY | its Timeout; 0 is for ever | the session closes, GOAWAY_TIMEOUT with requests open, NO_ERROR without |
//! | the same, on one request | its Timeout; 0 is for ever | the request is reset, GOING_AWAY |
//! | the stream of a FETCH of ours that was agreed to | `fetch_stream_timeout` | the fetch is cancelled |
//! | the header of a data stream that has begun | `stream_header_timeout` | the session closes, DATA_STREAM_TIMEOUT |
//! | the track alias of a subgroup | `alias_timeout` | the stream is stopped |
//! | the last streams after PUBLISH_DONE | `publish_done_timeout` | the subscription ends without them |
//!
//! A fetch whose stream does not begin costs only itself: the peer has opened nothing that it would
//! owe data on, and the stream may wait for credit or behind live objects. A request that ends here
//! is told by [`Event::Cancelled`](super::Event::Cancelled).
//!
//! Each kind stands in the order of time, see [`super::deadlines`]; a request by its earliest.
//!
//! Source: draft-ietf-moq-transport-19, Sections 3.5 (termination), 3.6 (migration), 10.4 (GOAWAY).

use super::{
    CommandError, Instant, Message, RequestId, Session, SessionCode, Side, State, StreamCode,
};
use crate::moqt::message::Goaway;
use std::time::Duration;

impl Session {
    /// Tells the peer that this end is going away, once. `uri` is where a client should go instead. The
    /// session is closed when `timeout` is over, if the peer has not closed it by then; a `timeout` of
    /// less than a millisecond is none.
    pub fn goaway(
        &mut self,
        now: Instant,
        uri: &str,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        if self.goaway_sent {
            return Ok(());
        }
        let timeout_ms = millis(timeout);
        let request_id = self
            .draft
            .profile()
            .goaway_request_id
            .then(|| RequestId(self.peer_ids.next()));
        // A client cannot send a server elsewhere.
        let uri = if self.side == Side::Client { "" } else { uri };
        let goaway = Goaway {
            new_session_uri: uri.to_owned(),
            timeout_ms,
            request_id,
        };
        self.send(self.control_out, &Message::Goaway(goaway))?;
        self.goaway_sent = true;
        self.goaway_deadline = (timeout_ms > 0).then(|| now + timeout);
        Ok(())
    }

    /// The deadline that `next_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.state {
            State::Setup { deadline } if deadline <= now => {
                self.close(
                    SessionCode::CONTROL_MESSAGE_TIMEOUT,
                    "no SETUP within the time-out",
                );
            }
            State::Ready if is_due(self.control_stopped) => {
                self.close(SessionCode::PROTOCOL_VIOLATION, "control stream stopped");
            }
            State::Ready if is_due(self.goaway_deadline) => {
                if self.requests.is_empty() {
                    self.close(SessionCode::NO_ERROR, "gone away, nothing is left open");
                } else {
                    let reason = "requests are still open after the time-out of GOAWAY";
                    self.close(SessionCode::GOAWAY_TIMEOUT, reason);
                }
            }
            State::Ready if is_due(self.headers.next()) => {
                let reason = "a data stream began and its header did not come";
                self.close(SessionCode::DATA_STREAM_TIMEOUT, reason);
            }
            State::Ready => {
                self.expire_held_streams(now);
                self.expire_requests(now);
            }
            State::Setup { .. } | State::Closed => {}
        }
    }

    /// When `handle_timeout` is wanted.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Setup { deadline } => Some(deadline),
            State::Ready => {
                let deadlines = [
                    self.held.next(),
                    self.headers.next(),
                    self.waiting.next(),
                    self.control_stopped,
                    self.goaway_deadline,
                ];
                deadlines.into_iter().flatten().min()
            }
            State::Closed => None,
        }
    }

    /// Puts a request where its earliest deadline is now.
    pub(super) fn arm(&mut self, request: RequestId) {
        let Some(entry) = self.requests.get_mut(&request) else {
            return;
        };
        let deadline = entry.deadline();
        let before = std::mem::replace(&mut entry.armed, deadline);
        self.waiting.change(request, before, deadline);
    }

    fn expire_requests(&mut self, now: Instant) {
        for request in self.waiting.due(now) {
            let Some(entry) = self.requests.get(&request) else {
                continue;
            };
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if is_due(entry.ending_deadline()) {
                self.end_request(request);
            } else if is_due(entry.goaway_deadline) {
                self.give_up(request, StreamCode::GOING_AWAY);
            } else {
                self.give_up(request, StreamCode::CANCELLED);
            }
        }
    }
}

/// A Timeout as the wire has it.
pub(super) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}
