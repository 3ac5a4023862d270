//! MoQT machines joined in memory: publisher, relay, subscriber.

mod net;
mod relay;
