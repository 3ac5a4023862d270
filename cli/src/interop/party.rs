//! [`Party`]: one MoQT session that a case drives step by step, and waits on.
//!
//! The session's machine runs on a thread of its own; a party sends it commands and takes its events
//! in any order. What was not asked for is kept until it is. A session that ends while something
//! else is awaited fails the case, with the relay's words.

use super::fault::Fault;
use crate::connect::Manners;
use mainstem_core::moqt::message::{Message, RequestError};
use mainstem_core::moqt::session::{
    self, Accepted, CommandError, Event, Session, Sessions, StreamEnd,
};
use mainstem_core::moqt::{Draft, RequestId};
use mainstem_core::time::Instant as MachineTime;
use mainstem_core::transport::{Action, App, Closed, Input, SessionId};
use mainstem_net::{Client, ClientConfig, Clock};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long an answer may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(2);
/// How long setting up a session may take.
const SETUP: Duration = Duration::from_secs(5);
/// How long it must be silent before nothing more is expected.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// A machine that only passes on what its sessions say.
pub(crate) struct Probe {
    sessions: Sessions,
}

impl App for Probe {
    type Event = Event;

    fn handle(&mut self, now: MachineTime, input: Input) {
        self.sessions.handle(now, input);
    }

    fn handle_timeout(&mut self, now: MachineTime) {
        self.sessions.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.sessions.poll_output() {
            return Some(Action::Transport(output));
        }
        let (_, event) = self.sessions.poll_event()?;
        Some(Action::Event(event))
    }

    fn next_timeout(&self) -> Option<MachineTime> {
        self.sessions.next_timeout()
    }
}

/// One end of one session. See the module's description.
pub(crate) struct Party {
    role: String,
    client: Client<Probe>,
    session: SessionId,
    draft: Draft,
    /// The first packet's destination, in hex.
    connection_id: Option<String>,
    events: Receiver<Event>,
    backlog: VecDeque<Event>,
    is_verbose: bool,
}

impl Party {
    /// Connects and waits for the relay's SETUP.
    pub(crate) fn connect(
        role: &str,
        config: ClientConfig,
        is_verbose: bool,
        manners: Manners,
    ) -> Result<Self, Fault> {
        let machine = Probe {
            sessions: Sessions::new(session::Config {
                sessions_max: 1,
                implementation: Some(concat!("mainstem/", env!("CARGO_PKG_VERSION")).to_owned()),
                grease: manners.grease(),
                ..session::Config::default()
            }),
        };
        let (sender, events) = channel();
        let client = Client::open(config, Clock::start(), machine, move |event| {
            // A case that has ended listens no more.
            let _ = sender.send(event);
        });
        let client = client.map_err(|error| Fault::unreachable(error.to_string()))?;
        let session = client
            .connect()
            .map_err(|error| Fault::unreachable(error.to_string()))?;
        let mut party = Self {
            role: role.to_owned(),
            client,
            session,
            draft: Draft::ALL[0],
            connection_id: None,
            events,
            backlog: VecDeque::new(),
            is_verbose,
        };
        let ready = |event: &Event| match event {
            Event::Ready(_) => Some(Ok(())),
            Event::Closed(closed) => Some(Err(describe(closed))),
            _ => None,
        };
        party
            .wait("the relay's SETUP", SETUP, ready)?
            .map_err(Fault::unreachable)?;
        party.draft = party.ask("the draft", |session| Ok(session.draft()))?;
        let id = party.client.handle().ask(move |host, _| {
            let id = host.first_connection_id(session);
            id.map(crate::certificate::hex)
        });
        // For the report alone.
        party.connection_id = id.ok().flatten();
        Ok(party)
    }

    /// The negotiated draft.
    pub(crate) fn draft(&self) -> Draft {
        self.draft
    }

    /// The id by which logs of both ends name the connection.
    pub(crate) fn connection_id(&self) -> Option<&str> {
        self.connection_id.as_deref()
    }

    /// Who this is, for messages.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Commands the session; `what` is for the message when it refuses.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        what: &str,
        command: impl FnOnce(&mut Session) -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, Fault> {
        let session = self.session;
        let answer = self.client.handle().ask(move |host, _| {
            match host.app_mut().sessions.session_mut(session) {
                Some(session) => command(session),
                None => Err(CommandError::NotReady),
            }
        });
        let said =
            |error: String| Fault::failed(format!("{}: cannot send {what}: {error}", self.role));
        answer
            .map_err(|error| said(error.to_string()))?
            .map_err(|error| said(error.to_string()))
    }

    /// Waits for an event that `pick` makes something of; the others are kept.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T, Fault> {
        for (index, event) in self.backlog.iter().enumerate() {
            if let Some(found) = pick(event) {
                self.backlog.remove(index);
                return Ok(found);
            }
        }
        let deadline = Instant::now() + limit;
        while let Some(event) = self.receive(deadline) {
            if let Some(found) = pick(&event) {
                return Ok(found);
            }
            if let Event::Closed(closed) = &event {
                return Err(Fault::failed(format!("{}: session ended", self.role))
                    .expected(what)
                    .received(describe(closed)));
            }
            self.backlog.push_back(event);
        }
        Err(Fault::failed(format!("{}: nothing within {limit:?}", self.role)).expected(what))
    }

    /// The next event, kept or new, until `deadline`.
    pub(crate) fn next_event(&mut self, deadline: Instant) -> Option<Event> {
        match self.backlog.pop_front() {
            Some(event) => Some(event),
            None => self.receive(deadline),
        }
    }

    /// Puts events back that were taken and are somebody else's.
    pub(crate) fn keep(&mut self, events: Vec<Event>) {
        self.backlog.extend(events);
    }

    fn receive(&mut self, deadline: Instant) -> Option<Event> {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = match self.events.recv_timeout(left) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        if self.is_verbose {
            eprintln!("# {}: {}", self.role, summary(&event));
        }
        Some(event)
    }

    /// Waits for a positive answer.
    pub(crate) fn accepted(&mut self, request: RequestId, what: &str) -> Result<Accepted, Fault> {
        let role = self.role.clone();
        self.answer(request, what, ANSWER)?.map_err(|error| {
            Fault::failed(format!("{role}: refused"))
                .expected(what)
                .received(said(&error))
        })
    }

    /// Waits for a refusal.
    pub(crate) fn rejected(
        &mut self,
        request: RequestId,
        what: &str,
        limit: Duration,
    ) -> Result<RequestError, Fault> {
        match self.answer(request, what, limit)? {
            Err(error) => Ok(error),
            Ok(accepted) => {
                let is_track = matches!(accepted, Accepted::Subscribe(_));
                let accepted = if is_track {
                    "SUBSCRIBE_OK"
                } else {
                    "REQUEST_OK"
                };
                Err(Fault::failed(format!("{}: agreed to", self.role))
                    .expected(what)
                    .received(accepted))
            }
        }
    }

    /// Waits for either answer.
    pub(crate) fn answer(
        &mut self,
        request: RequestId,
        what: &str,
        limit: Duration,
    ) -> Result<Result<Accepted, RequestError>, Fault> {
        let answer = self.wait(what, limit, |event| match event {
            Event::Accepted {
                request: of,
                accepted,
            } if *of == request => Some(Ok(Ok(accepted.clone()))),
            Event::Rejected { request: of, error } if *of == request => {
                Some(Ok(Err(error.clone())))
            }
            Event::Cancelled { request: of, code } if *of == request => Some(Err(*code)),
            _ => None,
        })?;
        answer.map_err(|code| {
            Fault::failed(format!("{}: no answer", self.role))
                .expected(what)
                .received(format!("the request was reset, code {code:?}"))
        })
    }

    /// Waits for a request of the relay that `pick` makes something of.
    pub(crate) fn requested<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&Message) -> Option<T>,
    ) -> Result<(RequestId, T), Fault> {
        self.wait(what, ANSWER, |event| match event {
            Event::Request { request, message } => pick(message).map(|found| (*request, found)),
            _ => None,
        })
    }

    /// Whether nothing that `pick` names comes within `limit`.
    pub(crate) fn nothing(
        &mut self,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&Event) -> bool,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + limit;
        let unexpected = |role: &str, event: &Event| {
            Fault::failed(format!("{role}: {what}"))
                .expected("nothing")
                .received(summary(event))
        };
        if let Some(event) = self.backlog.iter().find(|event| pick(event)) {
            return Err(unexpected(&self.role, event));
        }
        while let Some(event) = self.receive(deadline) {
            let is_over = matches!(event, Event::Closed(_));
            if is_over || pick(&event) {
                return Err(unexpected(&self.role, &event));
            }
            self.backlog.push_back(event);
        }
        Ok(())
    }
}

/// Random bytes as lower-case hexadecimal digits, to keep runs apart.
pub(crate) fn run_id() -> Result<String, Fault> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Fault::failed("the operating system gives no random bytes".to_owned()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// A refusal in words.
pub(crate) fn said(error: &RequestError) -> String {
    format!("REQUEST_ERROR {} {:?}", error.code, error.reason)
}

/// The end of a session in words.
pub(crate) fn describe(closed: &Closed) -> String {
    match closed {
        Closed::Application { by, code, reason } => {
            format!("session closed by {by:?} with code 0x{code:x} {reason:?}")
        }
        Closed::Transport { reason } => reason.clone(),
    }
}

/// An event in one line, without payload.
pub(crate) fn summary(event: &Event) -> String {
    match event {
        Event::Object {
            object, request, ..
        } => format!(
            "object {}.{} subgroup {:?} {:?} {} bytes of {request:?}",
            object.group,
            object.object,
            object.subgroup,
            object.status,
            object.payload.len()
        ),
        Event::Datagram { object, request } => format!(
            "datagram {}.{} {:?} {} bytes of {request:?}",
            object.group,
            object.object,
            object.status,
            object.payload.len()
        ),
        Event::SubgroupEnded {
            group,
            subgroup,
            end,
            ..
        } => {
            let how = match end {
                StreamEnd::Finished => "FIN".to_owned(),
                StreamEnd::Reset(code) => format!("reset {code}"),
            };
            format!("subgroup {group}/{subgroup:?} ended: {how}")
        }
        Event::Closed(closed) => describe(closed),
        other => format!("{other:?}"),
    }
}
