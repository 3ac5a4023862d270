//! Moves datagrams and time between the machine and a QUIC host.
//!
//! [`Shard`] runs one [`Host`](mainstem_quic::Host) on a thread and a socket of its own. Back-ends
//! stand behind [`PacketIo`]; [`Portable`] runs everywhere. This room reads the clock
//! ([`Clock`]) and the system's randomness ([`os_entropy`]), so that no other needs to. It never
//! looks into a datagram.

#![forbid(unsafe_code)]

mod alarm;
mod client;
mod clock;
mod io;
mod portable;
mod resolve;
mod shard;

/// What [`alarm`] is built on, by a name of ours: its proof builds it on other atomics.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
}

pub use client::{Client, ClientConfig, ClientError};
pub use clock::Clock;
pub use io::{PacketIo, Sent, SocketOptions, Wake};
pub use portable::Portable;
pub use resolve::resolve;
pub use shard::{COMMANDS_MAX, CallError, Handle, Shard, ShardConfig, ShardError};

use mainstem_quic::{Config, Entropy};
use ring::rand::{SecureRandom, SystemRandom};

/// The system's randomness did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoEntropy;

/// Entropy for a host, from the operating system.
pub fn os_entropy() -> Result<Entropy, NoEntropy> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| NoEntropy)?;
    Ok(Entropy::from_seed(seed))
}

/// A seed for what only has to differ from run to run, such as the options that a session sends so that
/// peers keep ignoring what they do not know.
pub fn os_seed() -> Result<u64, NoEntropy> {
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).map_err(|_| NoEntropy)?;
    Ok(u64::from_be_bytes(seed))
}

/// A client-only host configuration with the system's entropy and `clock`'s time; set `server` to
/// serve.
pub fn host_config(clock: &Clock) -> Result<Config, NoEntropy> {
    Ok(Config::new(
        os_entropy()?,
        clock.epoch(),
        clock.unix_time_at_epoch(),
    ))
}
