//! MoQT: the wire, one session, and machines joined in memory: publisher, relay, subscriber.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test's way of speaking"
)]

#[macro_use]
extern crate mainstem_spec_covers;

mod aggregation;
mod announced;
mod answers;
mod arbitrary;
mod faults;
mod fetch;
mod fetches;
mod filter;
mod flood;
mod house;
mod known;
mod legacy;
mod malformed;
mod memory;
mod mesh;
#[allow(dead_code, reason = "shared with the mutation tests")]
mod net;
mod objects;
mod offers;
mod oracle;
mod originals;
mod own_requests;
mod participant;
mod passing;
mod payload;
mod ranks;
mod relay;
mod routing;
mod rules;
mod sdk;
mod session;
mod status;
mod streams;
mod subscriptions;
mod testtracks;
mod tokens;
mod twins;
mod upload;
mod visible;
mod wire;
