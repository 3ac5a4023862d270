//! [`BroadcastPublisher`]: chunks of CMAF to a live input.
//!
//! | closes as | when |
//! |---|---|
//! | `auth_failed` | the stream key is wrong, or was changed |
//! | `network` | there was no relay for [`PublisherOptions::patience`] |
//! | `closed_by_caller`, `finished` | [`BroadcastPublisher::close`], as its caller says |
//!
//! What is written while there is no relay is kept as far as a track retains groups, and goes out from
//! the newest group on. Source: seed document 000 (data plane, Python surface).

use crate::client::{Client, Error, Publication, TrackInfo};
use crate::close::{Close, CloseReason, State};
use crate::config::{Config, percent_encoded};
use crate::trust::Trust;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long there may be no relay.
const PATIENCE: Duration = Duration::from_mins(1);

/// How to publish.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// `host:port`, or with a scheme in front: `https://host:port` for WebTransport.
    pub relay: String,
    /// The codecs, as RFC 6381 writes them, with a comma; may be empty.
    pub codecs: String,
    /// How to know the relay.
    pub trust: Trust,
    /// How long there may be no relay before the publisher gives up; `None` for ever.
    pub patience: Option<Duration>,
}

impl PublisherOptions {
    /// To this relay.
    pub fn new(relay: impl Into<String>) -> Self {
        Self {
            relay: relay.into(),
            codecs: String::new(),
            trust: Trust::Environment,
            patience: Some(PATIENCE),
        }
    }
}

/// See the module's description.
pub struct BroadcastPublisher {
    client: Client,
    publication: Publication,
    opened: Instant,
}

impl BroadcastPublisher {
    /// Begins to publish to the input of this id (`lv_..` or `li_..`).
    pub fn open(
        input: &str,
        stream_key: &str,
        options: &PublisherOptions,
        mut on_close: impl FnMut(&Close) + Send + 'static,
    ) -> Result<Self, Error> {
        let relay = options.relay.trim_end_matches('/');
        let scheme = if relay.contains("://") { "" } else { "moqt://" };
        let input = percent_encoded(input);
        let config = Config {
            url: format!("{scheme}{relay}/publish/{input}"),
            token: Some(stream_key.to_owned()),
            trust: options.trust.clone(),
            patience: options.patience,
        };
        let on_state = move |state, close: Option<&Close>| {
            if let (State::Closed | State::Failed, Some(close)) = (state, close) {
                on_close(close);
            }
        };
        let client = Client::connect(&config, Box::new(on_state))?;
        let track = TrackInfo {
            schema: &options.codecs,
            ..TrackInfo::BROADCAST
        };
        let namespace = format!("publish/{input}");
        let publication = client.publish(&namespace, crate::BROADCAST_TRACK, &track)?;
        Ok(Self {
            client,
            publication,
            opened: Instant::now(),
        })
    }

    /// Writes bytes, cut anywhere; the init segment comes first. The time stamp is for viewers, and is
    /// the time since the publisher was opened where none is given.
    pub fn write(&self, data: Bytes, timestamp_us: Option<u64>) -> Result<(), Error> {
        let elapsed = || u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        let timestamp_us = timestamp_us.unwrap_or_else(elapsed);
        self.publication.write(timestamp_us, 1, data)
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.client.state()
    }

    /// Whether anybody watches.
    pub fn subscribers(&self) -> usize {
        self.publication.subscribers()
    }

    /// Ends the stream, and waits until what was written is with the relay and `on_close` has
    /// returned. From within a callback it returns at once.
    pub fn close(&self, reason: CloseReason) {
        self.publication.close();
        self.client.close_as(reason);
    }
}

impl Drop for BroadcastPublisher {
    fn drop(&mut self) {
        self.close(CloseReason::ClosedByCaller);
    }
}
