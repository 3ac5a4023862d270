//! [`BroadcastViewer`]: the media of one live stream, chunk by chunk.
//!
//! | callback | called |
//! |---|---|
//! | `on_chunk` | for each chunk; the first is the init segment, and another may follow when it changes |
//! | `on_close` | once, last |
//!
//! | closes as | when |
//! |---|---|
//! | `complete` | the publisher ended the stream |
//! | `auth_failed` | the token is wrong, expired, or for another stream |
//! | `network` | there was no relay, or no stream, for [`ViewerOptions::patience`] |
//! | `closed_by_caller` | [`BroadcastViewer::close`] |
//!
//! Source: seed document 000 (data plane, Python surface).

use crate::client::{Arrival, Client, Error, Start, Subscription};
use crate::close::{Close, State};
use crate::config::Config;
use crate::decoding::Frame;
use std::sync::Mutex;
use std::time::Duration;

/// How long there may be nothing to watch.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to watch.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// How long there may be no relay, or no stream, before the viewer gives up; `None` for ever.
    pub patience: Option<Duration>,
    /// Where to begin.
    pub start: Start,
}

impl Default for ViewerOptions {
    fn default() -> Self {
        Self {
            patience: Some(PATIENCE),
            start: Start::Newest,
        }
    }
}

/// See the module's description.
pub struct BroadcastViewer {
    client: Client,
    subscription: Mutex<Option<Subscription>>,
}

impl BroadcastViewer {
    /// Begins to watch the stream that the URL's path names: `moqt://host/playback/<id>?tok=<jwt>`.
    pub fn open(
        config: &Config,
        options: &ViewerOptions,
        mut on_chunk: impl FnMut(Frame) + Send + 'static,
        mut on_close: impl FnMut(&Close) + Send + 'static,
    ) -> Result<Self, Error> {
        let namespace = config.namespace()?.fields().to_vec();
        let fields: Vec<_> = namespace
            .iter()
            .map(|field| String::from_utf8_lossy(field).into_owned())
            .collect();
        let config = Config {
            patience: options.patience,
            ..config.clone()
        };
        let on_state = move |state, close: Option<&Close>| {
            if let (State::Closed | State::Failed, Some(close)) = (state, close) {
                on_close(close);
            }
        };
        let client = Client::connect(&config, Box::new(on_state))?;
        let handler = move |arrival| {
            if let Arrival::Frame(frame) = arrival {
                on_chunk(frame);
            }
        };
        let subscription = client.subscribe(
            &fields.join("/"),
            crate::BROADCAST_TRACK,
            options.start,
            Box::new(handler),
        );
        let subscription = match subscription {
            Ok(subscription) => Some(subscription),
            // Refused already, as `on_close` was told.
            Err(Error::Closed) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            client,
            subscription: Mutex::new(subscription),
        })
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.client.state()
    }

    /// Chunks that were dropped because `on_chunk` took too long.
    pub fn dropped(&self) -> u64 {
        self.client.dropped()
    }

    /// Ends it, and waits until `on_close` has returned. From within a callback it returns at once, and
    /// `on_close` follows.
    pub fn close(&self) {
        let held = self.subscription.lock();
        let subscription = held
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(subscription) = subscription {
            subscription.close();
        }
        self.client.close();
    }
}

impl Drop for BroadcastViewer {
    fn drop(&mut self) {
        self.close();
    }
}
