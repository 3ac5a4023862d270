//! Reading: bytes of the peer's streams, to the application or to HTTP/3.
//!
//! Chunks are handed on as quinn has them, in order and without a copy. One turn reads at most
//! `Limits::read_budget` bytes of a connection, so that others get their turn; what is left is
//! read on the next. A WebTransport stream that waits for its session is left in QUIC's receive
//! window.

use crate::connection::{Connection, Context, Phase};
use crate::wire_id::WireId;
use bytes::Bytes;
use mainstem_core::transport::{Input, StreamEvent, StreamId};
use quinn_proto::ReadError;

impl Connection {
    /// Reads what is readable, up to the budget; true when something is left.
    pub(crate) fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_paused {
            return false;
        }
        if self.leaving.is_some() {
            // Nobody is left to read it. The peer's windows bound what arrives.
            self.readable.clear();
            return false;
        }
        let mut budget = cx.limits.read_budget;
        while let Some(wire) = self.readable.pop_first() {
            if budget == 0 {
                self.readable.insert(wire);
                return true;
            }
            let more = match self.streams.by_wire(wire) {
                Some(id) => self.read_app(id, wire, &mut budget, cx),
                None => self.read_http3(wire, &mut budget, cx),
            };
            if more {
                self.readable.insert(wire);
            }
        }
        false
    }

    fn read_app(
        &mut self,
        id: StreamId,
        wire: WireId,
        budget: &mut usize,
        cx: &mut Context<'_>,
    ) -> bool {
        let receiving = self.streams.stream(id).is_some_and(|s| s.receiving);
        let (true, Some(session)) = (receiving, self.session) else {
            return false;
        };
        let mut stream = self.quic.recv_stream(wire.to_quinn());
        let Ok(mut chunks) = stream.read(true) else {
            return false;
        };
        let mut tell = |event| {
            cx.inputs.push_back(Input::Stream {
                session,
                stream: id,
                event,
            });
        };
        let mut is_session_gone = false;
        let ended = loop {
            if *budget == 0 {
                let _ = chunks.finalize();
                return true;
            }
            match chunks.next(*budget) {
                Ok(Some(chunk)) => {
                    *budget = budget.saturating_sub(chunk.bytes.len());
                    tell(StreamEvent::Data(unpinned(chunk.bytes)));
                }
                Ok(None) => {
                    tell(StreamEvent::Finished);
                    break true;
                }
                Err(ReadError::Reset(code)) => {
                    is_session_gone = self.phase.is_session_gone(code);
                    if !is_session_gone {
                        tell(StreamEvent::Reset(self.phase.application_code(code)));
                    }
                    break true;
                }
                Err(ReadError::Blocked) => break false,
            }
        };
        let _ = chunks.finalize();
        if ended {
            self.streams.end_receive(id);
        }
        if is_session_gone {
            self.await_close(cx);
        }
        false
    }

    /// Reads one chunk of a stream that HTTP/3 has not handed over; true when to read on.
    fn read_http3(&mut self, wire: WireId, budget: &mut usize, cx: &mut Context<'_>) -> bool {
        let Phase::Http3 { machine, .. } = &mut self.phase else {
            return false;
        };
        if machine.is_waiting(wire) {
            return false;
        }
        let mut stream = self.quic.recv_stream(wire.to_quinn());
        let Ok(mut chunks) = stream.read(true) else {
            return false;
        };
        let next = chunks.next(*budget);
        let _ = chunks.finalize();
        let more = match next {
            Ok(Some(chunk)) => {
                *budget = budget.saturating_sub(chunk.bytes.len());
                machine.data(wire, unpinned(chunk.bytes));
                true
            }
            Ok(None) => {
                machine.finished(wire);
                false
            }
            Err(ReadError::Reset(_)) => {
                machine.reset(wire);
                false
            }
            Err(ReadError::Blocked) => false,
        };
        self.apply_effects(cx);
        self.open_request(cx);
        more && matches!(self.phase, Phase::Http3 { .. })
    }
}

/// Pieces below this many bytes are copied.
const SMALL: usize = 256;

/// A piece that keeps no more memory than about its own size. Stream bytes are slices of the packets
/// that brought them, and a packet may bring a single byte: whoever keeps that byte, within whatever
/// bound, would keep the packet.
fn unpinned(bytes: Bytes) -> Bytes {
    if bytes.len() < SMALL {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}
