//! The streams of one session: names, credit both ways, priorities, and what is told of them.
//!
//! The rules are those that applications of `mainstem_quic::Host` see: an own stream waits for the peer's
//! credit and never exists when it is reset meanwhile; a peer's stream is announced by its first event; a
//! stop by the peer ends the sending direction; a stream is forgotten when nothing can happen to it any
//! more, and a peer's then frees credit for another.
//!
//! | half | over for the application | over for the transport |
//! |---|---|---|
//! | sending | all acknowledged, reset, or stopped | all or the reset acknowledged |
//! | receiving | end or reset told, or stopped | end or reset told, or arrived after a stop |
//!
//! Outputs: [`Streams::told`] for the application, [`Streams::control`] for the peer. Limits: the owner
//! counts what waits and what is unsent. Source: RFC 9000 sections 2 to 4.

use super::credit::{Credit, Violation};
use super::incoming::{Incoming, Next};
use super::outgoing::{Blocked, Outgoing};
use super::packet::{Frame, Terms, WireId};
use bytes::Bytes;
use mainstem_core::payload::Payload;
use mainstem_core::transport::{ANSWER_PRIORITY, Direction, Origin, Side, StreamEvent, StreamId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug)]
struct Stream {
    wire: Option<WireId>,
    priority: i32,
    /// Its place among the sendable.
    turn: Option<u64>,
    outgoing: Option<Outgoing>,
    /// A reset is on its way.
    is_resetting: bool,
    is_peer_stopped: bool,
    /// Whether the application may still write, and still hears of the other direction.
    is_writing: bool,
    incoming: Option<Incoming>,
    is_reading: bool,
}

/// The code of streams that go with their session: no news for the application, which is told of the
/// session's end. No application's code is as large.
const GONE: u64 = u64::MAX;

/// All streams of one session. See the module's description.
#[derive(Debug)]
pub(super) struct Streams {
    side: Side,
    /// The session numbers the peer's streams itself, in order of arrival.
    is_dense: bool,
    by_id: BTreeMap<StreamId, Stream>,
    by_wire: BTreeMap<WireId, StreamId>,
    credit: [Credit; 2],
    /// Streams with something for a packet: most urgent first, then by turns.
    sendable: BTreeSet<(Reverse<i32>, u64, StreamId)>,
    turns: u64,
    /// Streams that wait for room of the connection, most urgent first.
    blocked: BTreeSet<(Reverse<i32>, StreamId)>,
    /// Streams with bytes that a paused host leaves alone.
    unread: BTreeSet<StreamId>,
    pub(super) is_paused: bool,
    unsent: usize,
    /// Sending: what the transport may hold and holds, what the peer allows and what was used of it.
    send_window: u64,
    held: u64,
    data_allowed: u64,
    data_used: u64,
    peer_stream_window: u64,
    /// Receiving: bytes that came and that were read, and what the peer was told.
    own: Terms,
    received: u64,
    read: u64,
    data_told: u64,
    pub(super) told: VecDeque<(StreamId, StreamEvent)>,
    pub(super) control: VecDeque<Frame>,
}

impl Streams {
    pub(super) fn new(side: Side, is_dense: bool, own: Terms, send_window: u64) -> Self {
        let mut credit = [Credit::new(own.bidi_streams), Credit::new(own.uni_streams)];
        if is_dense {
            // HTTP/3 uses a stream of each end for itself, and one for the session.
            let [bidi, uni] = &mut credit;
            uni.next_wire = 1;
            uni.next_seen = 1;
            if side == Side::Client {
                bidi.next_wire = 1;
            } else {
                bidi.next_seen = 1;
            }
        }
        Self {
            side,
            is_dense,
            by_id: BTreeMap::new(),
            by_wire: BTreeMap::new(),
            credit,
            sendable: BTreeSet::new(),
            turns: 0,
            blocked: BTreeSet::new(),
            unread: BTreeSet::new(),
            is_paused: false,
            unsent: 0,
            send_window,
            held: 0,
            data_allowed: 0,
            data_used: 0,
            peer_stream_window: 0,
            data_told: own.window,
            own,
            received: 0,
            read: 0,
            told: VecDeque::new(),
            control: VecDeque::new(),
        }
    }

    /// What the peer grants at the start.
    pub(super) fn granted(&mut self, terms: &Terms) {
        self.data_allowed = terms.window;
        self.peer_stream_window = terms.stream_window;
        let [bidi, uni] = &mut self.credit;
        bidi.allowed = terms.bidi_streams;
        uni.allowed = terms.uni_streams;
    }

    /// Own streams that wait for credit.
    pub(super) fn waiting(&self) -> usize {
        self.credit.iter().map(|credit| credit.waiting.len()).sum()
    }

    /// Written bytes that the transport did not take, with an allowance per write.
    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Opens a stream; false when its name is not the next one.
    pub(super) fn open(&mut self, id: StreamId, priority: i32) -> bool {
        let credit = self.credit(id.direction());
        if id.origin() != Origin::Local || id.index() != credit.next_local {
            return false;
        }
        credit.next_local += 1;
        credit.waiting.push_back(id);
        let stream = Stream {
            wire: None,
            priority,
            turn: None,
            outgoing: Some(Outgoing::default()),
            is_resetting: false,
            is_peer_stopped: false,
            is_writing: true,
            incoming: None,
            is_reading: id.direction() == Direction::Bidirectional,
        };
        self.by_id.insert(id, stream);
        self.open_waiting();
        true
    }

    pub(super) fn write(
        &mut self,
        id: StreamId,
        head: Bytes,
        body: &Payload,
        fin: bool,
        notify: bool,
    ) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let (true, Some(outgoing)) = (stream.is_writing, stream.outgoing.as_mut()) else {
            return;
        };
        let before = outgoing.unsent();
        outgoing.push(head, body, fin, notify);
        let added = outgoing.unsent().saturating_sub(before);
        self.unsent = self.unsent.saturating_add(added);
        if before == 0 {
            self.hand_over(id);
        }
    }

    pub(super) fn set_priority(&mut self, id: StreamId, priority: i32) {
        let Some(stream) = self.by_id.get_mut(&id).filter(|it| it.is_writing) else {
            return;
        };
        let before = Reverse(std::mem::replace(&mut stream.priority, priority));
        if let Some(turn) = stream.turn
            && self.sendable.remove(&(before, turn, id))
        {
            self.sendable.insert((Reverse(priority), turn, id));
        }
        if self.blocked.remove(&(before, id)) {
            self.blocked.insert((Reverse(priority), id));
        }
    }

    /// Abandons the sending direction by the application's wish.
    pub(super) fn reset(&mut self, id: StreamId, code: u64) {
        if self.by_id.get(&id).is_some_and(|it| it.is_writing) {
            self.abandon(id, code);
        }
    }

    /// Wants no more of a stream.
    pub(super) fn stop(&mut self, id: StreamId, code: u64) {
        let Some(stream) = self.by_id.get_mut(&id).filter(|it| it.is_reading) else {
            return;
        };
        stream.is_reading = false;
        self.unread.remove(&id);
        if let Some(wire) = stream.wire {
            self.control.push_back(Frame::Stop { stream: wire, code });
        }
        if let Some(incoming) = &mut stream.incoming {
            self.read = self.read.saturating_add(incoming.stop());
            if incoming.is_ended() {
                stream.incoming = None;
            }
        }
        self.tell_credit();
        self.forget(id);
    }

    /// Lets the peer have so many streams of a direction open at a time.
    pub(super) fn allow(&mut self, direction: Direction, streams: u64) {
        self.credit(direction).open_max = streams;
        self.grant(direction);
    }

    /// The session ends while the connection goes on: nothing more of any stream. The peer hears of the
    /// end before it reads resets, but stops it hears at once.
    pub(super) fn clear(&mut self) {
        let streams = std::mem::take(&mut self.by_id);
        for stream in streams.into_values().filter(|it| it.is_reading) {
            if let Some(stream) = stream.wire {
                self.control.push_back(Frame::Stop { stream, code: GONE });
            }
        }
        self.by_wire.clear();
        self.sendable.clear();
        self.blocked.clear();
        self.unread.clear();
        self.unsent = 0;
    }

    /// Reads what was left alone while the host was paused.
    pub(super) fn resume(&mut self) {
        self.is_paused = false;
        while let Some(id) = self.unread.pop_first() {
            self.deliver(id);
        }
    }

    /// A frame about streams arrived.
    pub(super) fn handle(&mut self, frame: &Frame) -> Result<(), Violation> {
        match frame {
            Frame::Stream {
                stream,
                offset,
                data,
                fin,
            } => {
                if let Some(id) = self.receiving(*stream)? {
                    self.received(id, *offset, data.0.clone(), *fin)?;
                }
            }
            Frame::Reset { stream, code, size } => {
                if let Some(id) = self.receiving(*stream)? {
                    self.was_reset(id, *code, *size);
                }
            }
            Frame::Stop { stream, code } => {
                if let Some(id) = self.seen(*stream)? {
                    self.was_stopped(id, *code);
                }
            }
            Frame::MaxStreams(direction, max) => {
                let credit = self.credit(*direction);
                credit.allowed = credit.allowed.max(*max);
                self.open_waiting();
            }
            Frame::MaxData(max) => {
                self.data_allowed = self.data_allowed.max(*max);
                self.hand_over_blocked();
            }
            Frame::MaxStreamData { stream, max } => {
                if let Some(id) = self.seen(*stream)?
                    && let Some(it) = self.by_id.get_mut(&id)
                    && let Some(outgoing) = &mut it.outgoing
                {
                    outgoing.set_credit(*max);
                    self.hand_over(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A frame of ours about streams arrived at the peer.
    pub(super) fn arrived(&mut self, frame: &Frame) {
        match frame {
            Frame::Stream {
                stream, data, fin, ..
            } => {
                let Some(id) = self.by_wire.get(stream).copied() else {
                    return;
                };
                let Some(it) = self.by_id.get_mut(&id) else {
                    return;
                };
                if let Some(outgoing) = &mut it.outgoing {
                    let before = outgoing.held();
                    outgoing.arrived(&data.0, *fin);
                    let released = before.saturating_sub(outgoing.held());
                    self.held = self.held.saturating_sub(released);
                    if outgoing.is_done() {
                        it.outgoing = None;
                        it.is_writing = false;
                        self.forget(id);
                    }
                }
            }
            Frame::Reset { stream, .. } => {
                if let Some(id) = self.by_wire.get(stream).copied() {
                    if let Some(it) = self.by_id.get_mut(&id) {
                        it.is_resetting = false;
                    }
                    self.forget(id);
                }
            }
            _ => {}
        }
    }

    /// A frame of ours was lost.
    pub(super) fn lost(&mut self, frame: &Frame) {
        let Frame::Stream {
            stream,
            offset,
            data,
            fin,
        } = frame
        else {
            self.control.push_back(frame.clone());
            return;
        };
        let Some(id) = self.by_wire.get(stream).copied() else {
            return;
        };
        if let Some(outgoing) = self.by_id.get_mut(&id).and_then(|it| it.outgoing.as_mut()) {
            outgoing.lost(*offset, &data.0, *fin);
            self.make_sendable(id);
        }
    }

    /// Gives waiting bytes to the transport as far as there is room.
    pub(super) fn hand_over_blocked(&mut self) {
        while self.room() > 0
            && let Some((_, id)) = self.blocked.pop_first()
        {
            self.hand_over(id);
        }
    }

    /// A frame with bytes of the most urgent stream, at most `room` of them.
    pub(super) fn pack(&mut self, room: usize) -> Option<Frame> {
        while let Some((_, _, id)) = self.sendable.pop_first() {
            let Some(stream) = self.by_id.get_mut(&id) else {
                continue;
            };
            stream.turn = None;
            let (Some(wire), Some(outgoing)) = (stream.wire, stream.outgoing.as_mut()) else {
                continue;
            };
            if !outgoing.is_sendable() {
                continue;
            }
            let frame = outgoing.pack(wire, room);
            self.make_sendable(id);
            return Some(frame);
        }
        None
    }

    fn credit(&mut self, direction: Direction) -> &mut Credit {
        let [bidi, uni] = &mut self.credit;
        match direction {
            Direction::Bidirectional => bidi,
            Direction::Unidirectional => uni,
        }
    }

    fn room(&self) -> u64 {
        let allowed = self.data_allowed.saturating_sub(self.data_used);
        allowed.min(self.send_window.saturating_sub(self.held))
    }

    pub(super) fn open_waiting(&mut self) {
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            while let Some(id) = self.credit(direction).waiting.front().copied() {
                let credit = self.credit(direction);
                if credit.next_wire >= credit.allowed {
                    break;
                }
                credit.waiting.pop_front();
                let index = credit.next_wire;
                let wire = WireId::new(self.side, direction, index);
                // One that was reset while it waited never exists.
                let Some(stream) = self.by_id.get_mut(&id) else {
                    continue;
                };
                stream.wire = Some(wire);
                if direction == Direction::Bidirectional {
                    stream.incoming = Some(Incoming::new(self.own.stream_window));
                }
                if let Some(outgoing) = &mut stream.outgoing {
                    outgoing.set_credit(self.peer_stream_window);
                    if self.is_dense {
                        outgoing.announce();
                    }
                }
                self.by_wire.insert(wire, id);
                self.credit(direction).next_wire = index + 1;
                self.hand_over(id);
            }
        }
    }

    fn hand_over(&mut self, id: StreamId) {
        let room = self.room();
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let (Some(_), Some(outgoing)) = (stream.wire, stream.outgoing.as_mut()) else {
            return;
        };
        let before = outgoing.unsent();
        let (moved, notify, blocked) = outgoing.hand_over(room);
        let after = outgoing.unsent();
        self.unsent = self.unsent.saturating_sub(before.saturating_sub(after));
        self.held = self.held.saturating_add(moved);
        self.data_used = self.data_used.saturating_add(moved);
        let key = (Reverse(stream.priority), id);
        if blocked == Blocked::Connection {
            self.blocked.insert(key);
        } else {
            self.blocked.remove(&key);
        }
        if notify {
            self.told.push_back((id, StreamEvent::Writable));
        }
        self.make_sendable(id);
    }

    fn make_sendable(&mut self, id: StreamId) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        if stream.turn.is_none() && stream.outgoing.as_ref().is_some_and(Outgoing::is_sendable) {
            let turn = self.turns;
            self.turns += 1;
            stream.turn = Some(turn);
            self.sendable.insert((Reverse(stream.priority), turn, id));
        }
    }

    /// Ends the sending direction without its end.
    fn abandon(&mut self, id: StreamId, code: u64) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        stream.is_writing = false;
        if let Some(turn) = stream.turn.take() {
            self.sendable.remove(&(Reverse(stream.priority), turn, id));
        }
        self.blocked.remove(&(Reverse(stream.priority), id));
        if let Some(outgoing) = stream.outgoing.take() {
            self.unsent = self.unsent.saturating_sub(outgoing.unsent());
            self.held = self.held.saturating_sub(outgoing.held());
            if let Some(wire) = stream.wire {
                stream.is_resetting = true;
                let size = outgoing.handed();
                self.control.push_back(Frame::Reset {
                    stream: wire,
                    code,
                    size,
                });
            } else {
                stream.is_reading = false;
            }
        }
        self.hand_over_blocked();
        self.forget(id);
    }

    fn was_stopped(&mut self, id: StreamId, code: u64) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let is_sending = stream.outgoing.is_some() || stream.is_resetting;
        if !is_sending || std::mem::replace(&mut stream.is_peer_stopped, true) {
            return;
        }
        let is_known = stream.is_writing || stream.is_reading;
        self.abandon(id, code);
        if is_known && code != GONE {
            self.told.push_back((id, StreamEvent::Stopped(code)));
        }
    }

    fn received(
        &mut self,
        id: StreamId,
        offset: u64,
        data: Bytes,
        fin: bool,
    ) -> Result<(), Violation> {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return Ok(());
        };
        let Some(incoming) = stream.incoming.as_mut() else {
            return Ok(());
        };
        let used = incoming
            .insert(offset, data, fin)
            .ok_or(Violation("more bytes than the stream's credit"))?;
        self.received = self.received.saturating_add(used);
        if self.received > self.data_told {
            return Err(Violation("more bytes than the connection's credit"));
        }
        if incoming.is_stopped() {
            self.read = self.read.saturating_add(used);
            if fin {
                stream.incoming = None;
            }
            self.tell_credit();
            self.forget(id);
        } else {
            self.deliver(id);
        }
        Ok(())
    }

    fn was_reset(&mut self, id: StreamId, code: u64, size: u64) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let Some(incoming) = stream.incoming.as_mut() else {
            return;
        };
        let (used, unread) = incoming.reset(code, size);
        self.received = self.received.saturating_add(used);
        self.read = self.read.saturating_add(unread);
        if incoming.is_stopped() {
            stream.incoming = None;
            self.forget(id);
        } else {
            self.deliver(id);
        }
        self.tell_credit();
    }

    /// Tells the application what is in order.
    fn deliver(&mut self, id: StreamId) {
        if self.is_paused {
            self.unread.insert(id);
            return;
        }
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let Some(incoming) = stream.incoming.as_mut() else {
            return;
        };
        let mut is_over = false;
        while let Some(next) = incoming.next() {
            let event = match next {
                Next::Data(data) => {
                    self.read = self.read.saturating_add(super::packet::len64(&data));
                    StreamEvent::Data(data)
                }
                Next::Finished => StreamEvent::Finished,
                Next::Reset(code) => StreamEvent::Reset(code),
            };
            is_over = !matches!(event, StreamEvent::Data(_));
            self.told.push_back((id, event));
            if is_over {
                break;
            }
        }
        if is_over {
            stream.incoming = None;
            stream.is_reading = false;
        } else if let (Some(wire), Some(max)) =
            (stream.wire, incoming.more_credit(self.own.stream_window))
        {
            self.control
                .push_back(Frame::MaxStreamData { stream: wire, max });
        }
        self.tell_credit();
        self.forget(id);
    }

    fn tell_credit(&mut self) {
        let credit = self.read.saturating_add(self.own.window);
        if credit.saturating_sub(self.data_told) >= (self.own.window / 8).max(1) {
            self.data_told = credit;
            self.control.push_back(Frame::MaxData(credit));
        }
    }

    /// The stream that a frame of its opener or ours is about; registers a new one of the peer.
    fn seen(&mut self, wire: WireId) -> Result<Option<StreamId>, Violation> {
        if let Some(id) = self.by_wire.get(&wire) {
            return Ok(Some(*id));
        }
        let (direction, index) = (wire.direction(), wire.index());
        if wire.opener() == self.side {
            let is_unknown = index >= self.credit(direction).next_wire;
            return if is_unknown {
                Err(Violation("a stream that this end has not opened"))
            } else {
                Ok(None)
            };
        }
        if self.credit(direction).is_new(index)? {
            return Ok(Some(self.add_peer(wire)));
        }
        Ok(None)
    }

    fn receiving(&mut self, wire: WireId) -> Result<Option<StreamId>, Violation> {
        if wire.opener() == self.side && wire.direction() == Direction::Unidirectional {
            return Err(Violation("bytes on a stream that only this end sends on"));
        }
        self.seen(wire)
    }

    fn add_peer(&mut self, wire: WireId) -> StreamId {
        let direction = wire.direction();
        let mut index = wire.index();
        if self.is_dense {
            let credit = self.credit(direction);
            index = credit.next_peer;
            credit.next_peer += 1;
        }
        let id = StreamId::new(Origin::Peer, direction, index);
        let is_bidi = direction == Direction::Bidirectional;
        let mut outgoing = Outgoing::default();
        outgoing.set_credit(self.peer_stream_window);
        let stream = Stream {
            wire: Some(wire),
            priority: ANSWER_PRIORITY,
            turn: None,
            outgoing: is_bidi.then_some(outgoing),
            is_resetting: false,
            is_peer_stopped: false,
            is_writing: is_bidi,
            incoming: Some(Incoming::new(self.own.stream_window)),
            is_reading: true,
        };
        self.by_id.insert(id, stream);
        self.by_wire.insert(wire, id);
        id
    }

    fn forget(&mut self, id: StreamId) {
        let Some(stream) = self.by_id.get(&id) else {
            return;
        };
        let is_over_here = !stream.is_writing && !stream.is_reading;
        let is_over =
            stream.outgoing.is_none() && !stream.is_resetting && stream.incoming.is_none();
        if !is_over_here || !is_over {
            return;
        }
        if let Some(wire) = stream.wire {
            self.by_wire.remove(&wire);
        }
        self.by_id.remove(&id);
        self.unread.remove(&id);
        if id.origin() == Origin::Peer {
            let credit = self.credit(id.direction());
            credit.open = credit.open.saturating_sub(1);
            self.grant(id.direction());
        }
    }

    fn grant(&mut self, direction: Direction) {
        if let Some(max) = self.credit(direction).grant() {
            self.control.push_back(Frame::MaxStreams(direction, max));
        }
    }
}
