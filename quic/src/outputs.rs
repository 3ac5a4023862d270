//! What the application wants done, done to one connection.
//!
//! Outputs for streams that are gone are ignored: the application need not race the peer. A session
//! that passes a bound on unsent bytes or waiting streams is closed with `Limits::overload_code`; so are
//! those with most when the bound on all of them together is passed ([`crate::shed`]).

use crate::connection::{Connection, Context, Phase};
use crate::http3::code::{self, Code};
use crate::wire_id::dir;
use bytes::Bytes;
use mainstem_core::payload::Payload;
use mainstem_core::time::Instant;
use mainstem_core::transport::{Closed, Direction, Input, Origin, Output, StreamEvent, StreamId};
use quinn_proto::VarInt;

/// Bytes of a close reason on raw QUIC; quinn cuts further to what a packet holds.
const REASON_MAX: usize = 1024;

impl Connection {
    /// Does one output of this connection's session.
    pub(crate) fn perform(&mut self, output: Output, cx: &mut Context<'_>) {
        match output {
            Output::Open {
                stream, priority, ..
            } => self.open(stream, priority, cx),
            Output::Write {
                stream,
                head,
                body,
                fin,
                notify,
                ..
            } => self.write(stream, head, body, (fin, notify), cx),
            Output::SetPriority {
                stream, priority, ..
            } => self.streams.set_priority(stream, priority, &mut self.quic),
            Output::Reset { stream, code, .. } => self.reset(stream, code),
            Output::Stop { stream, code, .. } => self.stop(stream, code, cx),
            Output::Datagram { data, until, .. } => self.datagram(data, until, cx),
            Output::Allow {
                direction, streams, ..
            } => self.allow(direction, streams, cx),
            Output::Close { code, reason, .. } => self.close(code, &reason, cx),
        }
    }

    fn open(&mut self, id: StreamId, priority: i32, cx: &mut Context<'_>) {
        let header = match &self.phase {
            Phase::Http3 { machine, .. } => machine.stream_header(id.direction()),
            Phase::Raw => Bytes::new(),
            Phase::Handshaking | Phase::Closing { .. } => return,
        };
        let named = self.streams.add_local(id, priority, header);
        debug_assert!(named, "streams are opened in the order of their indexes");
        self.open_streams(cx);
        if self.streams.waiting() > cx.limits.pending_opens_max {
            let reason = "more streams wait for the peer's credit than the host keeps";
            self.overload(reason, cx);
        }
    }

    fn write(
        &mut self,
        id: StreamId,
        head: Bytes,
        body: Payload,
        (fin, notify): (bool, bool),
        cx: &mut Context<'_>,
    ) {
        let mut is_first = false;
        let added = self.streams.push(id, |queue| {
            is_first = queue.unsent() == 0;
            queue.push(head, body, fin, notify);
        });
        if !added {
            return;
        }
        // Otherwise quinn is full and will say when to go on.
        if is_first {
            self.flush(id, cx);
        }
        if self.streams.unsent() > cx.limits.unsent_bytes_max {
            self.overload("more bytes are unsent than the host keeps", cx);
        }
    }

    fn reset(&mut self, id: StreamId, code: u64) {
        let code = self.wire_code(code);
        let Some(stream) = self.streams.stream(id) else {
            return;
        };
        if stream.send.is_none() {
            return;
        }
        if let Some(wire) = stream.wire {
            let _ = self.quic.send_stream(wire.to_quinn()).reset(code);
        }
        self.streams.end_send(id);
    }

    fn stop(&mut self, id: StreamId, code: u64, cx: &mut Context<'_>) {
        // Reading may have brought several pieces at once, and the first made the application stop.
        let of_session = self.session;
        cx.inputs.retain(|input| match input {
            Input::Stream {
                session,
                stream,
                event: StreamEvent::Data(_) | StreamEvent::Finished | StreamEvent::Reset(_),
            } => (Some(*session), *stream) != (of_session, id),
            _ => true,
        });
        let code = self.wire_code(code);
        let Some(stream) = self.streams.stream(id) else {
            return;
        };
        if !stream.receiving {
            return;
        }
        if let Some(wire) = stream.wire {
            let _ = self.quic.recv_stream(wire.to_quinn()).stop(code);
        }
        self.streams.end_receive(id);
    }

    fn allow(&mut self, direction: Direction, streams: u32, cx: &mut Context<'_>) {
        let streams = streams.min(cx.limits.allowed_streams_max);
        self.quic
            .set_max_concurrent_streams(dir(direction), streams.into());
    }

    fn datagram(&mut self, data: Bytes, until: Option<Instant>, cx: &mut Context<'_>) {
        let data = match &self.phase {
            Phase::Raw => Some(data),
            Phase::Http3 { machine, .. } => machine.wrap_datagram(&data),
            Phase::Handshaking | Phase::Closing { .. } => None,
        };
        let dropped = match data {
            Some(data) => self
                .unsent
                .push(data, until, cx.limits.datagram_send_buffer),
            None => 1,
        };
        cx.counters.datagrams_dropped += dropped;
    }

    /// Ends the session by our own wish: in peace when what was written is with the peer, else at once.
    pub(crate) fn close(&mut self, code: u64, reason: &str, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Closing { .. } => return,
            Phase::Raw | Phase::Http3 { .. } if code == 0 && self.session.is_some() => {
                self.leaving = Some((code, reason.to_owned()));
                self.readable.clear();
                self.deadline = cx.now.checked_add(cx.limits.close_timeout);
            }
            _ => self.close_now(code, reason, cx),
        }
        let closed = Closed::Application {
            by: Origin::Local,
            code,
            reason: reason.to_owned(),
        };
        self.end_session(closed, cx);
    }

    /// Whether a connection that leaves has nothing left to wait for. To be asked when it has no packet to
    /// send.
    pub(crate) fn has_left(&self) -> bool {
        self.leaving.is_some() && !self.streams.has_ending()
    }

    /// Closes a connection that leaves, whatever is still on its way.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>) {
        if let Some((code, reason)) = self.leaving.take() {
            self.close_now(code, &reason, cx);
        }
    }

    fn close_now(&mut self, code: u64, reason: &str, cx: &mut Context<'_>) {
        let last_words = match &mut self.phase {
            Phase::Http3 { machine, .. } => machine.close_session(code, reason),
            _ => None,
        };
        let Some((wire, capsule)) = last_words else {
            let code = match self.phase {
                Phase::Http3 { .. } => Code::NO_ERROR.0,
                _ => code,
            };
            self.close_quic(code, cut(reason), cx);
            return;
        };
        let gone = VarInt::from_u64(Code::WT_SESSION_GONE.0).unwrap_or(VarInt::MAX);
        for (wire, stream) in self.streams.clear() {
            if stream.send.is_some() {
                let _ = self.quic.send_stream(wire.to_quinn()).reset(gone);
            }
            if stream.receiving {
                let _ = self.quic.recv_stream(wire.to_quinn()).stop(gone);
            }
        }
        self.retire(Some(wire));
        self.send_own(wire, capsule, true);
        self.deadline = cx.now.checked_add(cx.limits.close_timeout);
    }

    pub(crate) fn overload(&mut self, reason: &str, cx: &mut Context<'_>) {
        cx.counters.overloads += 1;
        self.close(cx.limits.overload_code, reason, cx);
    }

    fn wire_code(&self, code: u64) -> VarInt {
        let code = match self.phase {
            Phase::Http3 { .. } => code::to_wire(code),
            _ => code,
        };
        VarInt::from_u64(code).unwrap_or(VarInt::MAX)
    }
}

/// A reason that is not longer than [`REASON_MAX`], cut at a character.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}
