//! The task that keeps a broadcast connected. See the parent module for its states.

use super::{Inner, Status, Target};
use mainstem_core::broadcast::{BroadcastId, Event};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::error::{RequestCode, SessionCode};
use mainstem_core::moqt::message::RequestError;
use mainstem_core::moqt::publisher;
use mainstem_core::transport::{Closed, Origin, SessionId};
use mainstem_quic::ConnectRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Pause after the first lost session.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A session that lived this long makes the next pause a short one.
const LASTED: Duration = Duration::from_secs(10);
/// How long a name may take to become an address.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the last bytes of a finished broadcast to be acknowledged.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the task owns.
pub(super) struct Link {
    pub(super) id: BroadcastId,
    pub(super) inner: Arc<Inner>,
    pub(super) target: watch::Receiver<Target>,
    pub(super) status: watch::Sender<Status>,
    pub(super) events: mpsc::Receiver<Event>,
}

/// How an attempt, or a session, ended.
enum Over {
    /// Try again.
    Lost(String),
    /// It would end the same way again.
    Refused(String, bool),
    /// The broadcast is finished.
    Drained,
}

impl Link {
    pub(super) async fn keep(mut self) {
        let mut pause = BACKOFF_FIRST;
        loop {
            let began = Instant::now();
            let target = self.target.borrow_and_update().clone();
            let over = match self.connect(&target).await {
                Ok(session) => self.follow(session, target).await,
                Err(reason) => Over::Lost(reason),
            };
            let reason = match over {
                Over::Lost(reason) => reason,
                Over::Refused(reason, is_auth_failed) => {
                    tracing::warn!(broadcast = self.id.0, %reason, "the relay refused the broadcast");
                    self.status.send_replace(Status::Refused {
                        reason,
                        is_auth_failed,
                    });
                    return;
                }
                Over::Drained => return self.end(LAST_WORDS).await,
            };
            tracing::info!(broadcast = self.id.0, %reason, "not connected to the relay");
            self.status.send_replace(Status::Connecting {
                reason: Some(reason),
            });
            if began.elapsed() >= LASTED {
                pause = BACKOFF_FIRST;
            }
            if self.pause(pause).await {
                return self.end(Duration::ZERO).await;
            }
            pause = pause.saturating_mul(2).min(BACKOFF_MAX);
        }
    }

    /// Begins a session; what becomes of it are events.
    async fn connect(&self, target: &Target) -> Result<SessionId, String> {
        let (url, local) = (target.url.clone(), self.inner.local);
        let resolve = tokio::task::spawn_blocking(move || mainstem_net::resolve(&url, local));
        let remote = tokio::time::timeout(RESOLVE_TIMEOUT, resolve)
            .await
            .map_err(|_| "the relay's name was not resolved in time".to_owned())?
            .map_err(|_| "the relay's name was not resolved".to_owned())?
            .map_err(|error| format!("the relay's name was not resolved: {error}"))?;
        let trust = target.trust.for_address(remote.ip());
        let trust = trust.map_err(|error| error.to_string())?;
        let protocols = Draft::ALL.iter().map(|draft| draft.protocol().to_owned());
        let request = ConnectRequest::new(&target.url, remote, protocols.collect(), trust);
        let id = self.id;
        let begun = self
            .inner
            .run(move |host, now| {
                let session = host.connect(now, request)?;
                host.app_mut().assign(session, id);
                Ok::<_, mainstem_quic::ConnectError>(session)
            })
            .await;
        match begun {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits for the end of the session. When the relay goes away, a session with the one that takes
    /// over is begun beside it, and counts from the moment that it has the broadcast.
    async fn follow(&mut self, first: SessionId, mut target: Target) -> Over {
        let mut current = Some(first);
        let mut next: Option<SessionId> = None;
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Session(publisher::Event::Goaway { session, uri }) => {
                    if current != Some(session) || next.is_some() {
                        continue;
                    }
                    match self.connect_elsewhere(&target, &uri).await {
                        Ok((session, moved)) => {
                            next = Some(session);
                            target = moved;
                        }
                        Err(reason) => {
                            tracing::warn!(broadcast = self.id.0, %reason, "cannot follow the relay");
                        }
                    }
                }
                Event::Session(
                    publisher::Event::Refused { session, .. }
                    | publisher::Event::Closed { session, .. },
                ) if next == Some(session) && current.is_some() => {
                    tracing::warn!(broadcast = self.id.0, "the relay is not taken over");
                    next = None;
                }
                Event::Session(publisher::Event::Closed { session, .. })
                    if current == Some(session) && next.is_some() =>
                {
                    current = None;
                }
                Event::Session(publisher::Event::Closed { session, .. })
                    if current != Some(session) && next != Some(session) => {}
                Event::Session(publisher::Event::Announced { session }) => {
                    if next == Some(session) {
                        current = next.take();
                    }
                    tracing::info!(broadcast = self.id.0, "the relay accepted the broadcast");
                    self.status.send_replace(Status::Live);
                }
                Event::Session(publisher::Event::Refused { error, .. }) => {
                    return refused(&error);
                }
                Event::Session(publisher::Event::Closed { closed, .. }) => return over(closed),
                Event::Drained => return Over::Drained,
                Event::Expired => {}
            }
        }
        Over::Drained
    }

    async fn connect_elsewhere(
        &self,
        target: &Target,
        uri: &str,
    ) -> Result<(SessionId, Target), String> {
        let url = target
            .url
            .moved_to(uri)
            .map_err(|error| error.to_string())?;
        let moved = Target {
            url,
            trust: target.trust.clone(),
        };
        Ok((self.connect(&moved).await?, moved))
    }

    /// Waits before the next attempt; true when the broadcast has finished meanwhile.
    async fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                // A new target is worth an attempt of its own.
                changed = self.target.changed() => return changed.is_err(),
                event = self.events.recv() => match event {
                    Some(Event::Drained) | None => return true,
                    Some(_) => {}
                },
            }
        }
    }

    async fn end(self, last_words: Duration) {
        tokio::time::sleep(last_words).await;
        let id = self.id;
        // A stopped shard has no member to remove.
        let _ = self
            .inner
            .run(move |host, _| host.app_mut().remove(id, "the broadcast is over"))
            .await;
        self.status.send_replace(Status::Ended);
    }
}

fn refused(error: &RequestError) -> Over {
    let is_auth_failed = [
        RequestCode::UNAUTHORIZED,
        RequestCode::EXPIRED_AUTH_TOKEN,
        RequestCode::MALFORMED_AUTH_TOKEN,
    ]
    .contains(&error.code);
    let reason = format!(
        "the relay refused the namespace: {} ({})",
        error.reason, error.code
    );
    Over::Refused(
        marked(reason, &error.reason, is_auth_failed),
        is_auth_failed,
    )
}

fn over(closed: Closed) -> Over {
    match closed {
        Closed::Application {
            by: Origin::Peer,
            code,
            reason,
        } => {
            let code = SessionCode(code);
            let is_auth_failed = reason.starts_with("auth_failed")
                || [
                    SessionCode::UNAUTHORIZED,
                    SessionCode::EXPIRED_AUTH_TOKEN,
                    SessionCode::MALFORMED_AUTH_TOKEN,
                ]
                .contains(&code);
            let is_final = is_auth_failed
                || [SessionCode::INVALID_PATH, SessionCode::MALFORMED_PATH].contains(&code);
            let words = format!("the relay closed the session: {reason} ({code})");
            if is_final {
                Over::Refused(marked(words, &reason, is_auth_failed), is_auth_failed)
            } else {
                Over::Lost(words)
            }
        }
        Closed::Application { reason, .. } | Closed::Transport { reason } => Over::Lost(reason),
    }
}

/// The words that people and programs look for stand first.
fn marked(words: String, reason: &str, is_auth_failed: bool) -> String {
    match (is_auth_failed, reason.strip_prefix("auth_failed")) {
        (true, Some(_)) => reason.to_owned(),
        (true, None) => format!("auth_failed: {words}"),
        (false, _) => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u64, reason: &str) -> Over {
        over(Closed::Application {
            by: Origin::Peer,
            code,
            reason: reason.to_owned(),
        })
    }

    #[test]
    fn want_of_permission_is_final_and_says_so_first() {
        let Over::Refused(reason, true) = closed(2, "auth_failed: the stream key was replaced")
        else {
            panic!("expected a refusal");
        };
        assert_eq!(reason, "auth_failed: the stream key was replaced");
        let Over::Refused(reason, true) = closed(2, "no") else {
            panic!("expected a refusal");
        };
        assert!(
            reason.starts_with("auth_failed: ") && reason.contains("UNAUTHORIZED"),
            "{reason}"
        );
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        assert!(matches!(closed(1, "out of order"), Over::Lost(_)));
        assert!(matches!(closed(0, ""), Over::Lost(_)));
        let lost = over(Closed::Transport {
            reason: "timed out".to_owned(),
        });
        assert!(matches!(lost, Over::Lost(reason) if reason == "timed out"));
    }
}
