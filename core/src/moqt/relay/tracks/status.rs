//! TRACK_STATUS: how a track stands, without a subscription.
//!
//! | the track | answered by |
//! |---|---|
//! | is fed, or its publisher is awaited back | the relay: largest location, properties, EXPIRES |
//! | is unknown, its namespace is announced | the first of its publishers that agrees; all of them are asked |
//! | is unknown | DOES_NOT_EXIST |
//!
//! Limits: questions to publishers are requests, which each session bounds. Source:
//! draft-ietf-moq-transport-18 section 10.14; 19, section 8.5.

use super::super::{Relay, RequestKey};
use super::offers::offered_properties;
use super::publishers::refusal_downstream;
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::message::{RequestError, RequestOk, TrackStatus};
use crate::moqt::name::{FullTrackName, RequestId};
use crate::moqt::parameter::Parameters;
use crate::time::Instant;
use crate::transport::SessionId;

/// Questions that were handed on to publishers.
#[derive(Debug, Default)]
pub(in crate::moqt::relay) struct Questions {
    /// Who asked, by the request to a publisher.
    asker: BTreeMap<RequestKey, RequestKey>,
    /// What is still to be answered, by who asked.
    asked: BTreeMap<RequestKey, Asked>,
}

#[derive(Debug)]
struct Asked {
    of: BTreeSet<RequestKey>,
    parameters: Parameters,
}

impl Questions {
    /// The requests of one session, asking and asked.
    pub(in crate::moqt::relay) fn of_session(&self, session: SessionId) -> Vec<RequestKey> {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let asker = self.asker.range(of_session.clone()).map(|(key, _)| *key);
        let asked = self.asked.range(of_session).map(|(key, _)| *key);
        asker.chain(asked).collect()
    }

    /// A publisher's answer is not to come any more. Returns who asked, when it was the last.
    fn drop_answer(&mut self, key: RequestKey) -> Option<RequestKey> {
        let asker = self.asker.remove(&key)?;
        let asked = self.asked.get_mut(&asker)?;
        asked.of.remove(&key);
        asked.of.is_empty().then_some(asker)
    }

    /// Who asked needs no further answer. Returns the questions that are still open.
    fn close(&mut self, asker: RequestKey) -> Option<Asked> {
        let asked = self.asked.remove(&asker)?;
        for key in &asked.of {
            self.asker.remove(key);
        }
        Some(asked)
    }
}

impl Relay {
    pub(in crate::moqt::relay) fn take_track_status(
        &mut self,
        now: Instant,
        key: RequestKey,
        request: TrackStatus,
    ) {
        let namespace = &request.track.namespace;
        let Some(allowed) = self.allow_subscribe(now, key, namespace, &request.parameters) else {
            return;
        };
        let Ok(name) = FullTrackName::new(allowed.namespace, request.track.name) else {
            let reason = "the track's name is too long";
            self.refuse(key, RequestCode::DOES_NOT_EXIST, reason);
            return;
        };
        let known = self.names.get(&name).and_then(|id| self.entries.get(id));
        if let Some(entry) = known.filter(|it| it.is_fed() || it.orphaned_until.is_some()) {
            let expires = allowed.expires.and_then(|at| self.expires_ms(now, at));
            let answer = RequestOk {
                parameters: Parameters {
                    expires_ms: expires,
                    largest: entry.track.largest(),
                    ..Parameters::default()
                },
                properties: offered_properties(&request.parameters, entry.track.properties()),
            };
            self.answer_status(key, answer);
        } else {
            self.ask_for_status(key, &name, request.parameters);
        }
    }

    fn ask_for_status(&mut self, key: RequestKey, name: &FullTrackName, parameters: Parameters) {
        let mut of = BTreeSet::new();
        let mut sessions_asked = BTreeSet::new();
        for publisher in self.publishers.covering(name.namespace.fields()) {
            if !sessions_asked.insert(publisher.0) {
                continue;
            }
            let announced = self.announced.get(&publisher);
            let Some(spelled) = announced.and_then(|it| it.spell(name)) else {
                continue;
            };
            let session = self.sessions.session_mut(publisher.0);
            let asked = session.and_then(|it| it.track_status(spelled, Parameters::default()).ok());
            of.extend(asked.map(|request| (publisher.0, request)));
        }
        if of.is_empty() {
            self.refuse_unpublished(key);
            return;
        }
        self.questions
            .asker
            .extend(of.iter().map(|asked| (*asked, key)));
        let asked = Asked { of, parameters };
        self.questions.asked.insert(key, asked);
    }

    /// A publisher told how a track stands: who asked is told.
    pub(super) fn status_answered(&mut self, key: RequestKey, mut answer: RequestOk) {
        let Some(asker) = self.questions.asker.remove(&key) else {
            return;
        };
        if let Some(asked) = self.questions.close(asker) {
            // EXPIRES was about the relay's own permission.
            answer.parameters.expires_ms = None;
            answer.properties = offered_properties(&asked.parameters, &answer.properties);
            self.answer_status(asker, answer);
            for other in asked.of.into_iter().filter(|other| *other != key) {
                self.cancel(other, StreamCode::CANCELLED);
            }
        }
    }

    /// A publisher refused to tell. Returns whether it had been asked.
    pub(super) fn status_refused(&mut self, key: RequestKey, error: &RequestError) -> bool {
        let was_asked = self.questions.asker.contains_key(&key);
        if let Some(asker) = self.questions.drop_answer(key) {
            self.questions.close(asker);
            self.refuse_with(asker, refusal_downstream(error));
        }
        was_asked
    }

    /// A question is over, at either end.
    pub(in crate::moqt::relay) fn question_over(&mut self, key: RequestKey) {
        if let Some(asked) = self.questions.close(key) {
            for other in asked.of {
                self.cancel(other, StreamCode::CANCELLED);
            }
        }
        if let Some(asker) = self.questions.drop_answer(key) {
            self.questions.close(asker);
            self.refuse_unpublished(asker);
        }
    }

    fn answer_status(&mut self, key: RequestKey, answer: RequestOk) {
        if let Some(session) = self.sessions.session_mut(key.0) {
            // A request that ended meanwhile needs no answer.
            let _ = session.accept(key.1, answer);
        }
    }
}
