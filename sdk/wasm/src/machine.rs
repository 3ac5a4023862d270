//! [`Machine`]: the viewer or the publisher behind one face, as [`crate::abi`] drives it.
//!
//! Inputs: [`Input`]s of the transport, commands in JSON, media. Outputs: [`Out`]s, in order.

use crate::out::Out;
use crate::publisher::Publisher;
use crate::viewer::Viewer;
use mainstem_core::time::Instant;
use mainstem_core::transport::{Closed, Input, Origin, SessionId, StreamEvent};
use serde_json::json;

/// What an instance of the module is. See the module's description.
#[derive(Debug)]
pub enum Machine {
    /// Watches.
    Viewer(Box<Viewer>),
    /// Publishes.
    Publisher(Box<Publisher>),
}

impl Machine {
    /// What the transport did.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match self {
            Self::Viewer(viewer) => viewer.handle(now, input),
            Self::Publisher(publisher) => publisher.handle(now, input),
        }
    }

    /// The time that [`Self::next_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Viewer(viewer) => viewer.handle_timeout(now),
            Self::Publisher(publisher) => publisher.handle_timeout(now),
        }
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Viewer(viewer) => viewer.next_timeout(),
            Self::Publisher(publisher) => publisher.next_timeout(),
        }
    }

    /// A wish of the owner's, in JSON with a `type`. `Err` says what is wrong with it.
    pub fn command(&mut self, now: Instant, json: &[u8]) -> Result<(), String> {
        match self {
            Self::Viewer(viewer) => viewer.command(now, json),
            Self::Publisher(publisher) => publisher.command(now, json),
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Out> {
        match self {
            Self::Viewer(viewer) => viewer.poll(),
            Self::Publisher(publisher) => publisher.poll(),
        }
    }

    /// The publisher that it is.
    pub fn publisher(&mut self) -> Option<&mut Publisher> {
        match self {
            Self::Viewer(_) => None,
            Self::Publisher(publisher) => Some(publisher),
        }
    }
}

/// The end of a session as the world tells it: by nobody (0), this end (1) or the peer (2).
pub(crate) fn closed_input(session: SessionId, by: u32, code: u64, reason: String) -> Input {
    let closed = match by {
        0 => Closed::Transport { reason },
        1 => Closed::Application {
            by: Origin::Local,
            code,
            reason,
        },
        _ => Closed::Application {
            by: Origin::Peer,
            code,
            reason,
        },
    };
    Input::Closed { session, closed }
}

/// An event of a stream by its number: data, finished, reset, stopped, writable.
pub(crate) fn stream_event(event: u32, code: u64, data: bytes::Bytes) -> Option<StreamEvent> {
    Some(match event {
        0 => StreamEvent::Data(data),
        1 => StreamEvent::Finished,
        2 => StreamEvent::Reset(code),
        3 => StreamEvent::Stopped(code),
        4 => StreamEvent::Writable,
        _ => return None,
    })
}

/// How a session ended, for the page.
pub(crate) fn closed_event(closed: &Closed) -> Out {
    let (by, code, reason) = match closed {
        Closed::Transport { reason } => ("transport", 0, reason),
        Closed::Application {
            by: Origin::Local,
            code,
            reason,
        } => ("local", *code, reason),
        Closed::Application { code, reason, .. } => ("peer", *code, reason),
    };
    Out::event(&json!({ "type": "closed", "by": by, "code": code, "reason": reason }))
}
