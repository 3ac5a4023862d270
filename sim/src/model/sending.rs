//! Makes packets: what a connection has to say, in the order of urgency, as far as the window allows.
//!
//! | goes first | bound by |
//! |---|---|
//! | acknowledgement | nothing |
//! | the connection's own frames, then those about streams | the congestion window |
//! | datagrams, unless they are too late by now | the congestion window |
//! | bytes of streams, by priority, in turns among equals | the congestion window |
//!
//! A packet holds up to [`Recovery::packet_bytes`](super::recovery::Recovery::packet_bytes) of frames. Source: RFC 9000 sections 12.4 and 13.

use super::connection::{Connection, Phase, cost};
use super::packet::{Body, Data, Frame, ModelPacket};
use mainstem_core::time::Instant;
use std::sync::Arc;

/// Room below which no stream is begun in a packet.
const ROOM_LEAST: usize = 64;

impl Connection {
    /// The next packet, and how many datagrams were too late for it.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> (Option<ModelPacket>, u64) {
        match self.phase {
            Phase::Closing => {
                let close = std::mem::take(&mut self.wants_close_sent);
                let close = close.then(|| self.close.clone()).flatten();
                let packet = close.map(|close| {
                    let frames: Arc<[Frame]> = Arc::new([Frame::Close(close)]);
                    self.packet(now, frames)
                });
                return (packet, 0);
            }
            Phase::Draining => return (None, 0),
            Phase::Opening | Phase::Open | Phase::LastWords => {}
        }
        let mut dropped = 0;
        let mut frames = Vec::new();
        if self.recovery.has_room() {
            dropped = self.gather(now, &mut frames);
        }
        if frames.is_empty() && !self.recovery.is_ack_due(now) {
            return (None, dropped);
        }
        if !frames.is_empty() && std::mem::take(&mut self.is_quiet) {
            self.idle_at = self.idle_at.max(now + self.idle_timeout);
        }
        (Some(self.packet(now, frames.into())), dropped)
    }

    fn packet(&mut self, now: Instant, frames: Arc<[Frame]>) -> ModelPacket {
        let size = frames.iter().map(Frame::size).sum();
        let ack = self.recovery.take_ack(now);
        let number = self.recovery.send(now, &frames, size);
        ModelPacket {
            to: self.peer,
            from: self.id,
            body: Body::Frames {
                number,
                ack,
                frames,
            },
        }
    }

    fn gather(&mut self, now: Instant, frames: &mut Vec<Frame>) -> u64 {
        let packet_bytes = self.recovery.packet_bytes();
        let mut room = packet_bytes;
        let mut add = |frame: Frame, frames: &mut Vec<Frame>| {
            room = room.saturating_sub(frame.size());
            frames.push(frame);
            room
        };
        let mut left = usize::MAX;
        while left > ROOM_LEAST
            && let Some(frame) = self.control.pop_front()
        {
            left = add(frame, frames);
        }
        while left > ROOM_LEAST
            && let Some(frame) = self.streams.control.pop_front()
        {
            left = add(frame, frames);
        }
        let mut dropped = 0;
        while left > ROOM_LEAST
            && let Some((data, until)) = self.datagrams.pop_front()
        {
            if until.is_some_and(|until| now > until) {
                self.datagram_bytes = self.datagram_bytes.saturating_sub(cost(&data));
                dropped += 1;
                continue;
            }
            let frame = Frame::Datagram(Data(data.clone()));
            if frame.size() > left && !frames.is_empty() {
                self.datagrams.push_front((data, until));
                left = 0;
                break;
            }
            self.datagram_bytes = self.datagram_bytes.saturating_sub(cost(&data));
            left = add(frame, frames);
        }
        let mut left = left.min(packet_bytes);
        while left > ROOM_LEAST
            && let Some(frame) = self.streams.pack(left.saturating_sub(ROOM_LEAST / 2))
        {
            left = add(frame, frames);
        }
        dropped
    }
}
