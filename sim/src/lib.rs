//! The world in a box: Mainstem's machines, as they ship, in virtual time on a network that can be as
//! bad as it likes, and checkers that say what must hold all the same.
//!
//! ```text
//! seed -> Plan::generate -> Plan (JSON) -> World::new -> run -> Report { trace_hash, findings, .. }
//! ```
//!
//! | module | what is there |
//! |---|---|
//! | [`plan`] | what a world is, as a value; drawn from a seed, saved, checked |
//! | [`world`] | the heap of events, the phases, the report |
//! | [`links`] | what becomes of packets |
//! | [`nodes`] | origins, relays, viewers and hostile peers, with their owners' duties |
//! | [`model`] | streams without QUIC's bytes, for mass seeds |
//! | [`check`] | what must hold, one file per concern |
//! | `canaries` | proof that they look: deliberate faults, and who catches them; a feature |
//! | [`shrink`] | smaller plans that fail in the same way |
//! | [`experiment`] | numbers: what loss, distance and a narrow link do to viewers |
//! | [`quic`] | real QUIC and TLS without entropy of their own |
//! | [`random`] | all chance, from one seed, by purpose |
//! | [`trace`] | what happened, as a number and in words |
//!
//! A run is a pure function of its plan: no clock, thread, socket or operating-system randomness, and
//! nothing walks a hash map. What runs is what ships: `Host<Relay>` and its kin, not models of them.

#![forbid(unsafe_code)]

#[cfg(feature = "canaries")]
pub mod canaries;
pub mod check;
pub mod experiment;
pub mod links;
pub mod model;
pub mod nodes;
pub mod packet;
pub mod plan;
pub mod quic;
pub mod random;
pub mod shrink;
pub mod trace;
pub mod world;

pub use check::{Checker, Finding, Observation, Seen};
pub use plan::{NodeId, Plan, Profile};
pub use world::{Report, World, WorldError};
