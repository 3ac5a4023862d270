//! The relay's side of uploads: which publishers have one, and the tracks that are made of it.
//!
//! Limits: [`super::Limits`] for each upload; the tracks that are made count to those of the relay,
//! and what they retain to its budget. Source: as in [`super`].

use super::layout::BROADCAST_TRACK;
use super::normalise::{Normaliser, Output};
use super::shape;
use crate::catalog::{MSF_TRACK, SEED_TRACK};
use crate::map::BTreeMap;
use crate::moqt::error::{PublishDoneCode, StreamCode};
use crate::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use crate::moqt::object::Object;
use crate::moqt::relay::access::Grant;
use crate::moqt::relay::tracks::Entry;
use crate::moqt::relay::{Event, Relay, RequestKey, Timer, TrackId};
use crate::time::Instant;
use crate::transport::SessionId;
use bytes::Bytes;

/// What feeds made tracks. The key is the request whose objects it reads.
#[derive(Debug)]
pub(in super::super) struct Upload {
    /// The upload's own track.
    pub(super) broadcast: TrackId,
    namespace: TrackNamespace,
    /// `None` until its first object tells whether it is an upload at all.
    normaliser: Option<Normaliser>,
    /// Somebody waits for what is to be made of it, whatever its form.
    pub(super) is_wanted: bool,
    /// It is regular: its own track passes untouched, and the others are made beside it.
    pub(super) passes: bool,
    /// The tracks made of it, `broadcast` left out.
    made: BTreeMap<TrackName, TrackId>,
}

impl Upload {
    pub(super) fn new(broadcast: TrackId, namespace: TrackNamespace) -> Self {
        Self {
            broadcast,
            namespace,
            normaliser: None,
            is_wanted: false,
            passes: false,
            made: BTreeMap::new(),
        }
    }
}

impl Relay {
    /// Whether a track of this publisher is what SDKs upload.
    pub(in super::super) fn may_upload(&self, session: SessionId, name: &FullTrackName) -> bool {
        let grant = self.peers.get(&session).map(|peer| &peer.grant);
        let is_own = matches!(grant, Some(Grant::Publish { namespace, .. })
            if *namespace == name.namespace);
        is_own && name.name.0 == BROADCAST_TRACK.as_bytes()
    }

    /// A publisher's PUBLISH is accepted: what it sends is an upload.
    pub(in super::super) fn begin_upload(
        &mut self,
        now: Instant,
        key: RequestKey,
        broadcast: TrackId,
        namespace: TrackNamespace,
    ) {
        self.end_other_uploads(now, key, broadcast);
        self.uploads.insert(key, Upload::new(broadcast, namespace));
        self.normalise_upload(now, key);
    }

    /// A publisher agreed to our SUBSCRIBE: its first object tells what it sends.
    pub(in super::super) fn watch_upload(
        &mut self,
        key: RequestKey,
        broadcast: TrackId,
        namespace: TrackNamespace,
    ) {
        let entry = self.entries.get_mut(&broadcast);
        let is_wanted = entry.is_some_and(|entry| std::mem::take(&mut entry.is_wanted));
        let mut upload = Upload::new(broadcast, namespace);
        upload.is_wanted = is_wanted;
        self.uploads.insert(key, upload);
    }

    /// Takes an object if it is one of an upload, and gives it back if it is not.
    pub(in super::super) fn take_uploaded(
        &mut self,
        now: Instant,
        key: RequestKey,
        object: Object,
    ) -> Option<Object> {
        let Some(upload) = self.uploads.get_mut(&key) else {
            return Some(object);
        };
        if upload.normaliser.is_none() {
            let is_begun = object.object == 0 && shape::begins_init(&object.payload);
            upload.passes = !is_begun || shape::is_whole_init(&object.payload);
            if upload.passes && !upload.is_wanted {
                self.uploads.remove(&key);
                return Some(object);
            }
            self.normalise_upload(now, key);
        }
        if self.uploads.get(&key).is_some_and(|upload| upload.passes) {
            self.read_object(now, key, object.clone());
            return Some(object);
        }
        self.metrics.objects_received += 1;
        self.metrics.bytes_received += object.payload.len() as u64;
        self.read_object(now, key, object);
        None
    }

    pub(super) fn read_object(&mut self, now: Instant, key: RequestKey, object: Object) {
        if let Some(normaliser) = self.normaliser(key) {
            normaliser.take_object(now, object);
        }
        self.publish_made(now, key);
    }

    /// The stream of a subgroup is over. Returns whether that was all that it means.
    pub(in super::super) fn take_uploaded_end(
        &mut self,
        now: Instant,
        key: RequestKey,
        place: (u64, Option<u64>),
        is_whole: bool,
    ) -> bool {
        let Some(normaliser) = self.normaliser(key) else {
            return false;
        };
        if let (group, Some(subgroup)) = place {
            normaliser.take_end(now, group, subgroup, is_whole);
        }
        let passes = self.uploads.get(&key).is_some_and(|upload| upload.passes);
        self.publish_made(now, key);
        !passes
    }

    pub(in super::super) fn take_upload_timer(&mut self, now: Instant, key: RequestKey) {
        if let Some(normaliser) = self.normaliser(key) {
            normaliser.handle_timeout(now);
        }
        self.publish_made(now, key);
    }

    /// The publisher ended its track: the made ones end with it.
    pub(in super::super) fn finish_upload(&mut self, now: Instant, key: RequestKey) {
        if let Some(normaliser) = self.normaliser(key) {
            normaliser.finish();
        }
        self.publish_made(now, key);
        for id in self.take_made(key) {
            let reason = "the track has ended";
            self.end_track(now, id, PublishDoneCode::TRACK_ENDED, reason);
        }
    }

    /// The publisher is gone: the viewers of made tracks wait for it like all others.
    pub(in super::super) fn lose_upload(&mut self, now: Instant, key: RequestKey) {
        for id in self.take_made(key) {
            self.orphan(now, id);
        }
    }

    /// Whether anybody watches what is made of an upload, `broadcast` left out.
    pub(in super::super) fn has_viewers_of_made(&self, key: RequestKey) -> bool {
        self.uploads.get(&key).is_some_and(|upload| {
            let entries = upload.made.values().filter_map(|id| self.entries.get(id));
            entries.into_iter().any(Entry::has_viewers)
        })
    }

    /// The upload's own track, for one that is made of it.
    pub(in super::super) fn uploaded_track(&self, key: RequestKey) -> Option<TrackId> {
        self.uploads.get(&key).map(|upload| upload.broadcast)
    }

    fn normaliser(&mut self, key: RequestKey) -> Option<&mut Normaliser> {
        self.uploads.get_mut(&key)?.normaliser.as_mut()
    }

    /// Ends the upload and names the tracks that were made of it, which nobody feeds any more.
    fn take_made(&mut self, key: RequestKey) -> Vec<TrackId> {
        let Some(upload) = self.uploads.remove(&key) else {
            return Vec::new();
        };
        let mut released = Vec::new();
        for id in upload.made.into_values() {
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.made_by == Some(key)
            {
                entry.made_by = None;
                released.push(id);
            }
        }
        released
    }

    fn end_other_uploads(&mut self, now: Instant, newest: RequestKey, broadcast: TrackId) {
        let others: Vec<RequestKey> = self
            .uploads
            .iter()
            .filter(|(key, upload)| **key != newest && upload.broadcast == broadcast)
            .map(|(key, _)| *key)
            .collect();
        if others.is_empty() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&broadcast) {
            entry.track.abandon_open(now, &mut self.sessions);
        }
        for key in others {
            self.cancel(key, StreamCode::CANCELLED);
            self.upstream_lost(now, key);
        }
    }

    pub(super) fn normalise_upload(&mut self, now: Instant, key: RequestKey) {
        let Some(namespace) = self
            .uploads
            .get(&key)
            .map(|upload| upload.namespace.clone())
        else {
            return;
        };
        let above = self.newest_group(now, &namespace);
        if let Some(upload) = self.uploads.get_mut(&key) {
            upload.normaliser = Some(Normaliser::new(self.config.upload, above));
        }
        for name in [MSF_TRACK, SEED_TRACK] {
            self.make_track(now, key, &TrackName(Bytes::from_static(name.as_bytes())));
        }
    }

    /// A group number that none of the stream is above: its publisher may have been here. Where
    /// nothing is left of that, the wall clock is, at less than a thousand groups a second.
    fn newest_group(&self, now: Instant, namespace: &TrackNamespace) -> u64 {
        let from = FullTrackName {
            namespace: namespace.clone(),
            name: TrackName::default(),
        };
        let of_stream = self.names.range(from..);
        let known = of_stream
            .take_while(|(name, _)| name.namespace == *namespace)
            .filter_map(|(_, id)| self.entries.get(id)?.track.largest())
            .map(|largest| largest.group)
            .max();
        let clock = self
            .unix_now(now)
            .map_or(0, crate::time::UnixTime::as_millis);
        known.map_or(clock, |known| clock.max(known))
    }

    /// Takes a track of the stream for the upload to feed, unless somebody publishes it.
    fn make_track(&mut self, now: Instant, key: RequestKey, name: &TrackName) {
        let Some(namespace) = self
            .uploads
            .get(&key)
            .map(|upload| upload.namespace.clone())
        else {
            return;
        };
        let Ok(full) = FullTrackName::new(namespace, name.clone()) else {
            return;
        };
        let Some(id) = self.track_of(full) else {
            return;
        };
        if let Some(upload) = self.uploads.get_mut(&key) {
            upload.made.insert(name.clone(), id);
        }
        self.feed_by_upload(now, id, key);
    }

    /// Hands on what the upload has become.
    fn publish_made(&mut self, now: Instant, key: RequestKey) {
        let unix = self.unix_now(now);
        while let Some(output) = self.normaliser(key).and_then(|it| it.poll(unix)) {
            match output {
                Output::Renditions(names) => self.follow_renditions(now, key, &names),
                Output::Object {
                    track,
                    info,
                    object,
                } => {
                    if let Some(id) = self.made_track(key, &track) {
                        self.publish_object(now, now, id, info, object, None);
                    }
                }
                Output::End { track, group, end } => {
                    if let Some(entry) = self
                        .made_track(key, &track)
                        .and_then(|id| self.entries.get_mut(&id))
                    {
                        entry
                            .track
                            .end_subgroup(now, &mut self.sessions, group, 0, end);
                    }
                }
                Output::Malformed(error) => {
                    self.refuse_upload(now, key, &error.to_string());
                    return;
                }
            }
        }
        if let Some(at) = self.normaliser(key).and_then(|it| it.next_timeout()) {
            self.timers.insert((at, Timer::Upload(key)));
        }
    }

    /// The track of that name, if the upload feeds it.
    fn made_track(&self, key: RequestKey, name: &TrackName) -> Option<TrackId> {
        let upload = self.uploads.get(&key)?;
        if name.0 == BROADCAST_TRACK.as_bytes() {
            return Some(upload.broadcast).filter(|_| !upload.passes);
        }
        let id = *upload.made.get(name)?;
        let entry = self.entries.get(&id)?;
        (entry.made_by == Some(key)).then_some(id)
    }

    /// Makes the renditions that the init segment has, and ends those that it has no more.
    fn follow_renditions(&mut self, now: Instant, key: RequestKey, names: &[TrackName]) {
        let Some(upload) = self.uploads.get_mut(&key) else {
            return;
        };
        let is_catalog =
            |name: &TrackName| name.0 == MSF_TRACK.as_bytes() || name.0 == SEED_TRACK.as_bytes();
        let gone: Vec<TrackName> = upload
            .made
            .keys()
            .filter(|name| !is_catalog(name) && !names.contains(name))
            .cloned()
            .collect();
        let ended: Vec<TrackId> = gone
            .iter()
            .filter_map(|name| upload.made.remove(name))
            .collect();
        for id in ended {
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.made_by == Some(key)
            {
                entry.made_by = None;
                let reason = "the stream no longer has this track";
                self.end_track(now, id, PublishDoneCode::TRACK_ENDED, reason);
            }
        }
        for name in names {
            self.make_track(now, key, name);
        }
    }

    /// What came is not fragmented MP4: the request ends, its session and all others go on.
    fn refuse_upload(&mut self, now: Instant, key: RequestKey, reason: &str) {
        if let Some(peer) = self.peers.get(&key.0) {
            self.metrics.requests_malformed += 1;
            self.events.push_back(Event::Malformed {
                session: key.0,
                remote: peer.remote,
                reason: reason.to_owned(),
            });
        }
        if self.uploads.get(&key).is_some_and(|upload| upload.passes) {
            // Nothing can be made of it, but who watches it may know better.
            self.lose_upload(now, key);
            return;
        }
        self.cancel(key, StreamCode::MALFORMED_TRACK);
        self.upstream_lost(now, key);
    }
}
