//! When all sessions together keep too many unsent bytes: those that keep most are closed.
//!
//! Each session has a bound of its own; a host with thousands of them needs one for their sum, or a
//! few hundred stalled viewers take all of its memory without any of them passing its own.
//!
//! The sum is kept with each change. Only when it passes [`Limits::unsent_bytes_total_max`], all
//! connections are looked at: first QUIC is offered again what they have, then those with most are
//! closed until an eighth of the bound is free, so that the next look is at least that many bytes away.
//!
//! [`Limits::unsent_bytes_total_max`]: crate::Limits::unsent_bytes_total_max

use crate::connection::Connection;
use crate::connections::Connections;
use std::cmp::Reverse;

impl Connections {
    /// Brings the unsent bytes of all sessions below their bound.
    pub(crate) fn shed(&mut self) {
        let max = self.limits.unsent_bytes_total_max;
        let enough = max.saturating_sub(max / 8);
        for (_, handle) in self.by_unsent() {
            self.with(handle, Connection::flush_ready);
        }
        for (_, handle) in self.by_unsent() {
            if self.unsent_total <= enough {
                break;
            }
            self.with(handle, |connection, cx| {
                cx.counters.overloads_shared += 1;
                let reason =
                    "the host keeps too many unsent bytes, and most of them for this session";
                connection.overload(reason, cx);
            });
            self.touched.insert(handle);
        }
    }

    /// Connections with unsent bytes, those with most first.
    fn by_unsent(&self) -> Vec<(Reverse<usize>, usize)> {
        let slots = self.slots.iter().enumerate();
        let mut unsent: Vec<(Reverse<usize>, usize)> = slots
            .filter_map(|(handle, slot)| {
                let bytes = slot.as_ref()?.streams.unsent();
                (bytes > 0).then_some((Reverse(bytes), handle))
            })
            .collect();
        unsent.sort_unstable();
        unsent
    }
}
