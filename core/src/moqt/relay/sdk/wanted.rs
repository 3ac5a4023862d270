//! Viewers who ask for a catalog that the publisher does not have.
//!
//! A publisher that announced its namespace is asked for `catalog`, then for `.catalog`. One that
//! has neither may still have `broadcast`, and the catalog can be made of that. Then the viewer
//! waits, the relay subscribes to `broadcast`, and what it becomes is made beside it; a regular
//! `broadcast` itself passes untouched as before.
//!
//! Limits: [`PATIENCE`] for the first object. Source: CONTRACTS 0.3.

use super::layout::BROADCAST_TRACK;
use super::uploads::Upload;
use crate::catalog::{MSF_TRACK, SEED_TRACK};
use crate::moqt::error::RequestCode;
use crate::moqt::message::RequestError;
use crate::moqt::name::{FullTrackName, RequestId, TrackName};
use crate::moqt::object::Object;
use crate::moqt::relay::{Relay, RequestKey, TrackId};
use crate::time::Instant;
use crate::transport::SessionId;
use bytes::Bytes;
use std::time::Duration;

/// How long a viewer waits for a catalog to be made.
const PATIENCE: Duration = Duration::from_secs(5);

impl Relay {
    /// A publisher has no such track. Returns whether it may be made of its upload, for which the
    /// viewers wait.
    pub(in super::super) fn ask_for_upload(
        &mut self,
        now: Instant,
        session: SessionId,
        id: TrackId,
    ) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let name = &entry.name.name.0;
        let is_catalog = name == MSF_TRACK.as_bytes() || name == SEED_TRACK.as_bytes();
        if !is_catalog || !entry.has_viewers() {
            return false;
        }
        let broadcast = TrackName(Bytes::from_static(BROADCAST_TRACK.as_bytes()));
        let Ok(broadcast) = FullTrackName::new(entry.name.namespace.clone(), broadcast) else {
            return false;
        };
        if !self.may_upload(session, &broadcast) {
            return false;
        }
        let Some(track) = self.track_of(broadcast.clone()) else {
            return false;
        };
        if !self.want_upload(now, session, track, &broadcast) {
            self.remove_if_unused(track);
            return false;
        }
        // What is made at once has served them.
        self.wait_for_upload(id, now + PATIENCE);
        true
    }

    /// `broadcast` was refused: no catalog will be made of it.
    pub(in super::super) fn refuse_catalogs(&mut self, broadcast: &FullTrackName) {
        if broadcast.name.0 != BROADCAST_TRACK.as_bytes() {
            return;
        }
        for name in [MSF_TRACK, SEED_TRACK] {
            let name = TrackName(Bytes::from_static(name.as_bytes()));
            let Ok(name) = FullTrackName::new(broadcast.namespace.clone(), name) else {
                continue;
            };
            for viewer in self.take_waiting_for_upload(&name) {
                let reason = "the publisher has neither a catalog nor a broadcast to make it of";
                let error = RequestError::new(RequestCode::DOES_NOT_EXIST, reason);
                self.refuse_with(viewer, error);
            }
        }
    }

    /// Sees to it that the session's `broadcast` is read. Returns whether it is or will be.
    fn want_upload(
        &mut self,
        now: Instant,
        session: SessionId,
        track: TrackId,
        name: &FullTrackName,
    ) -> bool {
        let of_session = |key: &RequestKey| key.0 == session;
        let range = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let upload = self
            .uploads
            .range_mut(range)
            .find(|(_, upload)| upload.broadcast == track);
        if let Some((_, upload)) = upload {
            upload.is_wanted = true;
            return true;
        }
        let Some(entry) = self.entries.get_mut(&track) else {
            return false;
        };
        entry.is_wanted = true;
        let upstream = entry.upstream_of(session);
        if !entry.has_viewers() {
            entry.idle_until = Some(now + PATIENCE);
        }
        self.arm_track(track);
        match upstream {
            // Its answer is on its way.
            Some((_, false)) => true,
            // It is regular and flows already.
            Some((key, true)) => {
                self.read_beside(now, key, track, name);
                true
            }
            None => {
                let covering = self.publishers.covering(name.namespace.fields());
                let publisher = covering.into_iter().find(of_session);
                publisher
                    .is_some_and(|publisher| self.ask_publisher(track, publisher, name).is_some())
            }
        }
    }

    /// Reads a track that passes untouched, from the beginning of its newest group on.
    fn read_beside(&mut self, now: Instant, key: RequestKey, track: TrackId, name: &FullTrackName) {
        let mut upload = Upload::new(track, name.namespace.clone());
        upload.passes = true;
        self.uploads.insert(key, upload);
        self.normalise_upload(now, key);
        let retained: Vec<Object> = self
            .entries
            .get(&track)
            .map(|entry| entry.track.cache())
            .into_iter()
            .flat_map(|cache| cache.groups_from(cache.newest_group().unwrap_or(0)))
            .flat_map(|(_, group)| group.subgroups.values())
            .flat_map(|subgroup| subgroup.objects.iter().cloned())
            .collect();
        for object in retained {
            self.read_object(now, key, object);
        }
    }
}
