//! Which Request IDs a peer has used: each once, with the parity of its side.
//!
//! Requests travel on streams of their own, so their IDs arrive out of order. What arrived is kept
//! as a low-water mark and the IDs above it; a peer that leaves more holes than the bound allows is
//! at fault.
//!
//! Source: draft-ietf-moq-transport-18 section 9.1 (Request ID).

use crate::map::BTreeSet;
use crate::moqt::error::{ProtocolError, SessionCode};
use crate::moqt::name::RequestId;
use crate::transport::Side;

/// The IDs that one side has used.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// The lowest ID not used yet; every lower one of the same parity is used.
    next: u64,
    above: BTreeSet<u64>,
    gaps_max: usize,
}

impl RequestIds {
    pub(super) fn new(side: Side, gaps_max: usize) -> Self {
        let next = match side {
            Side::Client => 0,
            Side::Server => 1,
        };
        Self {
            next,
            above: BTreeSet::new(),
            gaps_max,
        }
    }

    /// The next ID for a request of our own.
    pub(super) fn take(&mut self) -> RequestId {
        let id = RequestId(self.next);
        self.next = self.next.saturating_add(2);
        id
    }

    /// The lowest ID that has not been seen.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Records a peer's ID.
    pub(super) fn observe(&mut self, id: RequestId) -> Result<(), ProtocolError> {
        let fault = |reason| ProtocolError::new(SessionCode::INVALID_REQUEST_ID, reason);
        if id.0 % 2 != self.next % 2 {
            return Err(fault("request id has the parity of the other side"));
        }
        if id.0 < self.next || !self.above.insert(id.0) {
            return Err(fault("request id used twice"));
        }
        while self.above.remove(&self.next) {
            self.next = self.next.saturating_add(2);
        }
        if self.above.len() > self.gaps_max {
            return Err(fault(
                "request ids run too far ahead of the lowest unused one",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_spec_covers::covers;

    #[test]
    fn ids_may_arrive_out_of_order_but_once() {
        covers!("MOQT19-10.1-1", "MOQT19-10.1-2");
        let mut ids = RequestIds::new(Side::Server, 4);
        for id in [3, 1, 7, 5] {
            ids.observe(RequestId(id)).unwrap();
        }
        assert_eq!(ids.next(), 9);
        assert!(ids.above.is_empty());
        for (id, code) in [
            (3, SessionCode::INVALID_REQUEST_ID),
            (4, SessionCode::INVALID_REQUEST_ID),
        ] {
            assert_eq!(ids.observe(RequestId(id)).unwrap_err().code, code);
        }
    }

    #[test]
    fn holes_are_bounded() {
        let mut ids = RequestIds::new(Side::Client, 2);
        ids.observe(RequestId(10)).unwrap();
        ids.observe(RequestId(20)).unwrap();
        assert!(ids.observe(RequestId(30)).is_err());
    }
}
