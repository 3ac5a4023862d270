//! A transport in memory: machines joined by sessions whose streams and datagrams are values.
//!
//! No QUIC, no time of its own: the test says when time passes and which links are stalled. Bytes are
//! cut at places drawn from a seed, so that every run also proves that cutting changes nothing.

use bytes::{BufMut, Bytes, BytesMut};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Closed, Input, Opened, Origin, Output, SessionId, Side, StreamEvent,
    StreamId, Target,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// A machine with its events.
pub(crate) struct Node<A: App> {
    pub(crate) app: A,
    pub(crate) events: Vec<A::Event>,
}

trait AnyNode {
    fn handle(&self, now: Instant, input: Input);
    fn handle_timeout(&self, now: Instant);
    fn next_timeout(&self) -> Option<Instant>;
    fn outputs(&self) -> Vec<Output>;
}

impl<A: App> AnyNode for Rc<RefCell<Node<A>>> {
    fn handle(&self, now: Instant, input: Input) {
        self.borrow_mut().app.handle(now, input);
    }
    fn handle_timeout(&self, now: Instant) {
        self.borrow_mut().app.handle_timeout(now);
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.borrow().app.next_timeout()
    }
    fn outputs(&self) -> Vec<Output> {
        let mut node = self.borrow_mut();
        let mut outputs = Vec::new();
        while let Some(action) = node.app.poll() {
            match action {
                Action::Transport(output) => outputs.push(output),
                Action::Event(event) => node.events.push(event),
            }
        }
        outputs
    }
}

/// A node's place in the net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(usize);

type End = (NodeId, SessionId);

/// The net. See the module's description.
pub(crate) struct Net {
    pub(crate) now: Instant,
    nodes: Vec<Box<dyn AnyNode>>,
    peers: BTreeMap<End, End>,
    next_session: u64,
    /// Ends that take nothing from their peer for now.
    stalled: BTreeSet<End>,
    in_flight: BTreeMap<End, VecDeque<Flight>>,
    /// How many more pieces an end takes, where that is bounded.
    rations: BTreeMap<End, usize>,
    /// Streams that an end wants no more of: nothing of them is delivered to it.
    stopped: BTreeSet<(End, StreamId)>,
    /// Ends without another end: the test feeds them. How this side closed them, once it did.
    loose: BTreeMap<End, Option<(u64, String)>>,
    random: u64,
    /// Changed priorities, in order.
    pub(crate) priorities: Vec<(SessionId, StreamId, i32)>,
    /// Streams with the priority that they were opened with, in order.
    pub(crate) opened: Vec<(SessionId, StreamId, i32)>,
    /// Streams that were reset, with the code.
    pub(crate) resets: Vec<(SessionId, StreamId, u64)>,
}

enum Flight {
    Stream(StreamId, StreamEvent, Option<StreamId>),
    Datagram(Bytes, Option<Instant>),
    Close(u64, String),
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: Vec::new(),
            peers: BTreeMap::new(),
            next_session: 0,
            stalled: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            rations: BTreeMap::new(),
            stopped: BTreeSet::new(),
            loose: BTreeMap::new(),
            random: seed | 1,
            priorities: Vec::new(),
            opened: Vec::new(),
            resets: Vec::new(),
        }
    }

    pub(crate) fn add<A: App + 'static>(&mut self, app: A) -> (NodeId, Rc<RefCell<Node<A>>>)
    where
        A::Event: 'static,
    {
        let node = Rc::new(RefCell::new(Node {
            app,
            events: Vec::new(),
        }));
        self.nodes.push(Box::new(Rc::clone(&node)));
        (NodeId(self.nodes.len() - 1), node)
    }

    /// Connects a client to a server; returns the session's names at both ends.
    pub(crate) fn connect(
        &mut self,
        client: NodeId,
        server: NodeId,
        protocol: &str,
        path: &str,
    ) -> (SessionId, SessionId) {
        self.connect_named(client, server, protocol, path, |_| {})
    }

    /// The same; `name` is told the client's name of the session before it opens.
    pub(crate) fn connect_named(
        &mut self,
        client: NodeId,
        server: NodeId,
        protocol: &str,
        path: &str,
        name: impl FnOnce(SessionId),
    ) -> (SessionId, SessionId) {
        let ends = [client, server].map(|node| {
            self.next_session += 1;
            (node, SessionId(self.next_session))
        });
        name(ends[0].1);
        let target = Target {
            authority: "relay.test".to_owned(),
            path: path.to_owned(),
        };
        for (index, side) in [Side::Client, Side::Server].into_iter().enumerate() {
            let (node, session) = ends[index];
            self.peers.insert(ends[index], ends[1 - index]);
            let opened = Opened {
                side,
                carrier: Carrier::Quic,
                protocol: protocol.to_owned(),
                target: (side == Side::Client).then(|| target.clone()),
                remote: "192.0.2.1:4443".parse().unwrap(),
            };
            self.input(node, Input::Opened { session, opened });
        }
        self.settle();
        (ends[0].1, ends[1].1)
    }

    /// A session whose other end is the test: its inputs are fed by [`Net::feed`].
    pub(crate) fn open_loose(&mut self, node: NodeId) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        self.loose.insert((node, session), None);
        session
    }

    /// Feeds an input to a machine.
    pub(crate) fn feed(&mut self, node: NodeId, input: Input) {
        self.input(node, input);
        self.settle();
    }

    /// Forgets a loose session. Returns how its machine closed it, if it did.
    pub(crate) fn end_loose(&mut self, node: NodeId, session: SessionId) -> Option<(u64, String)> {
        let closed = self.loose.remove(&(node, session)).flatten();
        if closed.is_none() {
            let reason = "cut".to_owned();
            let closed = Closed::Transport { reason };
            self.feed(node, Input::Closed { session, closed });
        }
        closed
    }

    fn input(&mut self, node: NodeId, input: Input) {
        self.nodes[node.0].handle(self.now, input);
    }

    /// Cuts a session without a word to either end's application.
    pub(crate) fn cut(&mut self, node: NodeId, session: SessionId) {
        let end = (node, session);
        let Some(peer) = self.peers.remove(&end) else {
            return;
        };
        self.peers.remove(&peer);
        for (node, session) in [end, peer] {
            self.in_flight.remove(&(node, session));
            let closed = Closed::Transport {
                reason: "cut".to_owned(),
            };
            self.input(node, Input::Closed { session, closed });
        }
        self.settle();
    }

    /// Cuts every session of a machine, as its death does.
    pub(crate) fn cut_all(&mut self, node: NodeId) {
        let of_node: Vec<SessionId> = self
            .peers
            .keys()
            .filter(|(of, _)| *of == node)
            .map(|(_, session)| *session)
            .collect();
        for session in of_node {
            self.cut(node, session);
        }
    }

    /// Makes an end take nothing, or take again.
    pub(crate) fn stall(&mut self, node: NodeId, session: SessionId, stalled: bool) {
        if stalled {
            self.stalled.insert((node, session));
        } else {
            self.stalled.remove(&(node, session));
            self.settle();
        }
    }

    /// Lets the other end of a session take so many pieces more, or all again.
    pub(crate) fn ration(&mut self, node: NodeId, session: SessionId, pieces: Option<usize>) {
        let end = self.peers[&(node, session)];
        if let Some(pieces) = pieces {
            self.rations.insert(end, pieces);
        } else {
            self.rations.remove(&end);
            self.settle();
        }
    }

    /// Bytes that an end has been sent and has not taken.
    pub(crate) fn waiting_bytes(&self, node: NodeId, session: SessionId) -> usize {
        let waiting = self.in_flight.get(&(node, session)).into_iter().flatten();
        waiting
            .map(|flight| match flight {
                Flight::Stream(_, StreamEvent::Data(data), _) | Flight::Datagram(data, _) => {
                    data.len()
                }
                Flight::Stream(..) | Flight::Close(..) => 0,
            })
            .sum()
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        self.settle();
        loop {
            let next = self
                .nodes
                .iter()
                .filter_map(|node| node.next_timeout())
                .min();
            match next.filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    let before = self
                        .nodes
                        .iter()
                        .map(|node| node.next_timeout())
                        .collect::<Vec<_>>();
                    for node in &self.nodes {
                        node.handle_timeout(self.now);
                    }
                    self.settle();
                    let after = self
                        .nodes
                        .iter()
                        .map(|node| node.next_timeout())
                        .collect::<Vec<_>>();
                    assert!(
                        before != after || after.iter().flatten().all(|at| *at > self.now),
                        "a deadline that has come stays"
                    );
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// Delivers until nothing moves.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..self.nodes.len() {
                for output in self.nodes[index].outputs() {
                    moved = true;
                    self.take(NodeId(index), output);
                }
            }
            let ends: Vec<End> = self.in_flight.keys().copied().collect();
            for end in ends {
                moved |= self.deliver(end);
            }
            if !moved {
                return;
            }
        }
    }

    fn take(&mut self, node: NodeId, output: Output) {
        let (session, flight) = match output {
            Output::SetPriority {
                session,
                stream,
                priority,
            } => {
                self.priorities.push((session, stream, priority));
                return;
            }
            Output::Open {
                session,
                stream,
                priority,
            } => {
                self.opened.push((session, stream, priority));
                return;
            }
            Output::Allow { .. } => return,
            Output::Write { .. } => return self.take_write(node, output),
            Output::Close {
                session,
                code,
                reason,
            } => return self.take_close(node, session, code, reason),
            Output::Reset {
                session,
                stream,
                code,
            } => {
                self.resets.push((session, stream, code));
                let to = flip(stream);
                // What was not delivered yet is lost, as on a congested path.
                if let Some(peer) = self.peers.get(&(node, session))
                    && let Some(queue) = self.in_flight.get_mut(peer)
                {
                    queue.retain(|flight| !matches!(flight, Flight::Stream(of, ..) if *of == to));
                }
                let event = StreamEvent::Reset(code);
                (session, Flight::Stream(to, event, None))
            }
            Output::Stop {
                session,
                stream,
                code,
            } => {
                self.stopped.insert(((node, session), stream));
                let event = StreamEvent::Stopped(code);
                (session, Flight::Stream(flip(stream), event, None))
            }
            Output::Datagram {
                session,
                data,
                until,
            } => (session, Flight::Datagram(data, until)),
        };
        if let Some(peer) = self.peers.get(&(node, session)).copied() {
            self.fly(peer, flight);
        }
    }

    fn take_write(&mut self, node: NodeId, output: Output) {
        let Output::Write {
            session,
            stream,
            head,
            body,
            fin,
            notify,
        } = output
        else {
            return;
        };
        let Some(peer) = self.peers.get(&(node, session)).copied() else {
            if notify && self.loose.contains_key(&(node, session)) {
                let event = StreamEvent::Writable;
                self.input(
                    node,
                    Input::Stream {
                        session,
                        stream,
                        event,
                    },
                );
            }
            return;
        };
        let mut bytes = BytesMut::new();
        bytes.put_slice(&head);
        body.pieces()
            .iter()
            .for_each(|piece| bytes.put_slice(piece));
        let mut rest = bytes.freeze();
        let to = flip(stream);
        while !rest.is_empty() {
            let cut = 1 + self.draw(rest.len().min(3000));
            let data = rest.split_to(cut.min(rest.len()));
            self.fly(peer, Flight::Stream(to, StreamEvent::Data(data), None));
        }
        if fin {
            self.fly(peer, Flight::Stream(to, StreamEvent::Finished, None));
        }
        if notify {
            // An empty piece that carries the answer: it is taken when the rest was.
            let event = StreamEvent::Data(Bytes::new());
            self.fly(peer, Flight::Stream(to, event, Some(stream)));
        }
    }

    fn take_close(&mut self, node: NodeId, session: SessionId, code: u64, reason: String) {
        let end = (node, session);
        if let Some(closed) = self.loose.get_mut(&end) {
            *closed = Some((code, reason.clone()));
        } else {
            let Some(peer) = self.peers.remove(&end) else {
                return;
            };
            self.in_flight.remove(&end);
            self.fly(peer, Flight::Close(code, reason.clone()));
        }
        let closed = Closed::Application {
            by: Origin::Local,
            code,
            reason,
        };
        self.input(node, Input::Closed { session, closed });
    }

    fn fly(&mut self, to: End, flight: Flight) {
        self.in_flight.entry(to).or_default().push_back(flight);
    }

    fn deliver(&mut self, end: End) -> bool {
        if self.stalled.contains(&end) {
            return false;
        }
        let Some(mut flights) = self.in_flight.remove(&end) else {
            return false;
        };
        if let Some(left) = self.rations.get_mut(&end) {
            let taken = flights.len().min(*left);
            *left -= taken;
            let rest = flights.split_off(taken);
            if !rest.is_empty() {
                self.in_flight.insert(end, rest);
            }
        }
        let moved = !flights.is_empty();
        let (node, session) = end;
        for flight in flights {
            // A host does its machine's work before it hands it anything more.
            for output in self.nodes[node.0].outputs() {
                self.take(node, output);
            }
            if let Flight::Stream(stream, event, None) = &flight
                && !matches!(event, StreamEvent::Stopped(_))
                && self.stopped.contains(&(end, *stream))
            {
                continue;
            }
            match flight {
                Flight::Stream(stream, event, written) => {
                    if let Some(written) = written {
                        if let Some((peer, of)) = self.peers.get(&end).copied() {
                            let event = StreamEvent::Writable;
                            let input = Input::Stream {
                                session: of,
                                stream: written,
                                event,
                            };
                            self.input(peer, input);
                        }
                        continue;
                    }
                    self.input(
                        node,
                        Input::Stream {
                            session,
                            stream,
                            event,
                        },
                    );
                }
                Flight::Datagram(_, until) if until.is_some_and(|until| self.now > until) => {}
                Flight::Datagram(data, _) => {
                    self.input(node, Input::Datagram { session, data });
                }
                Flight::Close(code, reason) => {
                    self.peers.remove(&end);
                    let closed = Closed::Application {
                        by: Origin::Peer,
                        code,
                        reason,
                    };
                    self.input(node, Input::Closed { session, closed });
                }
            }
        }
        moved
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % (below.max(1) as u64)).unwrap()
    }
}

fn flip(stream: StreamId) -> StreamId {
    let origin = match stream.origin() {
        Origin::Local => Origin::Peer,
        Origin::Peer => Origin::Local,
    };
    StreamId::new(origin, stream.direction(), stream.index())
}
