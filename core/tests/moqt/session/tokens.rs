//! Authorization tokens by alias, from both ends.

use super::*;
use mainstem_core::moqt::message::{RequestOk, RequestUpdate};
use mainstem_core::moqt::name::TrackName;
use mainstem_core::moqt::parameter::AuthorizationToken as Token;

fn value(text: &'static str) -> Token {
    Token::UseValue {
        token_type: 7,
        value: Bytes::from_static(text.as_bytes()),
    }
}

fn register(alias: u64, text: &'static str) -> Token {
    Token::Register {
        alias,
        token_type: 7,
        value: Bytes::from_static(text.as_bytes()),
    }
}

const fn alias(alias: u64) -> Token {
    Token::UseAlias { alias }
}

const fn delete(alias: u64) -> Token {
    Token::Delete { alias }
}

fn with(tokens: &[Token]) -> Parameters {
    Parameters {
        authorization_tokens: tokens.to_vec(),
        ..Parameters::default()
    }
}

fn asks(id: u64, tokens: &[Token]) -> Message {
    Message::from(Subscribe {
        request_id: RequestId(id),
        track: FullTrackName::new(namespace("a/b"), TrackName(id.to_string().into())).unwrap(),
        parameters: with(tokens),
    })
}

fn cache(bytes: u32) -> Limits {
    Limits {
        token_cache_bytes_max: bytes,
        ..Limits::default()
    }
}

impl Peer {
    /// A server that offers a cache of so many bytes.
    fn caching(bytes: u32) -> Self {
        Self::ready_with(Draft::D22, Side::Server, cache(bytes))
    }

    /// A client whose server offers such a cache.
    fn of_caching(bytes: u64) -> Self {
        let mut peer = Self::opened(Draft::D22, Side::Client, Carrier::Quic, Limits::default());
        let setup = Setup {
            max_auth_token_cache_size: Some(bytes),
            ..Setup::default()
        };
        peer.send(uni(0), &Message::from(setup));
        peer
    }

    /// Tokens of the last request or update, as the owner sees them.
    fn seen(&self) -> Vec<Token> {
        match self.events.last() {
            Some(Event::Request { message, .. }) => {
                message.parameters().unwrap().authorization_tokens.clone()
            }
            Some(Event::Update { parameters, .. }) => parameters.authorization_tokens.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Tokens of the last message on our `index`-th request stream.
    fn told(&self, index: u64) -> Vec<Token> {
        let messages = self.written(own(index), StreamRole::Request);
        let parameters = messages.last().unwrap().parameters().unwrap();
        parameters.authorization_tokens.clone()
    }

    fn ask(&mut self, tokens: &[Token]) -> RequestId {
        self.command(|s| s.subscribe(track("x"), with(tokens)))
            .unwrap()
    }
}

#[test]
fn owners_see_tokens_by_value() {
    covers!("MOQT19-10.2.2-2");
    let mut peer = Peer::caching(100);
    peer.send(bidi(0), &asks(0, &[register(1, "one"), value("two")]));
    assert_eq!(peer.seen(), [value("one"), value("two")]);
    peer.send(bidi(1), &asks(2, &[alias(1)]));
    assert_eq!(peer.seen(), [value("one")]);
    let update = |id, tokens: &[Token]| {
        Message::from(RequestUpdate {
            request_id: RequestId(id),
            parameters: with(tokens),
        })
    };
    peer.send(bidi(1), &update(4, &[delete(1), register(1, "new")]));
    assert_eq!(peer.seen(), [value("new")], "an alias may be used again");
    peer.send(bidi(1), &update(6, &[delete(1)]));
    assert_eq!(peer.seen(), []);
    assert_eq!(peer.code(), None);
}

#[test]
fn cache_is_offered_and_held_to() {
    covers!("MOQT19-10.2.2-11");
    let peer = Peer::caching(60);
    let control = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
    let offered = |peer: &Peer| match &peer.written(control, StreamRole::Control)[0] {
        Message::Setup(setup) => setup.max_auth_token_cache_size,
        other => panic!("{other:?}"),
    };
    assert_eq!(offered(&peer), Some(60));
    assert_eq!(offered(&Peer::server(Draft::D22)), None);
    // Two entries of 16 + 14 bytes fill it, a third does not fit.
    let text = "fourteen bytes";
    let mut peer = Peer::caching(60);
    peer.send(bidi(0), &asks(0, &[register(1, text), register(2, text)]));
    assert_eq!(
        peer.refused(bidi(0)),
        Some(RequestCode::MALFORMED_AUTH_TOKEN),
        "the same twice"
    );
    assert_eq!(peer.code(), None);
    peer.send(
        bidi(1),
        &asks(2, &[delete(1), register(3, "also fourteen!")]),
    );
    assert_eq!(peer.code(), None, "a retired token takes no room");
    peer.send(bidi(2), &asks(4, &[register(4, "")]));
    assert_eq!(peer.code(), Some(SessionCode::AUTH_TOKEN_CACHE_OVERFLOW));
}

#[test]
fn aliases_that_are_not_as_they_should_close_the_session() {
    covers!("MOQT19-10.2.2-1", "MOQT19-10.2.2-5", "MOQT19-10.2.2-6");
    let code = |tokens: &[Token]| {
        let mut peer = Peer::caching(1000);
        peer.send(bidi(0), &asks(0, &[register(1, "one")]));
        peer.send(bidi(1), &asks(2, tokens));
        peer.code()
    };
    assert_eq!(
        code(&[register(1, "one")]),
        Some(SessionCode::DUPLICATE_AUTH_TOKEN_ALIAS)
    );
    assert_eq!(
        code(&[alias(2)]),
        Some(SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS)
    );
    assert_eq!(
        code(&[delete(2)]),
        Some(SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS)
    );
    assert_eq!(
        code(&[delete(1), alias(1)]),
        Some(SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS)
    );
    let mut none = Peer::server(Draft::D18);
    none.send(bidi(0), &asks(0, &[register(1, "one")]));
    assert_eq!(none.code(), Some(SessionCode::AUTH_TOKEN_CACHE_OVERFLOW));
}

#[test]
fn what_a_refused_message_registers_is_registered() {
    covers!("MOQT19-10.2.2-8");
    let mut peer = Peer::caching(1000);
    let reserved = FullTrackName::new(namespace(".session"), "x".into()).unwrap();
    let refused = Subscribe {
        request_id: RequestId(0),
        track: reserved,
        parameters: with(&[register(1, "one")]),
    };
    peer.send(bidi(0), &Message::from(refused));
    assert!(peer.refused(bidi(0)).is_some());
    peer.send(bidi(1), &asks(2, &[alias(1)]));
    assert_eq!(peer.seen(), [value("one")]);
}

#[test]
fn the_same_token_twice_is_refused_once_aliases_are_resolved() {
    covers!("MOQT19-10.2.2-7");
    let mut peer = Peer::caching(1000);
    peer.send(bidi(0), &asks(0, &[register(1, "one")]));
    peer.send(bidi(1), &asks(2, &[alias(1), value("one")]));
    assert_eq!(
        peer.refused(bidi(1)),
        Some(RequestCode::MALFORMED_AUTH_TOKEN)
    );
    let update = RequestUpdate {
        request_id: RequestId(4),
        parameters: with(&[value("one"), value("one")]),
    };
    peer.send(bidi(0), &Message::from(update));
    assert_eq!(
        peer.refused(bidi(0)),
        Some(RequestCode::MALFORMED_AUTH_TOKEN)
    );
    assert_eq!(peer.code(), None);
}

#[test]
fn setup_registers_what_fits_and_uses_the_rest_by_value() {
    covers!("MOQT19-10.2.2-3", "MOQT19-10.3.1.4-1", "MOQT19-10.3.1.4-2");
    let mut peer = Peer::opened(Draft::D22, Side::Server, Carrier::Quic, cache(40));
    let setup = Setup {
        authorization_tokens: vec![register(1, "one"), register(2, "two"), register(3, "three")],
        ..Setup::default()
    };
    peer.send(uni(0), &Message::from(setup));
    let Some(Event::Ready(ready)) = peer.events.last() else {
        panic!("{:?}", peer.events);
    };
    assert_eq!(ready.tokens, [value("one"), value("two"), value("three")]);
    peer.send(bidi(0), &asks(0, &[alias(1), alias(2)]));
    assert_eq!(peer.seen(), [value("one"), value("two")]);
    peer.send(bidi(1), &asks(2, &[alias(3)]));
    assert_eq!(peer.code(), Some(SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS));
    for token in [alias(1), delete(1)] {
        let mut peer = Peer::opened(Draft::D22, Side::Server, Carrier::Quic, cache(40));
        let setup = Setup {
            authorization_tokens: vec![token],
            ..Setup::default()
        };
        peer.send(uni(0), &Message::from(setup));
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn registrations_are_sent_within_the_peers_cache_only() {
    let mut peer = Peer::client(Draft::D22);
    peer.ask(&[register(1, "one")]);
    assert_eq!(peer.told(0), [value("one")], "no cache");
    peer.ask(&[alias(1)]);
    assert_eq!(peer.told(1), [value("one")]);
    let mut peer = Peer::of_caching(20);
    peer.ask(&[register(1, "one"), register(2, "two")]);
    assert_eq!(peer.told(0), [register(1, "one"), value("two")]);
}

#[test]
fn an_alias_is_used_once_its_registration_is_answered() {
    covers!("MOQT19-10.2.2-12", "MOQT19-10.2.2-13");
    let mut peer = Peer::of_caching(100);
    let first = peer.ask(&[register(1, "one")]);
    peer.ask(&[alias(1)]);
    assert_eq!(
        peer.told(1),
        [value("one")],
        "on another stream, unanswered"
    );
    let early = peer.command(|s| s.subscribe(track("x"), with(&[delete(1)])));
    assert!(early.is_err(), "its use is unanswered");
    peer.send(own(0), &subscribe_ok(4));
    peer.command(|s| s.update(first, with(&[alias(1)])))
        .unwrap();
    assert_eq!(peer.told(0), [alias(1)]);
    let early = peer.command(|s| s.subscribe(track("x"), with(&[delete(1)])));
    assert!(early.is_err());
    peer.send(own(0), &Message::from(RequestOk::default()));
    peer.ask(&[delete(1)]);
    assert_eq!(peer.told(2), [delete(1)]);
    let gone = peer.command(|s| s.subscribe(track("x"), with(&[alias(1)])));
    assert!(gone.is_err());
    let unknown = peer.command(|s| s.subscribe(track("x"), with(&[register(5, "a"), alias(9)])));
    assert!(unknown.is_err());
    peer.ask(&[register(5, "a")]);
    assert_eq!(
        peer.told(3),
        [register(5, "a")],
        "what failed registered nothing"
    );
}
