//! A machine that fetches and fills, or serves those who do: for what no machine of the crate says
//! by itself.

use crate::captures::{config, name};
use bytes::Bytes;
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, Message, RequestOk};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::object::{GapKind, Object};
use mainstem_core::moqt::parameter::{AuthorizationToken, FillParameters, Parameters};
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{self, CommandError, Event, Session, Sessions};
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Input, SessionId};

/// One end of a session.
pub(crate) struct Fetcher {
    sessions: Sessions,
    asks: bool,
}

impl Fetcher {
    pub(crate) fn new(asks: bool) -> Self {
        let limits = session::Limits {
            token_cache_bytes_max: 200,
            ..session::Limits::default()
        };
        let config = session::Config {
            limits,
            grease: Some(5),
            ..config()
        };
        let sessions = Sessions::new(config);
        Self { sessions, asks }
    }

    fn process(&mut self) {
        while let Some((id, event)) = self.sessions.poll_event() {
            let Some(session) = self.sessions.session_mut(id) else {
                continue;
            };
            // A damaged session is closed sooner or later; then nothing can be asked of it.
            let _ = match event {
                Event::Ready(_) if self.asks => ask(session),
                Event::Request { request, message } => serve(session, request, &message),
                Event::Update {
                    request, update, ..
                } => session
                    .accept_update(request, RequestOk::default())
                    .and_then(|()| send(session, update)),
                _ => Ok(()),
            };
        }
    }
}

fn ask(session: &mut Session) -> Result<(), CommandError> {
    let track = name("other", "video");
    let value = Bytes::from_static(b"token");
    let fetch = |target| Fetch {
        request_id: RequestId(0),
        target,
        parameters: Parameters {
            authorization_tokens: vec![AuthorizationToken::UseValue {
                token_type: 1,
                value: value.clone(),
            }],
            ..Parameters::default()
        },
    };
    session.fetch(fetch(FetchTarget::Track(track.clone())))?;
    let has_fill = session.draft().profile().fill;
    let parameters = Parameters {
        authorization_tokens: vec![AuthorizationToken::Register {
            alias: 1,
            token_type: 1,
            value: value.clone(),
        }],
        fill: has_fill.then(|| Box::new(FillParameters::default())),
        ..Parameters::default()
    };
    let joining = session.subscribe(track, parameters)?;
    if !has_fill {
        session.fetch(fetch(FetchTarget::RelativeJoin { joining, groups: 2 }))?;
    }
    Ok(())
}

fn serve(session: &mut Session, request: RequestId, message: &Message) -> Result<(), CommandError> {
    match message {
        Message::Fetch(_) => {
            let end = Location::new(3, 2);
            session.accept_fetch(request, FetchOk::new(end, false, Properties::default()))?;
            send(session, request)
        }
        Message::Subscribe(subscribe) => {
            let parameters = Parameters::default();
            session.accept_subscribe(request, parameters, Properties::default())?;
            match &subscribe.parameters.fill {
                Some(_) => send(session, request),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn send(session: &mut Session, id: RequestId) -> Result<(), CommandError> {
    let stream = session.open_fetch(id, 1)?;
    for (place, subgroup) in [
        (0, Some(0)),
        (1, Some(1)),
        (2, Some(2)),
        (4, None),
        (6, Some(7)),
    ] {
        let object = Object {
            group: place / 2,
            object: place % 2,
            subgroup,
            priority: Some(9),
            payload: Bytes::from(vec![4; 30]).into(),
            ..Object::default()
        };
        session.send_fetch_object(stream, &object, false, false)?;
    }
    let (kind, end) = (GapKind::TimedOut, Location::new(3, 2));
    session.send_fetch_gap(stream, kind, end, true, false)
}

impl App for Fetcher {
    type Event = (SessionId, ());

    fn handle(&mut self, now: Instant, input: Input) {
        self.sessions.handle(now, input);
        self.process();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
        self.process();
    }

    fn poll(&mut self) -> Option<Action<Self::Event>> {
        self.sessions.poll_output().map(Action::Transport)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.next_timeout()
    }
}
