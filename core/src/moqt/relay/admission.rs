//! How a session comes in and how its permission ends: addresses, stream keys, revocation.

use super::access::{self, Address, Cause, Grant};
use super::{Event, OpId, Relay, SessionEvent, Timer};
use crate::moqt::error::SessionCode;
use crate::moqt::name::TrackNamespace;
use crate::moqt::session::Ready;
use crate::resolve::{Refusal, ResolveKind, ResolveReply, ResolveRequest, Secret};
use crate::time::{Instant, UnixTime};
use crate::transport::SessionId;

impl Relay {
    /// The peer's SETUP is here: what may it do?
    pub(super) fn admit(&mut self, now: Instant, session: SessionId, ready: Ready) {
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
                peer.grant = Grant::Resolving;
                let request = ResolveRequest {
                    kind: ResolveKind::Publish,
                    id: input,
                    sk: Some(key),
                    tok: None,
                    ip: Some(peer.remote.ip()),
                };
                let op = OpId(self.next_op);
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
            Err(reason) => self.deny_session(session, SessionCode::MALFORMED_PATH, reason),
        }
    }

    /// Keeps a request until the control plane has answered. Returns whether it was kept.
    pub(super) fn hold_request(&mut self, session: SessionId, event: &SessionEvent) -> bool {
        let Some(peer) = self.peers.get_mut(&session) else {
            return true;
        };
        if !matches!(peer.grant, Grant::Resolving) {
            return false;
        }
        if peer.held.len() >= self.config.requests_held_max {
            let reason = "too many requests before the stream key was checked";
            self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
        } else {
            peer.held.push(event.clone());
        }
        true
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
        let Some(peer) = self.peers.get_mut(&session) else {
            return;
        };
        let (input, credential) = (reply.input, reply.credential);
        peer.grant = Grant::Publish {
            input,
            namespace,
            credential,
        };
        let held = std::mem::take(&mut peer.held);
        if let Some(expires) = reply.expires_at.map(UnixTime::from_secs) {
            self.expire_session_at(now, session, expires);
        }
        for event in held {
            self.take_session_event(now, session, event);
        }
    }

    /// Ends a session for want of permission.
    pub(super) fn deny_session(&mut self, session: SessionId, code: SessionCode, reason: &str) {
        self.sessions.close(session, code, reason);
        self.metrics.sessions_denied += 1;
        if let Some(peer) = self.peers.get(&session) {
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

    pub(super) fn end_revoked(&mut self, org: &str, input: &str, valid: &[String]) {
        let rests_on_revoked = |grant: &Grant| match grant {
            Grant::Publish {
                input: published,
                credential,
                ..
            } => published == input && !valid.contains(credential),
            Grant::Resolving | Grant::Tokens { .. } | Grant::Open => false,
        };
        let mut ended: Vec<SessionId> = self
            .peers
            .iter()
            .filter(|(_, peer)| rests_on_revoked(&peer.grant))
            .map(|(session, _)| *session)
            .collect();
        let mut reason = "auth_failed: the stream key was replaced";
        if valid.is_empty() {
            reason = "auth_failed: the input was deleted";
            let viewers = self.downstreams.iter().filter(|(_, track)| {
                self.entries.get(track).is_some_and(|entry| {
                    matches!(entry.name.namespace.fields(), [first, of_org, of_input, ..]
                        if first == "stream".as_bytes()
                            && of_org == org.as_bytes()
                            && of_input == input.as_bytes())
                })
            });
            ended.extend(viewers.map(|((session, _), _)| *session));
            ended.sort_unstable();
            ended.dedup();
        }
        for session in ended {
            self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
        }
    }
}
