//! Malformed tracks: a publisher broke the rules of objects, so nobody is served the track any longer.
//!
//! The session has found the fault and given its subscription up; what is left is to tell the viewers
//! why, and to leave the track's other publishers, which publish the same name. A publisher that comes
//! later starts the track anew. Source: draft-ietf-moq-transport-19, Section 2.4.2.

use super::super::{Relay, RequestKey};
use crate::moqt::error::{PublishDoneCode, StreamCode};
use crate::time::Instant;

impl Relay {
    /// A request is over with this code: where it fed a track that is malformed, the track is too.
    pub(in crate::moqt::relay) fn end_if_malformed(
        &mut self,
        now: Instant,
        key: RequestKey,
        code: Option<StreamCode>,
    ) {
        if code != Some(StreamCode::MALFORMED_TRACK) {
            return;
        }
        let Some(id) = self.detach(now, key) else {
            return;
        };
        self.lose_upload(now, key);
        let others: Vec<RequestKey> = self
            .entries
            .get(&id)
            .map(|entry| entry.upstreams.keys().copied().collect())
            .unwrap_or_default();
        for other in others {
            self.detach(now, other);
            self.lose_upload(now, other);
            if let Some(session) = self.sessions.session_mut(other.0) {
                // It may be over already.
                let _ = session.cancel(other.1, StreamCode::MALFORMED_TRACK);
            }
        }
        self.abort_fetches_of(now, id);
        let code = PublishDoneCode::MALFORMED_TRACK;
        self.end_track(now, id, code, "the track is malformed");
    }
}
