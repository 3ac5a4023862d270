//! Commands of requests that ask about tracks without naming a subscription: SUBSCRIBE_TRACKS,
//! what is told in answer to it, and TRACK_STATUS.
//!
//! Faults of the owner, and commands that come too late, are a `CommandError`. Source:
//! draft-ietf-moq-transport-18 sections 6.1, 10.14 (TRACK_STATUS), 10.19 (SUBSCRIBE_TRACKS), 10.20
//! (PUBLISH_BLOCKED; PUBLISH_SKIPPED from 19 on).

use super::super::{CommandError, Message, Parameters, RequestId, Session, TrackNamespace};
use crate::moqt::message::RequestKind as Kind;
use crate::moqt::message::{PublishSkipped, SubscribeTracks, TrackStatus};
use crate::moqt::name::{FullTrackName, TrackName};

impl Session {
    /// Asks for a PUBLISH of each track below a prefix, now and later.
    pub fn subscribe_tracks(
        &mut self,
        prefix: TrackNamespace,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        let asked = prefix.clone();
        let id = self.ask(Kind::SubscribeTracks, None, |id| {
            Message::SubscribeTracks(SubscribeTracks {
                request_id: id,
                prefix,
                parameters,
            })
        })?;
        self.note_prefix(id, Some(asked));
        Ok(id)
    }

    /// Asks how a track stands, without subscribing. The answer ends the request.
    pub fn track_status(
        &mut self,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        self.ask(Kind::TrackStatus, Some(track.clone()), |id| {
            Message::TrackStatus(TrackStatus {
                request_id: id,
                track,
                parameters,
            })
        })
    }

    /// Tells a SUBSCRIBE_TRACKS of the peer that a track is not published to it.
    pub fn publish_skipped(
        &mut self,
        request: RequestId,
        suffix: TrackNamespace,
        name: TrackName,
    ) -> Result<(), CommandError> {
        let entry = self.established(request)?;
        if entry.kind != Kind::SubscribeTracks {
            return Err(CommandError::WrongRequest(request));
        }
        let stream = entry.stream;
        let skipped = PublishSkipped { suffix, name };
        self.send(stream, &Message::PublishSkipped(skipped))
    }

    /// Ends a request of the peer that was answered, gracefully: by the end of our direction.
    pub fn finish_request(&mut self, request: RequestId) -> Result<(), CommandError> {
        self.find(request)?;
        self.finish(request);
        Ok(())
    }
}
