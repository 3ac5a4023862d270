//! How a session opens: the steps of the handshake, and of WebTransport after it.
//!
//! | client | server | over |
//! |---|---|---|
//! | `Hello` | `Welcome` | both |
//! | `Finished`; open over raw QUIC | open over raw QUIC, `Settings` | both |
//! | `Connect` with address and offers | `Response`; open | WebTransport |
//! | open | | WebTransport |
//!
//! Limits: `Limits::field_section_max` for the request. Source: RFC 9000 section 7,
//! draft-ietf-webtrans-http3 section 3.

use super::{Connection, Context, Phase, REFUSALS_MAX};
use crate::model::packet::{Carried, Connect, Frame, Terms};
use mainstem_core::transport::{Input, Opened, Side, Target};
use mainstem_quic::Refusal;

/// What a field of HTTP costs beside its text, and the fields that every request has.
const FIELDS_COST: usize = 7 * 32 + 100;

impl Connection {
    pub(super) fn welcomed(&mut self, protocol: &str, terms: &Terms, cx: &mut Context<'_>) {
        if self.phase != Phase::Opening || self.hello.take().is_none() {
            return;
        }
        self.accept_terms(terms);
        self.control.push_back(Frame::Finished);
        self.recovery.hurry(cx.now);
        if self.carried == Carried::Quic {
            let target = self.intent.take().map(|intent| intent.target);
            self.open_session(protocol.to_owned(), target, cx);
        }
    }

    pub(super) fn accept_terms(&mut self, terms: &Terms) {
        self.idle_timeout = self.own_idle.min(terms.idle_timeout);
        self.streams.granted(terms);
    }

    pub(super) fn finished(&mut self, cx: &mut Context<'_>) {
        let is_handshaking = self.phase == Phase::Opening && self.is_counted;
        if self.side != Side::Server || !is_handshaking {
            return;
        }
        self.is_counted = false;
        match self.carried {
            Carried::Quic => {
                let protocol = self.protocol.clone();
                self.open_session(protocol, None, cx);
            }
            Carried::WebTransport => self.control.push_back(Frame::Settings),
        }
    }

    pub(super) fn settings(&mut self, cx: &mut Context<'_>) {
        let Some(intent) = self.intent.clone() else {
            return;
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain(&intent.target.authority) && plain(&intent.target.path) {
            self.control.push_back(Frame::Connect(Box::new(intent)));
        } else {
            let reason = "the URL or a protocol holds characters that HTTP cannot carry";
            self.fail(reason, cx);
        }
    }

    pub(super) fn connect(&mut self, connect: &Connect, cx: &mut Context<'_>) {
        if self.phase != Phase::Opening || self.side != Side::Server {
            return;
        }
        let offers: usize = connect.offered.iter().map(|it| it.len() + 4).sum();
        let text = connect.target.authority.len() + connect.target.path.len() + offers;
        let is_addressed =
            !connect.target.authority.is_empty() && connect.target.path.starts_with('/');
        let ours = cx.server.map_or(&[][..], |server| &server.protocols);
        let chosen = ours.iter().find(|it| connect.offered.contains(it));
        let refusal = if text.saturating_add(FIELDS_COST) > cx.limits.field_section_max {
            Some((431, "a request with a field section over the limit"))
        } else if !is_addressed {
            Some((400, "a session needs :authority and :path"))
        } else if chosen.is_none() {
            let reason = "a session whose wt-available-protocols names none of ours";
            Some((400, reason))
        } else {
            None
        };
        match (refusal, chosen.cloned()) {
            (None, Some(protocol)) => {
                self.control
                    .push_back(Frame::Response(Ok(protocol.clone())));
                self.open_session(protocol, Some(connect.target.clone()), cx);
            }
            (refusal, _) => {
                let (status, reason) = refusal.unwrap_or((500, "no protocol"));
                self.control.push_back(Frame::Response(Err(status)));
                cx.counters.refused += 1;
                let remote = self.remote;
                if cx.refusals.len() < REFUSALS_MAX {
                    cx.refusals.push_back(Refusal { remote, reason });
                }
            }
        }
    }

    pub(super) fn response(&mut self, response: &Result<String, u16>, cx: &mut Context<'_>) {
        if self.phase != Phase::Opening {
            return;
        }
        match (response, self.intent.take()) {
            (Ok(protocol), Some(intent)) => {
                self.open_session(protocol.clone(), Some(intent.target), cx);
            }
            (Err(status), Some(intent)) => {
                self.intent = Some(intent);
                let reason = format!("the server refused the session with status {status}");
                self.fail(&reason, cx);
            }
            (_, None) => {}
        }
    }

    pub(super) fn open_session(
        &mut self,
        protocol: String,
        target: Option<Target>,
        cx: &mut Context<'_>,
    ) {
        self.phase = Phase::Open;
        self.is_open = true;
        self.deadline = None;
        self.is_counted = false;
        self.protocol.clone_from(&protocol);
        let session = *self
            .session
            .get_or_insert_with(|| cx.sessions.add(cx.index));
        cx.counters.sessions_opened += 1;
        cx.counters.sessions_open += 1;
        let opened = Opened {
            side: self.side,
            carrier: self.carried.carrier(),
            protocol,
            target,
            remote: self.remote,
        };
        cx.inputs.push_back(Input::Opened { session, opened });
    }
}
