//! How a session comes in and how its permission ends: addresses, stream keys, revocation.

use super::access::{self, Address, Cause, Grant};
use super::tracks::Entry;
use super::{Event, OpId, Relay, Revoked, SessionEvent, Timer, TrackId};
use crate::moqt::error::SessionCode;
use crate::moqt::name::TrackNamespace;
use crate::moqt::session::Ready;
use crate::resolve::{Grace, Refusal, ResolveKind, ResolveReply, ResolveRequest, Secret};
use crate::time::{Instant, UnixTime};
use crate::transport::SessionId;

/// Why a publisher ends whose stream key is no longer the input's.
const KEY_REPLACED: &str = "auth_failed: the stream key was replaced";

/// Why a publisher ends about whose stream key the news were missed.
const SHOW_AGAIN: &str = "changes of stream keys were missed here: connect again";

impl Relay {
    /// A replaced credential of an input ends in a while, and its publishers with it. To be told
    /// right after [`Relay::revoke_input`] with that credential among the valid ones.
    pub fn end_grace_at(&mut self, now: Instant, input: &str, grace: Grace) {
        let rests_on_it = |session: &SessionId| {
            let peer = self.peers.get(session);
            peer.is_some_and(|peer| {
                matches!(&peer.grant, Grant::Publish { credential, .. }
                    if *credential == grace.credential)
            })
        };
        let of_input = self.inputs.get(input).into_iter().flatten().copied();
        let sessions: Vec<SessionId> = of_input.filter(rests_on_it).collect();
        for session in sessions {
            self.expire_session_at(now, session, UnixTime::from_secs(grace.until));
        }
        if let Some(revoked) = self.revoked.get_mut(input) {
            revoked.grace = Some(grace);
        }
        self.process(now);
    }

    /// The owner missed what became of stream keys: publishers are to come again and show theirs.
    pub fn end_publishers(&mut self, now: Instant) {
        let is_publisher = |grant: &Grant| match grant {
            Grant::Resolving { .. } | Grant::Publish { .. } => true,
            Grant::Tokens { .. } | Grant::Open => false,
        };
        let publishers = self
            .peers
            .iter()
            .filter(|(_, peer)| is_publisher(&peer.grant));
        let sessions: Vec<SessionId> = publishers.map(|(session, _)| *session).collect();
        for session in sessions {
            self.deny_session(session, SessionCode::INTERNAL_ERROR, SHOW_AGAIN);
        }
        self.process(now);
    }

    /// The peer's SETUP is here: what may it do?
    pub(super) fn admit(&mut self, now: Instant, session: SessionId, ready: Ready) {
        if self.is_draining() {
            self.say_goaway(now, session);
        }
        if self.admit_mesh(now, session, &ready) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&session) else {
            return;
        };
        if matches!(self.policy, super::Policy::Open) {
            peer.grant = Grant::Open;
            return;
        }
        let path = ready.target.map(|target| target.path).unwrap_or_default();
        let mut tokens: Vec<Secret> = access::setup_tokens(&ready.tokens).collect();
        match access::parse_address(&path) {
            Ok(Address::Publish {
                input,
                key: Some(key),
            }) => {
                let op = OpId(self.next_op);
                let id = input.clone();
                peer.grant = Grant::Resolving { id, op };
                let request = ResolveRequest {
                    kind: ResolveKind::Publish,
                    id: input,
                    sk: Some(key),
                    tok: None,
                    ip: Some(peer.remote.ip()),
                };
                self.next_op += 1;
                self.ops.insert(op, session);
                self.timers
                    .insert((now + self.config.resolve_timeout, Timer::Resolve(op)));
                self.events.push_back(Event::Resolve { op, request });
            }
            Ok(Address::Publish { key: None, .. }) => {
                let reason = "auth_failed: the address has no stream key (sk)";
                self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
            }
            Ok(Address::Playback { token, .. } | Address::Other { token }) => {
                tokens.extend(token);
                peer.grant = Grant::Tokens { tokens };
            }
            Err(reason) => self.deny_session(session, SessionCode::INVALID_PATH, reason),
        }
    }

    /// Keeps what a session asks and sends until the control plane has answered; gives back what
    /// is not to wait.
    pub(super) fn hold(&mut self, session: SessionId, event: SessionEvent) -> Option<SessionEvent> {
        /// What an event costs beside its payload.
        const EVENT_BYTES: usize = 256;
        if matches!(event, SessionEvent::Ready(_) | SessionEvent::Closed(_)) {
            return Some(event);
        }
        let peer = self.peers.get_mut(&session)?;
        if !matches!(peer.grant, Grant::Resolving { .. }) {
            return Some(event);
        }
        let payload = match &event {
            SessionEvent::Object { object, .. } | SessionEvent::Datagram { object, .. } => {
                object.payload.len()
            }
            _ => 0,
        };
        let is_request = |event: &SessionEvent| matches!(event, SessionEvent::Request { .. });
        let requests = peer.held.iter().filter(|event| is_request(event)).count();
        peer.held_bytes = peer.held_bytes.saturating_add(payload + EVENT_BYTES);
        if is_request(&event) && requests >= self.config.requests_held_max {
            let reason = "too many requests before the stream key was checked (requests_held_max)";
            self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
        } else if peer.held_bytes > self.config.held_bytes_max {
            let reason = "too many bytes before the stream key was checked (held_bytes_max)";
            self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
        } else {
            peer.held.push(event);
        }
        None
    }

    pub(super) fn take_resolution(
        &mut self,
        now: Instant,
        op: OpId,
        answer: Result<ResolveReply, Refusal>,
    ) {
        let Some(session) = self.ops.remove(&op) else {
            return;
        };
        let reply = match answer {
            Ok(reply) => reply,
            Err(refusal) => {
                let (code, reason) = if refusal.code.is_auth_failed() {
                    (
                        SessionCode::UNAUTHORIZED,
                        format!("auth_failed: {}", refusal.message),
                    )
                } else {
                    (SessionCode::INTERNAL_ERROR, refusal.message)
                };
                self.deny_session(session, code, &reason);
                return;
            }
        };
        let Ok(namespace) = TrackNamespace::from_path(&reply.namespace) else {
            let reason = "the control plane gave a name that is not a namespace";
            self.deny_session(session, SessionCode::INTERNAL_ERROR, reason);
            return;
        };
        let crossed = self.revoked.get(&reply.input);
        if crossed.is_some_and(|revoked| !revoked.valid.contains(&reply.credential)) {
            self.deny_session(session, SessionCode::UNAUTHORIZED, KEY_REPLACED);
            return;
        }
        let grace = crossed.and_then(|revoked| revoked.grace.as_ref());
        let ends = grace
            .filter(|grace| grace.credential == reply.credential)
            .map(|grace| grace.until);
        let ends = ends.into_iter().chain(reply.expires_at).min();
        let Some(peer) = self.peers.get_mut(&session) else {
            return;
        };
        let Grant::Resolving { id, .. } = &peer.grant else {
            return;
        };
        let of_input = self.inputs.entry(reply.input.clone()).or_default();
        of_input.insert(session);
        peer.grant = Grant::Publish {
            id: id.clone(),
            input: reply.input,
            namespace,
            credential: reply.credential,
        };
        let held = std::mem::take(&mut peer.held);
        peer.held_bytes = 0;
        if let Some(ends) = ends {
            self.expire_session_at(now, session, UnixTime::from_secs(ends));
        }
        for event in held {
            self.take_session_event(now, session, event);
        }
    }

    /// Ends a session for want of permission.
    pub(super) fn deny_session(&mut self, session: SessionId, code: SessionCode, reason: &str) {
        self.sessions.close(session, code, reason);
        self.metrics.sessions_denied += 1;
        let cause = match code {
            SessionCode::EXPIRED_AUTH_TOKEN => "expired",
            SessionCode::MALFORMED_AUTH_TOKEN => "malformed",
            SessionCode::INVALID_PATH => "invalid_path",
            SessionCode::INTERNAL_ERROR => "not_decided",
            _ => "unauthorized",
        };
        self.count_denial("session", cause);
        if let Some(peer) = self.peers.get_mut(&session) {
            peer.held = Vec::new();
            let (remote, reason) = (peer.remote, reason.to_owned());
            self.events.push_back(Event::Denied {
                session,
                remote,
                reason,
            });
        }
    }

    pub(super) fn deny_for(&mut self, session: SessionId, cause: Cause) {
        self.deny_session(session, cause.session_code(), &cause.reason());
    }

    /// Ends the sessions that rest on a signing key which is not in force any more.
    pub(super) fn end_inactive_keys(&mut self, _now: Instant) {
        let ended: Vec<SessionId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.kids.iter().any(|kid| !self.policy.is_active(kid)))
            .map(|(session, _)| *session)
            .collect();
        for session in ended {
            let reason = "auth_failed: the signing key of the token was deactivated";
            self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
        }
    }

    pub(super) fn end_revoked(&mut self, now: Instant, org: &str, input: &str, valid: &[String]) {
        self.remember_revocation(now, input, valid);
        let is_of_org = |namespace: &TrackNamespace| {
            matches!(namespace.fields(), [first, of_org, ..]
                if first == "stream".as_bytes() && of_org == org.as_bytes())
        };
        let rests_on_revoked = |grant: &Grant| match grant {
            Grant::Publish {
                namespace,
                credential,
                ..
            } => is_of_org(namespace) && !valid.contains(credential),
            Grant::Resolving { .. } | Grant::Tokens { .. } | Grant::Open => false,
        };
        let of_input = self.inputs.get(input).into_iter().flatten().copied();
        let mut ended: Vec<SessionId> = of_input
            .filter(|session| {
                let peer = self.peers.get(session);
                peer.is_some_and(|peer| rests_on_revoked(&peer.grant))
            })
            .collect();
        let mut reason = KEY_REPLACED;
        if valid.is_empty() {
            reason = "auth_failed: the input was deleted";
            let namespace = TrackNamespace::from_path(&format!("stream/{org}/{input}"));
            let namespace = namespace.unwrap_or_default();
            // What has no such name is no namespace of anybody's; the empty one is above all others.
            let tracks: Vec<TrackId> = if namespace.fields().is_empty() {
                Vec::new()
            } else {
                self.tracks_below(&namespace).collect()
            };
            for track in tracks {
                let viewers = self.entries.get(&track).map(Entry::viewers);
                ended.extend(viewers.into_iter().flatten().map(|(session, _)| session));
                ended.extend(self.fetchers(track));
            }
            ended.sort_unstable();
            ended.dedup();
        }
        for session in ended {
            // Relays carry other inputs as well, and are told by the same control plane.
            if !self.mesh.is_link(session) {
                self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
            }
        }
    }

    /// A session is over: what is kept by its grant is forgotten.
    pub(super) fn forget_grant(&mut self, session: SessionId, grant: &Grant) {
        match grant {
            Grant::Resolving { op, .. } => {
                self.ops.remove(op);
            }
            Grant::Publish { input, .. } => {
                if let Some(sessions) = self.inputs.get_mut(input) {
                    sessions.remove(&session);
                    if sessions.is_empty() {
                        self.inputs.remove(input);
                    }
                }
            }
            Grant::Tokens { .. } | Grant::Open => {}
        }
    }

    /// The control plane may have answered a question just before: see [`Self::take_resolution`].
    fn remember_revocation(&mut self, now: Instant, input: &str, valid: &[String]) {
        let keep = self.config.resolve_timeout;
        self.revoked.retain(|_, revoked| revoked.at + keep >= now);
        let valid = valid.to_vec();
        self.revoked.insert(
            input.to_owned(),
            Revoked {
                at: now,
                valid,
                grace: None,
            },
        );
    }
}
