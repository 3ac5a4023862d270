//! What is kept of the peer's streams, and its bounds.
//!
//! | kept | until | bound | beyond it |
//! |---|---|---|---|
//! | a stream before SETUP, a subgroup before its alias | they come, or a time-out | `held_bytes_max` | the session closes |
//! | an object or a message that has begun | it is whole | `unfinished_bytes_max` | a data stream is stopped; for messages, the session closes |
//!
//! Source: draft-ietf-moq-transport-18, Sections 3.3, 11.1 (track alias).

use super::super::{
    Instant, ProtocolError, Session, SessionCode, StreamCode, StreamEnd, StreamId, TrackAlias,
};
use super::{FetchBinding, Incoming, Kind};

impl Session {
    /// Counts what a stream has begun and not finished. Returns whether there is room for it: a
    /// subgroup without is given up.
    pub(super) fn count_unfinished(
        &mut self,
        stream: StreamId,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        let unfinished = if incoming.held > 0 {
            0
        } else {
            incoming.buffered()
        };
        self.unfinished_bytes = self
            .unfinished_bytes
            .saturating_sub(incoming.unfinished)
            .saturating_add(unfinished);
        incoming.unfinished = unfinished;
        if self.unfinished_bytes <= self.limits.unfinished_bytes_max || unfinished == 0 {
            return Ok(true);
        }
        let code = StreamCode::EXCESSIVE_LOAD;
        let end = StreamEnd::Reset(code);
        match &incoming.kind {
            Kind::Subgroup { header, bound, .. } => {
                self.stop(stream, code);
                if let (Some(header), Some(bound)) = (*header, *bound) {
                    self.subgroup_over(stream, &header, &bound, end);
                }
                Ok(false)
            }
            Kind::Fetch { bound, .. } => {
                self.stop(stream, code);
                if let Some(FetchBinding { request }) = *bound {
                    self.fetch_received(stream, request, end);
                }
                Ok(false)
            }
            _ => Err(ProtocolError::new(
                SessionCode::INTERNAL_ERROR,
                "too many bytes of unfinished messages (unfinished_bytes_max)",
            )),
        }
    }

    pub(super) fn release_counted(&mut self, incoming: &Incoming) {
        self.held_bytes = self.held_bytes.saturating_sub(incoming.held);
        self.unfinished_bytes = self.unfinished_bytes.saturating_sub(incoming.unfinished);
    }

    /// A subgroup without a known alias waits, unless its subscription is over. Returns whether the
    /// stream has to be kept.
    pub(super) fn hold_for_alias(
        &mut self,
        now: Instant,
        stream: StreamId,
        incoming: &mut Incoming,
        alias: TrackAlias,
    ) -> bool {
        if self.retired_aliases.contains(&alias) {
            self.stop(stream, StreamCode::CANCELLED);
            return false;
        }
        if matches!(incoming.ended, Some(StreamEnd::Reset(_))) {
            return false;
        }
        if incoming.alias_deadline.is_none() {
            incoming.alias_deadline = Some((now + self.limits.alias_timeout, alias));
        }
        true
    }

    /// Keeps account of a stream that begins or ceases to wait for its alias.
    pub(super) fn note_held(
        &mut self,
        stream: StreamId,
        before: Option<(Instant, TrackAlias)>,
        after: Option<(Instant, TrackAlias)>,
    ) {
        if before == after {
            return;
        }
        let at = |held: Option<(Instant, TrackAlias)>| held.map(|(at, _)| at);
        self.held.change(stream, at(before), at(after));
        if let Some((_, alias)) = before {
            self.held_by_alias.remove(&(alias, stream));
        }
        if let Some((_, alias)) = after {
            self.held_by_alias.insert((alias, stream));
        }
    }

    /// Tries the streams that wait for an alias again: it was established.
    pub(super) fn resume_held_streams(
        &mut self,
        now: Instant,
        alias: TrackAlias,
    ) -> Result<(), ProtocolError> {
        let of_alias = self
            .held_by_alias
            .range((alias, StreamId::MIN)..)
            .take_while(|(of, _)| *of == alias);
        let held: Vec<StreamId> = of_alias.map(|(_, stream)| *stream).collect();
        for stream in held {
            self.advance(now, stream)?;
        }
        Ok(())
    }

    pub(in crate::moqt::session) fn expire_held_streams(&mut self, now: Instant) {
        for stream in self.held.due(now) {
            self.drop_incoming(stream);
            self.stop(stream, StreamCode::CANCELLED);
        }
    }

    /// Forgets the receiving half of a stream. Returns whether there was one.
    pub(in crate::moqt::session) fn drop_incoming(&mut self, stream: StreamId) -> bool {
        let Some(incoming) = self.incoming.remove(&stream) else {
            return false;
        };
        self.note_held(stream, incoming.alias_deadline, None);
        self.headers.change(stream, incoming.header_deadline, None);
        self.release_counted(&incoming);
        true
    }
}
