//! One stream's receiving direction: puts frames in order.
//!
//! Frames come in any order, twice, and cut differently the second time. Out come bytes in order, then the
//! end or the reset. Bytes that are not read, because the host is paused, keep using the peer's credit.
//!
//! Limits: the peer's credit. Units: bytes. Source: RFC 9000 sections 3.2 and 4.

use super::packet::len64;
use bytes::{Buf, Bytes};
use std::collections::BTreeMap;

/// A receiving direction. See the module's description.
#[derive(Debug)]
pub(super) struct Incoming {
    next: u64,
    end: u64,
    final_size: Option<u64>,
    parts: BTreeMap<u64, Bytes>,
    reset: Option<u64>,
    is_stopped: bool,
    credit: u64,
}

/// The next thing to tell the application.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Data(Bytes),
    Finished,
    Reset(u64),
}

impl Incoming {
    pub(super) fn new(credit: u64) -> Self {
        Self {
            next: 0,
            end: 0,
            final_size: None,
            parts: BTreeMap::new(),
            reset: None,
            is_stopped: false,
            credit,
        }
    }

    /// Takes a frame: how many bytes of the connection's credit it used; `None` when the peer had
    /// less of the stream's.
    pub(super) fn insert(&mut self, offset: u64, data: Bytes, fin: bool) -> Option<u64> {
        let end = offset.saturating_add(len64(&data));
        if end > self.credit {
            return None;
        }
        let used = end.saturating_sub(self.end);
        self.end = self.end.max(end);
        if fin {
            self.final_size = Some(end);
        }
        if end > self.next && !self.is_stopped && self.reset.is_none() {
            let known = self.parts.get(&offset).map_or(0, Bytes::len);
            if data.len() > known {
                self.parts.insert(offset, data);
            }
        }
        Some(used)
    }

    /// The peer abandoned it after `size` bytes: how many of the connection's credit that used, and
    /// how many will never be read.
    pub(super) fn reset(&mut self, code: u64, size: u64) -> (u64, u64) {
        let used = size.saturating_sub(self.end);
        let read = if self.is_stopped { self.end } else { self.next };
        self.end = self.end.max(size);
        self.next = self.end;
        self.final_size = Some(size);
        self.parts.clear();
        self.reset = Some(code);
        (used, size.saturating_sub(read))
    }

    /// The application wants no more of it: how many bytes will never be read.
    pub(super) fn stop(&mut self) -> u64 {
        self.is_stopped = true;
        self.parts.clear();
        self.end.saturating_sub(self.next)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether the peer has said where it ends.
    pub(super) fn is_ended(&self) -> bool {
        self.final_size.is_some()
    }

    /// The next thing in order.
    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some(code) = self.reset {
            return Some(Next::Reset(code));
        }
        while let Some(entry) = self.parts.first_entry() {
            if *entry.key() > self.next {
                break;
            }
            let (offset, mut data) = entry.remove_entry();
            let known = self.next.saturating_sub(offset);
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            if known >= data.len() {
                continue;
            }
            data.advance(known);
            self.next = self.next.saturating_add(len64(&data));
            return Some(Next::Data(data));
        }
        (self.final_size == Some(self.next)).then_some(Next::Finished)
    }

    /// New credit for the peer, when it is worth telling.
    pub(super) fn more_credit(&mut self, window: u64) -> Option<u64> {
        if self.is_ended() || self.is_stopped {
            return None;
        }
        let credit = self.next.saturating_add(window);
        if credit.saturating_sub(self.credit) < (window / 8).max(1) {
            return None;
        }
        self.credit = credit;
        Some(credit)
    }
}
