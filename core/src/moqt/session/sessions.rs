//! All MoQT sessions of one machine: routes the transport's inputs, keeps the deadlines in order.
//!
//! Relay, publisher and subscriber share it: they take [`Event`]s with the session's name from
//! [`Sessions::poll_event`], command a session by [`Sessions::session_mut`], and hand the transport work
//! on from [`Sessions::poll_output`].
//!
//! Only sessions that something happened to are looked at; the deadline of the others stands in an
//! ordered set. Source: ARCHITECTURE, "the one shape of a machine".

use super::record::Record;
use super::{Event, Limits, Session, Setup, Tally};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::draft::Draft;
use crate::moqt::error::SessionCode;
use crate::moqt::grease;
use crate::moqt::message::SetupOption;
use crate::time::Instant;
use crate::transport::{Action, Carrier, Input, Opened, Output, SessionId, Side};
use std::collections::VecDeque;

/// Records of event logs that may wait for the owner; what comes beyond them is not kept.
const RECORDS_MAX: usize = 65_536;

/// What this end tells each peer, and what it allows it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Bounds of each session.
    pub limits: Limits,
    /// Sessions at a time; the next one is closed with EXCESSIVE_LOAD's session counterpart.
    pub sessions_max: usize,
    /// Name and version for MOQT_IMPLEMENTATION.
    pub implementation: Option<String>,
    /// Most ranges in the range filters of one request, for MAX_FILTER_RANGES; 0 is no filters.
    pub max_filter_ranges: u64,
    /// Options of extensions, for every peer; theirs are in [`super::Ready`].
    pub options: Vec<SetupOption>,
    /// Seed of the options that mean nothing; `None` sends none.
    pub grease: Option<u64>,
}

/// The sessions of one machine.
#[derive(Debug)]
pub struct Sessions {
    config: Config,
    by_id: BTreeMap<SessionId, Session>,
    /// What sessions that are about to open shall say beyond what all say.
    prepared: BTreeMap<SessionId, Setup>,
    /// Sessions whose queues may hold something; each once.
    touched: VecDeque<SessionId>,
    deadlines: BTreeSet<(Instant, SessionId)>,
    outputs: VecDeque<Output>,
    events: VecDeque<(SessionId, Event)>,
    now: Instant,
    tally: Tally,
    /// Whether sessions that open from now on keep an event log.
    logs_all: bool,
    /// What the event logs hold, with the session; bounded by the sessions' own bounds per turn.
    records: VecDeque<(SessionId, Record)>,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            by_id: BTreeMap::new(),
            prepared: BTreeMap::new(),
            touched: VecDeque::new(),
            deadlines: BTreeSet::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            now: Instant::ZERO,
            tally: Tally::default(),
            logs_all: false,
            records: VecDeque::new(),
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The names of all sessions.
    pub fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.by_id.keys().copied()
    }

    /// A session, to look at.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// A session, to command.
    pub fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let session = self.by_id.get_mut(&id)?;
        session.watch.now = self.now;
        if !std::mem::replace(&mut session.is_touched, true) {
            self.touched.push_back(id);
        }
        Some(session)
    }

    /// What the sessions have done so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Switches the event log of all sessions on or off, those that open later included.
    pub fn log_all(&mut self, is_on: bool) {
        self.logs_all = is_on;
        let ids: Vec<SessionId> = self.ids().collect();
        for id in ids {
            self.log(id, is_on);
        }
    }

    /// Switches one session's event log on or off; false when there is no such session. A log that
    /// begins late says so, and does not tell of what was before.
    pub fn log(&mut self, id: SessionId, is_on: bool) -> bool {
        let Some(session) = self.session_mut(id) else {
            return false;
        };
        let is_new = is_on && !session.watch.is_logging();
        session.watch.log(is_on);
        if is_new {
            session.note_log_begins();
        }
        true
    }

    /// The next record of an event log.
    pub fn poll_record(&mut self) -> Option<(SessionId, Record)> {
        self.records.pop_front()
    }

    /// Tells what the SETUP of a session shall hold beyond what all say; before it opens.
    pub fn prepare(&mut self, id: SessionId, setup: Setup) {
        self.prepared.insert(id, setup);
    }

    /// Ends a session.
    pub fn close(&mut self, id: SessionId, code: SessionCode, reason: &str) {
        if let Some(session) = self.session_mut(id) {
            session.close(code, reason);
        }
    }

    /// What the world did.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        self.tally.input(&input);
        match input {
            Input::Opened { session, opened } => self.open(now, session, &opened),
            Input::Stream {
                session,
                stream,
                event,
            } => {
                if let Some(session) = self.session_mut(session) {
                    session.note_stream_event(stream, &event);
                    session.handle_stream(now, stream, event);
                }
            }
            Input::Datagram { session, data } => {
                if let Some(session) = self.session_mut(session) {
                    session.handle_datagram(now, data);
                }
            }
            Input::Closed { session, closed } => match self.closing(session) {
                Some(known) => known.handle_closed(closed),
                None => self.events.push_back((session, Event::Closed(closed))),
            },
        }
        self.drain();
    }

    fn closing(&mut self, id: SessionId) -> Option<&mut Session> {
        self.prepared.remove(&id);
        self.session_mut(id)
    }

    fn open(&mut self, now: Instant, id: SessionId, opened: &Opened) {
        let Some(draft) = Draft::from_protocol(&opened.protocol) else {
            let code = SessionCode::INTERNAL_ERROR.0;
            let reason = "unknown protocol version".to_owned();
            self.outputs.push_back(Output::Close {
                session: id,
                code,
                reason,
            });
            return;
        };
        let mut setup = Setup {
            implementation: self.config.implementation.clone(),
            max_filter_ranges: Some(self.config.max_filter_ranges).filter(|max| *max > 0),
            ..self.prepared.remove(&id).unwrap_or_default()
        };
        setup.options.extend_from_slice(&self.config.options);
        if let Some(seed) = self.config.grease {
            // Each session draws its own.
            setup.options.extend(grease::setup_options(seed ^ id.0));
        }
        if opened.side == Side::Client
            && opened.carrier == Carrier::Quic
            && let Some(target) = &opened.target
        {
            setup.path = Some(target.path.clone());
            setup.authority = Some(target.authority.clone());
        }
        self.tally.open(draft, opened);
        let said = self.logs_all.then(|| setup.clone());
        let mut session = Session::new(now, id, draft, opened, setup, self.config.limits);
        session.watch.now = now;
        if let Some(setup) = said {
            session.watch.log(true);
            session.note_opened(setup);
        }
        session.is_touched = true;
        self.by_id.insert(id, session);
        self.touched.push_back(id);
        if self.by_id.len() > self.config.sessions_max {
            self.close(
                id,
                SessionCode::INTERNAL_ERROR,
                "too many sessions (sessions_max)",
            );
        }
    }

    /// The deadline that `next_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(session) = self.session_mut(id) {
                session.armed = None;
                session.handle_timeout(now);
            }
            self.drain();
        }
    }

    /// When `handle_timeout` is wanted.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// News of a session, in order per session.
    pub fn poll_event(&mut self) -> Option<(SessionId, Event)> {
        self.drain();
        self.events.pop_front()
    }

    /// Work for the transport.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.drain();
        self.outputs.pop_front()
    }

    fn drain(&mut self) {
        while let Some(id) = self.touched.pop_front() {
            let Some(session) = self.by_id.get_mut(&id) else {
                continue;
            };
            session.is_touched = false;
            let mut is_over = false;
            while let Some(action) = session.poll() {
                match action {
                    Action::Transport(output) => {
                        self.tally.output(&output);
                        session.note_output(&output);
                        self.outputs.push_back(output);
                    }
                    Action::Event(event) => {
                        session.note_event(&event);
                        if let Event::Closed(closed) = &event {
                            is_over = true;
                            let (draft, carrier) = (session.draft, session.carrier);
                            let asked = session.asked_to_leave();
                            self.tally.close(draft, carrier, closed, &asked);
                        }
                        self.events.push_back((id, event));
                    }
                }
            }
            for note in session.watch.notes.drain(..) {
                self.tally.message(&note);
            }
            if session.watch.has_records() {
                let room = RECORDS_MAX.saturating_sub(self.records.len());
                let records = session.watch.take_records().into_iter().take(room);
                self.records.extend(records.map(|record| (id, record)));
            }
            let deadline = session.next_timeout().filter(|_| !is_over);
            let before = std::mem::replace(&mut session.armed, deadline);
            if before != deadline {
                if let Some(before) = before {
                    self.deadlines.remove(&(before, id));
                }
                if let Some(deadline) = deadline {
                    self.deadlines.insert((deadline, id));
                }
            }
            if is_over {
                self.by_id.remove(&id);
            }
        }
    }
}
