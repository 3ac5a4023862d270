//! Sans-IO machines of Mainstem.
//!
//! No room is imported here and nothing here does input or output: no socket, file, thread, clock
//! or operating-system randomness. What the world does comes in as a value, what is to be done
//! comes out as a value, and the same code runs in production and in the simulator. The crate
//! builds for `wasm32-unknown-unknown` and the result imports nothing, which a test holds.
//!
//! Each machine has the same face (see [`transport::App`] for the one over a transport):
//! `handle` what happened, `handle_timeout`, then `poll` until `None`; `next_timeout` names the
//! next deadline; the owner's wishes are typed commands that can fail. Mutate once, then drain.

#![forbid(unsafe_code)]

pub mod broadcast;
pub mod canary;
pub mod catalog;
pub mod cmaf;
#[cfg(feature = "jwt")]
pub mod jwt;
pub mod map;
pub mod moqt;
pub mod packager;
pub mod payload;
pub mod resolve;
pub mod rtmp;
pub mod time;
pub mod transport;
pub mod viewer;
