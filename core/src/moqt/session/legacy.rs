//! Sessions of draft 16: all they hear and say goes through an [`Adapter`].
//!
//! Source: `moqt::legacy`.

use super::{Action, Bytes, Event, Instant, Session, State, StreamEvent, StreamId};
use crate::moqt::legacy::Adapter;

/// The adapter, and the time when it last had something for the session.
#[derive(Debug)]
pub(super) struct Legacy {
    adapter: Adapter,
    now: Instant,
}

impl Legacy {
    pub(super) fn new(now: Instant, adapter: Adapter) -> Box<Self> {
        Box::new(Self { adapter, now })
    }
}

impl Session {
    pub(super) fn take_legacy_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        event: StreamEvent,
    ) {
        let Some(legacy) = &mut self.legacy else {
            return;
        };
        legacy.now = now;
        if let Err(fault) = legacy.adapter.take_event(stream, event) {
            self.fail(fault);
        }
        self.take_inward();
    }

    pub(super) fn take_legacy_datagram(&mut self, data: &Bytes) {
        let taken = match Adapter::take_datagram(data) {
            Ok(Some(data)) => self.take_datagram(&data),
            Ok(None) => Ok(()),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = taken {
            self.fail(fault);
        }
    }

    /// The next output, in draft 16's words.
    pub(super) fn poll_legacy(&mut self) -> Option<Action<Event>> {
        loop {
            let legacy = self.legacy.as_mut()?;
            if let Some(output) = legacy.adapter.poll_outward() {
                return Some(Action::Transport(output));
            }
            match self.out.pop_front()? {
                Action::Event(event) => return Some(Action::Event(event)),
                Action::Transport(output) => {
                    if let Err(fault) = legacy.adapter.take_output(output) {
                        self.fail(fault);
                    }
                    self.take_inward();
                }
            }
        }
    }

    /// A stream is stopped: what the adapter has of it already is not to come any more.
    pub(super) fn forget_inward(&mut self, stream: StreamId) {
        if let Some(legacy) = &mut self.legacy {
            legacy.adapter.forget_inward(stream);
        }
    }

    /// Lets the session see what the adapter made of the peer's or its own words.
    fn take_inward(&mut self) {
        while let Some(legacy) = &mut self.legacy {
            let now = legacy.now;
            let Some((stream, event)) = legacy.adapter.poll_inward() else {
                return;
            };
            if self.state == State::Closed {
                continue;
            }
            if let Err(fault) = self.take_stream_event(now, stream, event) {
                self.fail(fault);
            }
        }
    }
}
