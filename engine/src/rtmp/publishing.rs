//! What an encoder that may publish has: its input, its packager, its broadcast.

use crate::engine::Shared;
use crate::inputs::Claim;
use crate::metrics::Metrics;
use crate::uplink::{Broadcast, Status, UplinkError};
use crate::wall;
use mainstem_core::moqt::TrackNamespace;
use mainstem_core::packager::{self, Output as Packaged, Packager};
use mainstem_core::resolve::{ResolveReply, Secret};
use mainstem_core::rtmp::server::RefusalCode;
use mainstem_core::time::MediaTime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest time that the end of a broadcast is awaited for.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// An accepted publish.
pub(super) struct Publishing {
    pub(super) claim: Claim,
    pub(super) broadcast: Arc<Broadcast>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) packager: Packager,
    /// What the bytes of one read became.
    pub(super) ready: Vec<Packaged>,
    pub(super) counted: packager::Counters,
}

impl Publishing {
    /// Claims the input and finds or makes its broadcast.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        reply: &ResolveReply,
        stream_key: &Secret,
    ) -> Result<Self, (RefusalCode, String)> {
        let config = &shared.config;
        let claimed = shared.inputs.claim(&reply.input, config.stale_after);
        let Ok(claim) = claimed else {
            let words = format!(
                "input {} is being published by another encoder",
                reply.input
            );
            return Err((RefusalCode::BadName, words));
        };
        let failed = |words: String| (RefusalCode::Failed, words);
        let target = shared
            .target(&reply.input, stream_key.expose())
            .map_err(|error| failed(format!("the relay's address: {error}")))?;
        let broadcast = if let Some(broadcast) = claim.lingering() {
            broadcast.set_target(target);
            broadcast
        } else {
            let namespace = TrackNamespace::from_path(&reply.namespace)
                .map_err(|error| failed(format!("the input's namespace: {error}")))?;
            let opened = shared
                .opener
                .open(config.broadcast.clone(), namespace, target);
            let opened = opened.await.map_err(|error| failed(error.to_string()))?;
            let broadcast = Arc::new(opened);
            claim.keep(&broadcast);
            forget_when_over(Arc::clone(shared), &reply.input, &broadcast);
            broadcast
        };
        let mut status = broadcast.status();
        // What it is now is looked at below; only changes are news.
        status.mark_changed();
        let packaging = packager::Config {
            start: wall::since_epoch().max(claim.written_until()),
            ..config.packager
        };
        Ok(Self {
            claim,
            broadcast,
            status,
            packager: Packager::new(packaging),
            ready: Vec::new(),
            counted: packager::Counters::default(),
        })
    }

    /// Its encoder went away before it was answered.
    pub(super) async fn abandon(self) {
        if !self.claim.is_void() {
            // A shard that has stopped has nothing to linger.
            let _ = self.broadcast.lose().await;
        }
    }

    /// Packages what the encoder did.
    pub(super) fn package(&mut self, input: packager::Input) {
        self.packager.handle(input);
        while let Some(output) = self.packager.poll() {
            match &output {
                Packaged::Chunk(chunk) => {
                    let end = chunk
                        .decode_time
                        .ticks()
                        .saturating_add_unsigned(chunk.duration);
                    let scale = chunk.decode_time.timescale();
                    let end = MediaTime::new(end, scale);
                    self.claim.written(end.as_micros());
                }
                Packaged::Tracks(tracks) => {
                    let names: Vec<&str> = tracks.iter().map(|track| track.name.as_str()).collect();
                    tracing::info!(input = self.claim.input(), ?names, "tracks");
                }
                Packaged::Fault(fault) => {
                    tracing::warn!(input = self.claim.input(), %fault, "track left out");
                }
            }
            self.ready.push(output);
        }
    }

    /// Hands what was packaged to the broadcast.
    pub(super) async fn publish(&mut self, metrics: &Metrics) -> Result<(), UplinkError> {
        let ready = std::mem::take(&mut self.ready);
        let (mut chunks, mut bytes) = (0, 0);
        for output in &ready {
            if let Packaged::Chunk(chunk) = output {
                chunks += 1;
                bytes += chunk.payload.len() as u64;
            }
        }
        self.broadcast.publish(ready).await?;
        Metrics::add(&metrics.chunks_total, chunks);
        Metrics::add(&metrics.chunk_bytes_total, bytes);
        let (before, now) = (self.counted, self.packager.counters());
        Metrics::add(&metrics.frames_total, now.frames - before.frames);
        Metrics::add(
            &metrics.frames_dropped_total,
            dropped(&now) - dropped(&before),
        );
        self.counted = now;
        Ok(())
    }
}

fn dropped(counters: &packager::Counters) -> u64 {
    counters.unconfigured
        + counters.before_key
        + counters.before_start
        + counters.implausible_time
        + counters.refused_size
        + counters.not_after_last
}

/// Says that the broadcast is finished and holds on to it until everything was handed over.
pub(super) fn finish(broadcast: Arc<Broadcast>) {
    tokio::spawn(async move {
        if broadcast.finish().await.is_ok() {
            // Bounded by the time that ending tracks may take; a lost relay is not waited for.
            let _ = tokio::time::timeout(END_TIMEOUT, broadcast.ended()).await;
        }
    });
}

/// Frees the input when its broadcast is over: the linger has passed, or the relay refused it.
fn forget_when_over(shared: Arc<Shared>, input: &str, broadcast: &Arc<Broadcast>) {
    let (input, watched) = (input.to_owned(), Arc::downgrade(broadcast));
    let mut status = broadcast.status();
    tokio::spawn(async move {
        // An error says that the broadcast was dropped.
        let _ = status.wait_for(Status::is_final).await;
        if let Some(broadcast) = watched.upgrade() {
            shared.inputs.forget(&input, &broadcast);
        }
    });
}
