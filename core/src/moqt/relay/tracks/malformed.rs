//! Malformed tracks: a publisher broke the rules of objects, so nobody is served the track any longer.
//!
//! | the fault is found by | in |
//! |---|---|
//! | the session, which has given its request up | one stream, or what the session remembers |
//! | the relay | an object that is here already and comes again as another one |
//!
//! What is left is to tell the viewers why, and to leave the track's other publishers, which publish
//! the same name. What was kept of the track is forgotten; a publisher that comes later starts it
//! anew. Source: draft-ietf-moq-transport-19, Sections 2.4.2, 9.1.

use super::super::{Event, Relay, RequestKey};
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
        let fed = self.detach(now, key);
        let Some(id) = fed.or_else(|| self.forget_asked(key)) else {
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
        if let Some(entry) = self.entries.get(&id) {
            self.metrics.groups_malformed += entry.track.subscribers_len() as u64;
        }
        self.abort_fetches_of(now, id, StreamCode::MALFORMED_TRACK);
        let code = PublishDoneCode::MALFORMED_TRACK;
        self.end_track(now, id, code, "the track is malformed");
    }

    /// An object came again as another one: the track of the request that brought it is malformed.
    pub(in crate::moqt::relay) fn object_contradicts(&mut self, now: Instant, key: RequestKey) {
        if let Some(peer) = self.peers.get(&key.0) {
            self.metrics.requests_malformed += 1;
            self.events.push_back(Event::Malformed {
                session: key.0,
                remote: peer.remote,
                reason: "an object came again with another payload, priority or subgroup"
                    .to_owned(),
            });
        }
        self.cancel(key, StreamCode::MALFORMED_TRACK);
        self.end_if_malformed(now, key, Some(StreamCode::MALFORMED_TRACK));
        self.request_over(now, key);
    }
}
