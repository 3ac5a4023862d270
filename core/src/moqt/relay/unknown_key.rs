//! Tokens whose signing key this relay has not heard of yet.
//!
//! A key is made by the control plane and told to relays a moment later. A viewer that comes within
//! that moment waits: for the news, or for at most [`PATIENCE`]. Then the token is judged by the
//! keys that are known.

use super::access::Cause;
use super::{Event, Relay, RequestKey, Timer};
use crate::jwt::TokenError;
use crate::moqt::message::Message;
use crate::moqt::name::TrackNamespace;
use crate::moqt::parameter::Parameters;
use crate::time::Instant;
use std::time::Duration;

/// How long a request waits for a key.
const PATIENCE: Duration = Duration::from_secs(1);
/// Requests that may wait; more are judged at once.
const WAITING_MAX: usize = 1024;

impl Relay {
    /// Keeps a request for a namespace whose token names an unknown key. Returns whether it was kept.
    pub(super) fn hold_for_key(
        &mut self,
        now: Instant,
        key: RequestKey,
        namespace: &TrackNamespace,
        parameters: &Parameters,
        message: impl FnOnce() -> Message,
    ) -> bool {
        let Some(peer) = self.peers.get(&key.0) else {
            return false;
        };
        let tokens = &parameters.authorization_tokens;
        let unix = self.unix_now(now);
        let judged = self.policy.subscribe(&peer.grant, namespace, tokens, unix);
        let is_unknown =
            judged.is_err_and(|denied| denied.cause == Cause::Token(TokenError::UnknownKey));
        if !is_unknown || self.keyless.len() >= WAITING_MAX {
            return false;
        }
        if self.keyless.is_empty() {
            self.events.push_back(Event::UnknownKey);
        }
        self.timers.insert((now + PATIENCE, Timer::UnknownKey(key)));
        self.keyless.insert(key, message());
        true
    }

    /// New keys are here: judges again those who waited.
    pub(super) fn judge_keyless(&mut self, now: Instant) {
        for (key, message) in std::mem::take(&mut self.keyless) {
            self.serve_judged(now, key, message);
        }
    }

    /// The patience for one is over.
    pub(super) fn judge_late(&mut self, now: Instant, key: RequestKey) {
        if let Some(message) = self.keyless.remove(&key) {
            self.serve_judged(now, key, message);
        }
    }

    fn serve_judged(&mut self, now: Instant, key: RequestKey, message: Message) {
        match message {
            Message::Subscribe(subscribe) => self.serve_subscribe(now, key, subscribe),
            Message::Fetch(fetch) => self.serve_fetch(now, key, fetch),
            // Nothing else is held.
            _ => {}
        }
    }
}
