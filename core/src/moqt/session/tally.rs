//! [`Tally`]: what the sessions of a machine have done, for metrics.
//!
//! Counted where sessions meet the transport, so that nothing is missed. Per object it costs two
//! additions; everything that is counted by a code or a kind happens per message, stream end or
//! session.
//!
//! Limits: codes that no specification names are counted as one ([`OTHER`]), so that a peer cannot
//! make the tables grow.

use super::watch::Note;
use crate::map::BTreeMap;
use crate::moqt::draft::Draft;
use crate::moqt::error::{PublishDoneCode, RequestCode, SessionCode, StreamCode};
use crate::moqt::message::{MessageKind, RequestKind};
use crate::transport::{Carrier, Closed, Input, Opened, Origin, Output, StreamEvent};

/// All codes without a name.
pub const OTHER: u64 = u64::MAX;

/// How a session was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// By an application close of that end, with that code.
    Closed(Origin, u64),
    /// By the transport: time-out, reset, refused handshake.
    Lost,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was asked.
    Asked,
    /// It was granted.
    Granted,
    /// It was refused with that code.
    Refused(u64),
}

/// See the module's description. All counters only grow, but for `open`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions open, by draft and whether over WebTransport.
    pub open: BTreeMap<(Draft, bool), u64>,
    /// Sessions opened, likewise.
    pub opened: BTreeMap<(Draft, bool), u64>,
    /// Sessions ended.
    pub ended: BTreeMap<Ended, u64>,
    /// Sessions that ended after a GOAWAY, by the end that was asked to leave and then closed it.
    pub moved: BTreeMap<Origin, u64>,
    /// Requests by who asked, kind and what became of them.
    pub requests: BTreeMap<(Origin, RequestKind, Outcome), u64>,
    /// Control messages by who sent them.
    pub messages: BTreeMap<(Origin, MessageKind), u64>,
    /// PUBLISH_DONE by who sent it and code.
    pub publish_done: BTreeMap<(Origin, u64), u64>,
    /// Streams reset by who reset them and code.
    pub resets: BTreeMap<(Origin, u64), u64>,
    /// Streams that an end asked to stop, by who asked and code.
    pub stops: BTreeMap<(Origin, u64), u64>,
    /// Streams that this end opened.
    pub streams_opened: u64,
    /// Stream bytes handed to the transport, framing included.
    pub stream_bytes_out: u64,
    /// Stream bytes from the transport.
    pub stream_bytes_in: u64,
    /// Datagrams handed to the transport.
    pub datagrams_out: u64,
    /// Datagrams from the transport.
    pub datagrams_in: u64,
}

impl Tally {
    pub(super) fn open(&mut self, draft: Draft, opened: &Opened) {
        let kind = (draft, opened.carrier == Carrier::WebTransport);
        add(&mut self.open, kind);
        add(&mut self.opened, kind);
    }

    /// `asked` are the ends that were asked to leave.
    pub(super) fn close(
        &mut self,
        draft: Draft,
        carrier: Carrier,
        closed: &Closed,
        asked: &[Origin],
    ) {
        if let Some(open) = self
            .open
            .get_mut(&(draft, carrier == Carrier::WebTransport))
        {
            *open = open.saturating_sub(1);
        }
        let ended = match closed {
            Closed::Application { by, code, .. } => {
                if asked.contains(by) {
                    add(&mut self.moved, *by);
                }
                Ended::Closed(*by, known(*code, SessionCode(*code).name()))
            }
            Closed::Transport { .. } => Ended::Lost,
        };
        add(&mut self.ended, ended);
    }

    pub(super) fn input(&mut self, input: &Input) {
        match input {
            Input::Stream { event, .. } => match event {
                StreamEvent::Data(data) => self.stream_bytes_in += data.len() as u64,
                StreamEvent::Reset(code) => add(&mut self.resets, by(Origin::Peer, *code)),
                StreamEvent::Stopped(code) => add(&mut self.stops, by(Origin::Peer, *code)),
                StreamEvent::Finished | StreamEvent::Writable => {}
            },
            Input::Datagram { .. } => self.datagrams_in += 1,
            Input::Opened { .. } | Input::Closed { .. } => {}
        }
    }

    pub(super) fn output(&mut self, output: &Output) {
        match output {
            Output::Write { head, body, .. } => {
                self.stream_bytes_out += (head.len() + body.len()) as u64;
            }
            Output::Open { .. } => self.streams_opened += 1,
            Output::Reset { code, .. } => add(&mut self.resets, by(Origin::Local, *code)),
            Output::Stop { code, .. } => add(&mut self.stops, by(Origin::Local, *code)),
            Output::Datagram { .. } => self.datagrams_out += 1,
            Output::SetPriority { .. } | Output::Allow { .. } | Output::Close { .. } => {}
        }
    }

    /// A control message of one end.
    pub(super) fn message(&mut self, note: &Note) {
        let Note {
            from,
            kind,
            request,
            code,
        } = *note;
        add(&mut self.messages, (from, kind));
        if let Some(opens) = kind.opens() {
            self.request(from, opens, Outcome::Asked);
        }
        match kind {
            MessageKind::RequestUpdate => self.request(from, RequestKind::Update, Outcome::Asked),
            MessageKind::PublishDone => {
                let code = code.unwrap_or(OTHER);
                let code = known(code, PublishDoneCode(code).name());
                add(&mut self.publish_done, (from, code));
            }
            _ => {}
        }
        let Some((asked_by, request)) = request.filter(|(asked_by, _)| *asked_by != from) else {
            return;
        };
        match kind {
            MessageKind::RequestOk | MessageKind::SubscribeOk | MessageKind::FetchOk => {
                self.request(asked_by, request, Outcome::Granted);
            }
            MessageKind::RequestError => {
                let code = code.unwrap_or(OTHER);
                let code = known(code, RequestCode(code).name());
                self.request(asked_by, request, Outcome::Refused(code));
            }
            _ => {}
        }
    }

    fn request(&mut self, asked_by: Origin, kind: RequestKind, outcome: Outcome) {
        add(&mut self.requests, (asked_by, kind, outcome));
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    *counts.entry(key).or_insert(0) += 1;
}

fn by(origin: Origin, code: u64) -> (Origin, u64) {
    (origin, known(code, StreamCode(code).name()))
}

fn known(code: u64, name: Option<&'static str>) -> u64 {
    name.map_or(OTHER, |_| code)
}
