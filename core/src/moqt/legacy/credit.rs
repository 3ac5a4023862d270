//! Request ids of draft 16 and the credit that limits them, in both directions.
//!
//! | end | type | rule | fault |
//! |---|---|---|---|
//! | ours | [`Own`] | ids rise by two and stay below the peer's maximum | - (requests wait) |
//! | the peer's | [`Granted`] | the parity is the peer's, each id once | INVALID_REQUEST_ID |
//! | | | below the maximum that was granted | TOO_MANY_REQUESTS |
//!
//! Ids on the control stream arrive in order. A SUBSCRIBE_NAMESPACE travels on a stream of its own,
//! so an id may be missing for a while: holes are allowed, going back on the control stream is not.
//!
//! Source: draft-ietf-moq-transport-16, Sections 9.1, 9.5, 9.6.

use crate::map::BTreeSet;
use crate::moqt::error::{ProtocolError, SessionCode};
use crate::moqt::name::RequestId;
use crate::transport::Side;

/// The ids of this end's requests.
#[derive(Debug)]
pub(super) struct Own {
    next: u64,
    /// All ids must be smaller.
    max: u64,
    /// The maximum that REQUESTS_BLOCKED was sent for.
    blocked_at: Option<u64>,
}

impl Own {
    pub(super) const fn new(side: Side) -> Self {
        Self {
            next: first_of(side),
            max: 0,
            blocked_at: None,
        }
    }

    /// The next id, if there is credit for it.
    pub(super) fn next(&self) -> Option<RequestId> {
        (self.next < self.max).then_some(RequestId(self.next))
    }

    /// The next id has been used.
    pub(super) fn take(&mut self) {
        self.next = self.next.saturating_add(2);
    }

    /// Whether this id has been used by this end.
    pub(super) const fn has_used(&self, id: RequestId) -> bool {
        id.0 % 2 == self.next % 2 && id.0 < self.next
    }

    /// The peer's setup told the first maximum.
    pub(super) const fn begin(&mut self, max: u64) {
        self.max = max;
    }

    /// The peer raised the maximum.
    pub(super) fn raise(&mut self, max: u64) -> Result<(), ProtocolError> {
        if max <= self.max {
            return Err(ProtocolError::violation("MAX_REQUEST_ID does not rise"));
        }
        self.max = max;
        Ok(())
    }

    /// The maximum to complain about, once for each.
    pub(super) fn blocked(&mut self) -> Option<u64> {
        let is_new = self.blocked_at.replace(self.max) != Some(self.max);
        is_new.then_some(self.max)
    }
}

/// The ids of the peer's requests.
#[derive(Debug)]
pub(super) struct Granted {
    /// The lowest id not used yet; every lower one of the same parity is used.
    low: u64,
    above: BTreeSet<u64>,
    /// The last id on the control stream.
    last: Option<u64>,
    max: u64,
    /// Requests that are over and whose credit has not been given back.
    ended: u64,
    window: u64,
}

impl Granted {
    /// Credit for `window` requests at a time.
    pub(super) fn new(peer: Side, window: usize) -> Self {
        let window = u64::try_from(window).unwrap_or(u64::MAX >> 3).max(1);
        Self {
            low: first_of(peer),
            above: BTreeSet::new(),
            last: None,
            max: window.saturating_mul(2),
            ended: 0,
            window,
        }
    }

    /// The maximum granted so far.
    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    /// Whether the peer has used this id.
    pub(super) fn has_used(&self, id: RequestId) -> bool {
        id.0 % 2 == self.low % 2 && (id.0 < self.low || self.above.contains(&id.0))
    }

    /// Records the id of a request on the control stream.
    pub(super) fn observe_on_control(&mut self, id: RequestId) -> Result<(), ProtocolError> {
        if self.last.is_some_and(|last| id.0 <= last) {
            return Err(invalid("request ids do not rise"));
        }
        self.observe(id)?;
        self.last = Some(id.0);
        Ok(())
    }

    /// Records the id of a request on a stream of its own.
    pub(super) fn observe(&mut self, id: RequestId) -> Result<(), ProtocolError> {
        if id.0 % 2 != self.low % 2 {
            return Err(invalid("request id has the parity of the other side"));
        }
        if id.0 >= self.max {
            return Err(ProtocolError::new(
                SessionCode::TOO_MANY_REQUESTS,
                "request id beyond the maximum granted",
            ));
        }
        if id.0 < self.low || !self.above.insert(id.0) {
            return Err(invalid("request id used twice"));
        }
        while self.above.remove(&self.low) {
            self.low = self.low.saturating_add(2);
        }
        Ok(())
    }

    /// A request of the peer is over. Returns the new maximum when it is time to grant more.
    pub(super) fn end(&mut self) -> Option<u64> {
        self.ended += 1;
        if self.ended.saturating_mul(2) < self.window {
            return None;
        }
        let more = std::mem::take(&mut self.ended).saturating_mul(2);
        self.max = self.max.saturating_add(more);
        Some(self.max)
    }
}

const fn first_of(side: Side) -> u64 {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

/// An id that cannot be.
pub(super) const fn invalid(reason: &'static str) -> ProtocolError {
    ProtocolError::new(SessionCode::INVALID_REQUEST_ID, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_given_back_as_requests_end() {
        let mut granted = Granted::new(Side::Client, 4);
        for id in [0, 2, 4, 6] {
            granted.observe_on_control(RequestId(id)).unwrap();
        }
        let code = |fault: ProtocolError| fault.code;
        let fault = granted.observe_on_control(RequestId(8)).map_err(code);
        assert_eq!(fault, Err(SessionCode::TOO_MANY_REQUESTS));
        assert_eq!((granted.end(), granted.end()), (None, Some(12)));
        granted.observe_on_control(RequestId(8)).unwrap();
    }

    #[test]
    fn ids_on_the_control_stream_rise_and_others_fill_the_holes() {
        let mut granted = Granted::new(Side::Server, 8);
        granted.observe_on_control(RequestId(5)).unwrap();
        granted.observe(RequestId(1)).unwrap();
        assert!(granted.has_used(RequestId(1)) && !granted.has_used(RequestId(3)));
        for (id, reason) in [(3, "do not rise"), (5, "do not rise")] {
            let fault = granted.observe_on_control(RequestId(id)).unwrap_err();
            assert_eq!(fault.code, SessionCode::INVALID_REQUEST_ID);
            assert!(fault.reason.contains(reason));
        }
        for id in [1, 4] {
            let fault = granted.observe(RequestId(id)).unwrap_err();
            assert_eq!(fault.code, SessionCode::INVALID_REQUEST_ID);
        }
    }

    #[test]
    fn the_peers_maximum_only_rises() {
        let mut own = Own::new(Side::Client);
        assert_eq!(
            (own.next(), own.blocked(), own.blocked()),
            (None, Some(0), None)
        );
        own.begin(2);
        assert_eq!(own.next(), Some(RequestId(0)));
        own.take();
        assert_eq!((own.next(), own.blocked()), (None, Some(2)));
        assert!(own.raise(2).is_err());
        assert_eq!(own.raise(3).map(|()| own.next()), Ok(Some(RequestId(2))));
    }
}
