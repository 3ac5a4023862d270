//! Datagrams on their way out, until QUIC has room for them.
//!
//! What quinn was given cannot be withdrawn, and it keeps it for as long as congestion control wants.
//! So it is given little at a time, right before it makes packets, and what is too late by then is
//! dropped here. Without a bound in time a datagram waits until newer ones need its place.
//!
//! Limits: `Limits::datagram_send_buffer` bytes. Units: bytes of payload. Source:
//! draft-ietf-moq-transport-19, Section 8 (delivery time-outs); RFC 9221, Section 5.

use bytes::Bytes;
use mainstem_core::time::Instant;
use quinn_proto::SendDatagramError;
use std::collections::VecDeque;

/// Bytes that quinn keeps of what it has made no packets of: some packets, for one system call.
pub(crate) const AHEAD_BYTES: usize = 16 << 10;

/// The datagrams of one connection that wait.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    waiting: VecDeque<(Bytes, Option<Instant>)>,
    bytes: usize,
}

impl Datagrams {
    /// Takes one more; the oldest make room for it: live media wants the newest. Returns how many
    /// were dropped.
    pub(crate) fn push(&mut self, data: Bytes, until: Option<Instant>, bytes_max: usize) -> u64 {
        if cost(&data) > bytes_max {
            return 1;
        }
        let mut dropped = 0;
        while self.bytes.saturating_add(cost(&data)) > bytes_max && self.pop().is_some() {
            dropped += 1;
        }
        self.bytes = self.bytes.saturating_add(cost(&data));
        self.waiting.push_back((data, until));
        dropped
    }

    /// Gives QUIC what it has room for and is in time. Returns how many were dropped.
    pub(crate) fn send(&mut self, now: Instant, quic: &mut quinn_proto::Connection) -> u64 {
        let mut dropped = 0;
        while let Some((data, until)) = self.pop() {
            if until.is_some_and(|until| now > until) {
                dropped += 1;
                continue;
            }
            match quic.datagrams().send(data, false) {
                Ok(()) => {}
                Err(SendDatagramError::Blocked(data)) => {
                    self.bytes = self.bytes.saturating_add(cost(&data));
                    self.waiting.push_front((data, until));
                    break;
                }
                Err(_) => dropped += 1,
            }
        }
        dropped
    }

    fn pop(&mut self) -> Option<(Bytes, Option<Instant>)> {
        let front = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(cost(&front.0));
        Some(front)
    }
}

/// What an entry takes, an empty one too.
fn cost(data: &Bytes) -> usize {
    data.len()
        .saturating_add(size_of::<(Bytes, Option<Instant>)>())
}
