//! One encoder: its TCP connection, its session machine, its packager, its broadcast.
//!
//! | phase | what is awaited |
//! |---|---|
//! | handshake | bytes, the machine's deadlines |
//! | resolving | the control plane's answer as well |
//! | publishing | the broadcast's status and another encoder that takes over as well |
//! | closing | what was written leaves, up to [`CLOSE_TIMEOUT`] |
//!
//! Media goes from the bytes of one read through the machines to the broadcast before the next read,
//! so nothing piles up here. Nothing secret is logged.

use super::outgoing::Outgoing;
use super::publishing::{Publishing, finish};
use super::{Handshake, stopped};
use crate::engine::Shared;
use crate::metrics::Metrics;
use crate::tcp::Stream;
use crate::uplink::{Status, UplinkError};
use crate::wall;
use bytes::BytesMut;
use mainstem_core::packager;
use mainstem_core::resolve::{Refusal, ResolveKind, ResolveReply, ResolveRequest, Secret};
use mainstem_core::rtmp::server::{
    CloseReason, Event, Input, Output, PublishRequest, RefusalCode, Session,
};
use mainstem_core::rtmp::target::TargetError;
use mainstem_core::time::Instant;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::watch;

/// Bytes read in one go.
const READ_BYTES: usize = 64 << 10;
/// How long the last answers may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

type Answer = Pin<Box<dyn Future<Output = Result<ResolveReply, Refusal>> + Send>>;

/// An encoder's connection.
pub(super) struct Connection<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    peer: SocketAddr,
    /// Until it publishes.
    handshake: Option<Handshake>,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    session: Session,
    outgoing: Outgoing,
    resolving: Option<Resolving>,
    publishing: Option<Publishing>,
    incoming: BytesMut,
}

struct Resolving {
    answer: Answer,
    stream_key: Secret,
}

/// What woke the connection.
enum Woken {
    Read(std::io::Result<usize>),
    Written(std::io::Result<()>),
    Deadline,
    Answered(Result<ResolveReply, Refusal>),
    Status,
    TakenOver,
    Stopping,
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(
        stream: S,
        peer: SocketAddr,
        handshake: Handshake,
        shared: Arc<Shared>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        // The handshake's bytes protect nothing; they only have to differ.
        let seed = wall::unix_millis() ^ u64::from(peer.port()) << 48;
        let session = Session::new(shared.clock.now(), seed, shared.config.rtmp.limits);
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            peer,
            handshake: Some(handshake),
            shared,
            stopping,
            session,
            outgoing: Outgoing::default(),
            resolving: None,
            publishing: None,
            incoming: BytesMut::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let reason = loop {
            if let Some(reason) = self.drain().await {
                break reason;
            }
            let woken = self.wait().await;
            self.take(woken).await;
        };
        self.close(reason).await;
    }

    /// Waits for the next thing to do.
    async fn wait(&mut self) -> Woken {
        // An encoder that sends before it is answered waits; the answer takes a bounded time.
        let may_read = self.resolving.is_none()
            && self.outgoing.len() < self.shared.config.rtmp.unsent_bytes_max;
        let deadline = self.session.next_timeout();
        let clock = self.shared.clock;
        self.incoming.reserve(READ_BYTES);
        let status = async {
            match &mut self.publishing {
                Some(publishing) => tokio::select! {
                    // The task that tells the status lives as long as the broadcast.
                    _ = publishing.status.changed() => Woken::Status,
                    () = publishing.claim.taken_over() => Woken::TakenOver,
                },
                None => pending().await,
            }
        };
        let answer = async {
            match &mut self.resolving {
                Some(resolving) => resolving.answer.as_mut().await,
                None => pending().await,
            }
        };
        tokio::select! {
            read = self.reader.read_buf(&mut self.incoming), if may_read => Woken::Read(read),
            written = self.outgoing.write_some(&mut self.writer), if !self.outgoing.is_empty() => {
                Woken::Written(written)
            }
            () = clock.sleep_until(deadline) => Woken::Deadline,
            answer = answer => Woken::Answered(answer),
            woken = status => woken,
            () = stopped(&mut self.stopping) => Woken::Stopping,
        }
    }

    async fn take(&mut self, woken: Woken) {
        let now = self.shared.clock.now();
        match woken {
            Woken::Read(Ok(0)) => self.session.handle(now, Input::Closed),
            Woken::Read(Ok(bytes)) => {
                Metrics::add(&self.shared.metrics.received_bytes_total, bytes as u64);
                if let Some(publishing) = &self.publishing {
                    publishing.claim.heard();
                }
                let data = self.incoming.split().freeze();
                self.session.handle(now, Input::Data(data));
            }
            Woken::Read(Err(error)) | Woken::Written(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "connection lost");
                self.session.handle(now, Input::Closed);
            }
            Woken::Written(Ok(())) => {}
            Woken::Deadline => self.session.handle_timeout(now),
            Woken::Answered(answer) => self.take_answer(now, answer).await,
            Woken::Status => self.take_status(now),
            Woken::TakenOver => {
                self.close_session(now, "another encoder publishes to this input");
            }
            Woken::Stopping => self.close_session(now, "the engine is stopping"),
        }
    }

    /// Works off the machine's outputs; why the connection is to be closed, if it is.
    async fn drain(&mut self) -> Option<CloseReason> {
        loop {
            let mut has_moved = false;
            while let Some(output) = self.session.poll() {
                has_moved = true;
                match output {
                    Output::Write(bytes) => self.outgoing.push(bytes),
                    Output::Event(Event::Publish(request)) => self.take_publish(&request),
                    Output::Event(event) => self.take_media(event).await,
                    Output::Close { reason } => return Some(reason),
                }
            }
            if !has_moved {
                return None;
            }
            // Publishing may find that it cannot go on, which the machine then has to say.
            self.publish_ready().await;
        }
    }

    /// The encoder asks to publish: asks the control plane.
    fn take_publish(&mut self, request: &PublishRequest) {
        let target = match request.target() {
            Ok(target) => target,
            Err(error) => {
                let (code, words) = refused_target(error);
                return self.refuse(code, &words);
            }
        };
        tracing::info!(peer = %self.peer, input = %target.input, encoder = %request.encoder, "publish request");
        let stream_key = Secret::new(target.stream_key.expose());
        let request = ResolveRequest {
            kind: ResolveKind::Publish,
            id: target.input,
            sk: Some(stream_key.clone()),
            tok: None,
            ip: Some(self.peer.ip()),
        };
        let control = self.shared.config.control.clone();
        self.resolving = Some(Resolving {
            answer: Box::pin(async move { control.resolve(&request).await }),
            stream_key,
        });
    }

    async fn take_answer(&mut self, now: Instant, answer: Result<ResolveReply, Refusal>) {
        let Some(resolving) = self.resolving.take() else {
            return;
        };
        let begun = match answer {
            Ok(reply) => Publishing::begin(&self.shared, &reply, &resolving.stream_key).await,
            Err(refusal) => Err(refused_key(&refusal)),
        };
        match begun {
            Ok(publishing) => {
                // The encoder may have gone while the answer was awaited.
                if self.session.accept_publish(now).is_ok() {
                    Metrics::add(&self.shared.metrics.publishes_total, 1);
                    Metrics::add(&self.shared.metrics.encoders, 1);
                    tracing::info!(peer = %self.peer, input = publishing.claim.input(), "publishing");
                    self.handshake = None;
                    self.publishing = Some(publishing);
                } else {
                    publishing.abandon().await;
                }
            }
            Err((code, words)) => self.refuse(code, &words),
        }
    }

    fn take_status(&mut self, now: Instant) {
        let Some(publishing) = &mut self.publishing else {
            return;
        };
        let status = publishing.status.borrow_and_update().clone();
        match status {
            Status::Refused {
                reason,
                is_auth_failed,
            } => {
                tracing::warn!(peer = %self.peer, input = publishing.claim.input(), %reason, "the relay ended the broadcast");
                let words = if is_auth_failed {
                    "auth_failed: the stream key is not valid any more"
                } else {
                    "the relay refused the stream"
                };
                publishing.claim.let_go(&publishing.broadcast);
                self.close_session(now, words);
            }
            Status::Ended => self.close_session(now, "the broadcast is over"),
            Status::Connecting { .. } | Status::Live => {}
        }
    }

    /// Media and what belongs to it.
    async fn take_media(&mut self, event: Event) {
        let now = self.shared.clock.now();
        if let Event::EndOfStream { clean } = event {
            return self.end(clean).await;
        }
        if let Event::Unsupported { kind, codec, .. } = event {
            tracing::warn!(peer = %self.peer, ?kind, %codec, "codec is not taken in");
            return;
        }
        let Some(publishing) = &mut self.publishing else {
            return;
        };
        match packager::rtmp::input(event, wall::ntp_now()) {
            Ok(Some(input)) => publishing.package(input),
            Ok(None) => {}
            Err(fault) => {
                tracing::warn!(peer = %self.peer, %fault, "configuration is not taken in");
                self.close_session(now, "the decoder configuration cannot be read");
            }
        }
    }

    /// Hands what was packaged to the broadcast.
    async fn publish_ready(&mut self) {
        let now = self.shared.clock.now();
        let peer = self.peer;
        let Some(publishing) = &mut self.publishing else {
            return;
        };
        if publishing.claim.is_void() {
            publishing.ready.clear();
        }
        if publishing.ready.is_empty() {
            return;
        }
        match publishing.publish(&self.shared.metrics).await {
            Ok(()) => {}
            Err(UplinkError::Broadcast(error)) => {
                tracing::warn!(%peer, input = publishing.claim.input(), %error, "cannot publish");
                self.close_session(now, publish_words(&error));
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "cannot publish");
                self.close_session(now, "the engine cannot publish now");
            }
        }
    }

    /// The stream is over, by the encoder's word or without it.
    async fn end(&mut self, clean: bool) {
        let Some(mut publishing) = self.publishing.take() else {
            return;
        };
        publishing.package(packager::Input::Finished);
        Metrics::sub(&self.shared.metrics.encoders, 1);
        if !publishing.claim.is_void() {
            // What cannot be published now cannot be published later.
            let _ = publishing.publish(&self.shared.metrics).await;
            if clean {
                publishing.claim.let_go(&publishing.broadcast);
                finish(Arc::clone(&publishing.broadcast));
            } else {
                let _ = publishing.broadcast.lose().await;
            }
        }
        tracing::info!(peer = %self.peer, input = publishing.claim.input(), clean,
            counters = ?publishing.packager.counters(), "stream ended");
    }

    fn refuse(&mut self, code: RefusalCode, words: &str) {
        Metrics::add(&self.shared.metrics.publishes_refused_total, 1);
        tracing::info!(peer = %self.peer, reason = %words, "publish refused");
        // The encoder may have gone while the answer was awaited.
        let _ = self
            .session
            .reject_publish(self.shared.clock.now(), code, words);
    }

    fn close_session(&mut self, now: Instant, reason: &'static str) {
        // It may be closed already.
        let _ = self.session.close(now, reason);
    }

    async fn close(mut self, reason: CloseReason) {
        if self.publishing.is_some() {
            self.end(false).await;
        }
        tracing::debug!(peer = %self.peer, %reason, "connection closed");
        if reason == CloseReason::Peer {
            return;
        }
        let farewell = async {
            self.outgoing.write_all(&mut self.writer).await?;
            self.writer.shutdown().await?;
            // A socket that is closed while bytes are unread is reset, and the reset may overtake
            // what was written: the encoder's person would not see why.
            let mut rest = [0; 4096];
            while self.reader.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        // An encoder that does not read its farewell does without.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
    }
}

/// What an encoder is told about an address that names no input or key.
fn refused_target(error: TargetError) -> (RefusalCode, String) {
    match error {
        TargetError::App | TargetError::Input | TargetError::Path => {
            (RefusalCode::BadName, error.to_string())
        }
        TargetError::KeyMissing | TargetError::KeyForm | TargetError::KeyTwice => {
            (RefusalCode::Denied, format!("auth_failed: {error}"))
        }
    }
}

/// What an encoder is told about the control plane's refusal.
fn refused_key(refusal: &Refusal) -> (RefusalCode, String) {
    if refusal.code.is_auth_failed() {
        (
            RefusalCode::Denied,
            format!("auth_failed: {}", refusal.message),
        )
    } else {
        (
            RefusalCode::Failed,
            format!("unavailable: {}", refusal.message),
        )
    }
}

fn publish_words(error: &mainstem_core::broadcast::Error) -> &'static str {
    use mainstem_core::broadcast::Error;
    match error {
        Error::GroupTooLarge { .. } => {
            "no key frame for too long: set a key frame interval of a few seconds"
        }
        Error::TooManyNames { .. } => "the decoder configuration changed too often",
        Error::Init(_) => "the decoder configuration cannot be packaged",
        Error::UnknownTrack { .. } | Error::Finished => "the broadcast is over",
    }
}
