//! Which inputs are live here, and which encoder each belongs to.
//!
//! | an input is | a new encoder |
//! |---|---|
//! | not live | gets it |
//! | lost: its encoder vanished, the broadcast lingers | gets it and goes on with the same broadcast |
//! | live, its encoder silent for [`Config::stale_after`](crate::Config) | gets it; the old connection is closed |
//! | live | is refused |
//!
//! An encoder owns its input by a [`Claim`]; one that was taken over keeps a claim that is void.

use crate::uplink::Broadcast;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The live inputs of one engine.
#[derive(Default)]
pub(crate) struct Inputs {
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Default)]
struct Entry {
    broadcast: Option<Arc<Broadcast>>,
    encoder: Option<Arc<Encoder>>,
    /// Where on the timeline the broadcast has arrived, in microseconds.
    written_until: Arc<AtomicU64>,
}

/// An encoder that publishes.
pub(crate) struct Encoder {
    began: Instant,
    /// When it was heard last, in milliseconds since it began.
    heard: AtomicU64,
    is_void: AtomicBool,
    taken_over: Notify,
}

/// An encoder's hold on an input. Dropping it frees the input, unless it is void.
pub(crate) struct Claim {
    inputs: Arc<Inputs>,
    input: String,
    encoder: Arc<Encoder>,
    written_until: Arc<AtomicU64>,
}

/// Another encoder publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Inputs {
    /// Takes an input for a new encoder.
    pub(crate) fn claim(
        self: &Arc<Self>,
        input: &str,
        stale_after: Duration,
    ) -> Result<Claim, Busy> {
        let mut entries = self.entries();
        let entry = entries.entry(input.to_owned()).or_default();
        if let Some(before) = &entry.encoder {
            if before.silence() < stale_after {
                return Err(Busy);
            }
            before.is_void.store(true, Ordering::Release);
            before.taken_over.notify_one();
        }
        let encoder = Arc::new(Encoder {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            is_void: AtomicBool::new(false),
            taken_over: Notify::new(),
        });
        entry.encoder = Some(Arc::clone(&encoder));
        Ok(Claim {
            inputs: Arc::clone(self),
            input: input.to_owned(),
            encoder,
            written_until: Arc::clone(&entry.written_until),
        })
    }

    /// How many inputs have an encoder or linger.
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    /// Forgets a broadcast that is over.
    pub(crate) fn forget(&self, input: &str, broadcast: &Arc<Broadcast>) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(input) else {
            return;
        };
        if entry
            .broadcast
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, broadcast))
        {
            entry.broadcast = None;
            if entry.encoder.is_none() {
                entries.remove(input);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// The broadcast that the encoder before left, if it can be gone on with.
    pub(crate) fn lingering(&self) -> Option<Arc<Broadcast>> {
        let entries = self.inputs.entries();
        let broadcast = entries.get(&self.input)?.broadcast.clone()?;
        (!broadcast.status().borrow().is_final()).then_some(broadcast)
    }

    /// Keeps a new broadcast under the input.
    pub(crate) fn keep(&self, broadcast: &Arc<Broadcast>) {
        if self.is_void() {
            return;
        }
        if let Some(entry) = self.inputs.entries().get_mut(&self.input) {
            entry.broadcast = Some(Arc::clone(broadcast));
        }
    }

    /// Gives the broadcast up: the next encoder begins another.
    pub(crate) fn let_go(&self, broadcast: &Arc<Broadcast>) {
        self.inputs.forget(&self.input, broadcast);
    }

    /// The input's public id.
    pub(crate) fn input(&self) -> &str {
        &self.input
    }

    /// The encoder said something.
    pub(crate) fn heard(&self) {
        let since = self.encoder.began.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.encoder.heard.store(since, Ordering::Release);
    }

    /// Whether another encoder has the input now.
    pub(crate) fn is_void(&self) -> bool {
        self.encoder.is_void.load(Ordering::Acquire)
    }

    /// Waits until another encoder has the input.
    pub(crate) async fn taken_over(&self) {
        self.encoder.taken_over.notified().await;
    }

    /// Where on the timeline the broadcast has arrived.
    pub(crate) fn written_until(&self) -> Duration {
        Duration::from_micros(self.written_until.load(Ordering::Acquire))
    }

    /// Takes down where on the timeline it has arrived.
    pub(crate) fn written(&self, until_micros: i64) {
        let until = u64::try_from(until_micros).unwrap_or(0);
        self.written_until.fetch_max(until, Ordering::AcqRel);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut entries = self.inputs.entries();
        let Some(entry) = entries.get_mut(&self.input) else {
            return;
        };
        let is_ours = entry
            .encoder
            .as_ref()
            .is_some_and(|encoder| Arc::ptr_eq(encoder, &self.encoder));
        if is_ours {
            entry.encoder = None;
            if entry.broadcast.is_none() {
                entries.remove(&self.input);
            }
        }
    }
}

impl Encoder {
    fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Acquire));
        self.began.elapsed().saturating_sub(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(5);

    #[test]
    fn a_second_encoder_is_refused_until_the_first_is_gone() {
        let inputs = Arc::new(Inputs::default());
        let first = inputs
            .claim("lv_1", STALE)
            .unwrap_or_else(|_| panic!("free"));
        assert!(inputs.claim("lv_1", STALE).is_err());
        assert!(inputs.claim("lv_2", STALE).is_ok());
        drop(first);
        assert_eq!(inputs.len(), 0);
        assert!(inputs.claim("lv_1", STALE).is_ok());
    }

    #[tokio::test]
    async fn a_silent_encoder_loses_its_input_and_is_told() {
        let inputs = Arc::new(Inputs::default());
        let first = inputs
            .claim("lv_1", STALE)
            .unwrap_or_else(|_| panic!("free"));
        let second = inputs
            .claim("lv_1", Duration::ZERO)
            .unwrap_or_else(|_| panic!("stale"));
        first.taken_over().await;
        assert!(first.is_void() && !second.is_void());
        // The old connection's end does not free what is not its own any more.
        drop(first);
        assert!(inputs.claim("lv_1", STALE).is_err());
    }
}
