//! One MoQT session at either end, whose owner says anything at any time.
//!
//! Input: draft and side are the script's; header: tight limits (1), cut seed (2). A command reads its
//! kind and then ids and parameters of one byte each: most of them name nothing, and must be refused
//! as the owner's error, without panic and without a word on the wire.

use super::stage::{self, Subject, filled};
use crate::input::Cursor;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, SessionCode, StreamCode};
use mainstem_core::moqt::filter::{Filter, GroupOrder, RangeFilter, RangeSubject};
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, RequestError, RequestOk};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{GapKind, Object, ObjectStatus, SubgroupHeader, SubgroupId};
use mainstem_core::moqt::parameter::{AuthorizationToken, FillParameters, Parameters};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::session::{self, CommandError, Session, Sessions};
use mainstem_core::moqt::{Location, RequestId, TrackAlias};
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Direction, Input, Origin, SessionId, Side, StreamId};
use std::time::Duration;

/// Plays the input to a server's session, or a client's; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let how = input.byte();
    let cuts = input.short();
    let config = config(how & 1 == 1);
    let server = || Owned::<true>(Sessions::new(config.clone()));
    let client = || Owned::<false>(Sessions::new(config.clone()));
    match how % 4 {
        0 => stage::compare(&input, cuts, server),
        1 => stage::endure(&input, cuts, server),
        2 => stage::compare(&input, cuts, client),
        _ => stage::endure(&input, cuts, client),
    }
}

/// What a machine's sessions are allowed: the defaults, or so little that a fuzzer passes it.
pub fn config(is_tight: bool) -> session::Config {
    let limits = session::Limits::default();
    let tight = session::Limits {
        requests_max: 6,
        request_gaps_max: 3,
        request_updates_max: 2,
        token_cache_bytes_max: 60,
        namespaces_max: 3,
        fills_max: 2,
        incoming_streams_max: 6,
        held_bytes_max: 300,
        unfinished_bytes_max: 600,
        ..limits
    };
    session::Config {
        limits: if is_tight { tight } else { limits },
        sessions_max: if is_tight { 2 } else { 100 },
        max_filter_ranges: 4,
        ..session::Config::default()
    }
}

/// Sessions and an owner who only listens.
struct Owned<const SERVER: bool>(Sessions);

impl<const SERVER: bool> App for Owned<SERVER> {
    type Event = (SessionId, session::Event);

    fn handle(&mut self, now: Instant, input: Input) {
        self.0.handle(now, input);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<Action<Self::Event>> {
        let output = self.0.poll_output().map(Action::Transport);
        output.or_else(|| self.0.poll_event().map(Action::Event))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.next_timeout()
    }
}

impl<const SERVER: bool> Subject for Owned<SERVER> {
    const SIDE: Side = if SERVER { Side::Server } else { Side::Client };

    fn command(&mut self, now: Instant, session: SessionId, input: &mut Cursor<'_>) {
        if let Some(session) = self.0.session_mut(session) {
            // What the owner may not say now is the owner's error, and nothing else.
            let _ = command(session, now, input);
        }
    }

    fn hear(&mut self, _: Instant, (_, event): Self::Event) {
        let _ = format!("{event:?}");
    }

    fn check_empty(&mut self) {
        assert!(self.0.is_empty());
    }
}

fn command(
    session: &mut Session,
    now: Instant,
    input: &mut Cursor<'_>,
) -> Result<(), CommandError> {
    let kind = input.byte();
    let request = RequestId(u64::from(input.byte()));
    match kind % 28 {
        0 => drop(session.subscribe(track(input), parameters(input))?),
        1 => drop(session.publish(track(input), parameters(input), properties(input))?),
        2 => drop(session.publish_namespace(namespace(input), parameters(input))?),
        3 => drop(session.subscribe_namespace(namespace(input), parameters(input))?),
        4 => drop(session.subscribe_tracks(namespace(input), parameters(input))?),
        5 => drop(session.track_status(track(input), parameters(input))?),
        6 => drop(session.fetch(fetch(input, request))?),
        7 => drop(session.update(request, parameters(input))?),
        8 => session.cancel(request, StreamCode(u64::from(input.byte())))?,
        9 => session.goaway_request(now, request, "moqt://other", Duration::from_secs(1))?,
        10 => session.accept_subscribe(request, parameters(input), properties(input))?,
        11 => session.accept(request, ok(input))?,
        12 => session.notify_state(request, location(input))?,
        13 => session.reject(request, RequestError::new(RequestCode::UNAUTHORIZED, "no"))?,
        14 => session.accept_update(request, ok(input))?,
        15 => session.reject_update(request, RequestError::new(RequestCode::INTERNAL_ERROR, ""))?,
        16 => session.namespace(request, namespace(input))?,
        17 => session.namespace_done(request, namespace(input))?,
        18 => session.publish_done(request, PublishDoneCode::TRACK_ENDED, "over")?,
        19 => session.publish_skipped(request, namespace(input), TrackName::from("v"))?,
        20 => session.finish_request(request)?,
        21 => drop(session.open_subgroup(request, header(input), i32::from(input.byte()))?),
        22 => session.accept_fetch(
            request,
            FetchOk::new(location(input), input.flag(), properties(input)),
        )?,
        23 => drop(session.open_fetch(request, i32::from(input.byte()))?),
        24 => session.send_datagram(request, &object(input))?,
        25 => session.close(SessionCode::NO_ERROR, "done"),
        _ => on_stream(session, input)?,
    }
    Ok(())
}

/// What may be said of a stream of ours.
fn on_stream(session: &mut Session, input: &mut Cursor<'_>) -> Result<(), CommandError> {
    let index = u64::from(input.byte() % 8);
    let stream = StreamId::new(Origin::Local, Direction::Unidirectional, index);
    let (fin, notify) = (input.flag(), input.flag());
    match input.byte() % 7 {
        0 | 1 => session.send_object(stream, &object(input), fin, notify),
        2 => session.finish_stream(stream),
        3 => {
            session.reset_stream(stream, StreamCode(u64::from(input.byte())));
            Ok(())
        }
        4 => session.send_fetch_object(stream, &object(input), fin, notify),
        5 => {
            let kind = input.one_of(&[GapKind::NonExistent, GapKind::Unknown, GapKind::TimedOut]);
            session.send_fetch_gap(stream, kind, location(input), fin, notify)
        }
        _ => {
            session.set_stream_priority(stream, i32::from(input.byte()));
            Ok(())
        }
    }
}

/// One of the names that seeds use.
pub fn track(input: &mut Cursor<'_>) -> FullTrackName {
    let name = input.one_of(&["video", "audio", "catalog"]);
    FullTrackName::new(namespace(input), TrackName::from(name)).expect("short")
}

/// One of the namespaces that seeds use, or one above or below it.
pub fn namespace(input: &mut Cursor<'_>) -> TrackNamespace {
    let paths = [
        "other",
        "mine",
        "stream/o/lv_1",
        "publish/lv_1",
        "playback/lv_1",
        "stream",
    ];
    TrackNamespace::from_path(input.one_of(&paths)).expect("short")
}

fn location(input: &mut Cursor<'_>) -> Location {
    Location::new(u64::from(input.byte()), u64::from(input.byte()))
}

fn ok(input: &mut Cursor<'_>) -> RequestOk {
    RequestOk {
        parameters: parameters(input),
        properties: properties(input),
    }
}

fn properties(input: &mut Cursor<'_>) -> Properties {
    if input.flag() {
        let age = u64::from(input.byte());
        PropertiesBuilder::new().max_cache_duration_ms(age).build()
    } else {
        Properties::default()
    }
}

/// Parameters: one byte says which, each takes a byte.
pub fn parameters(input: &mut Cursor<'_>) -> Parameters {
    let which = input.byte();
    let mut parameters = Parameters::default();
    let has = |bit: u8| which & bit != 0;
    if has(1) {
        parameters.filter = Some(filter(input));
    }
    if has(2) {
        parameters.forward = Some(input.flag());
    }
    if has(4) {
        parameters.subscriber_priority = Some(input.byte());
        parameters.group_order = Some(GroupOrder::Descending);
    }
    if has(8) {
        parameters.fill = Some(Box::new(FillParameters {
            filter: Some(filter(input)),
            ..FillParameters::default()
        }));
    }
    if has(16) {
        parameters.object_delivery_timeout_ms = Some(u64::from(input.byte()) * 10);
        parameters.expires_ms = Some(u64::from(input.byte()) * 10);
    }
    if has(32) {
        let (alias, token_type) = (u64::from(input.byte()), 0);
        let value = filled(input.below(30));
        parameters.authorization_tokens.push(match alias % 4 {
            0 => AuthorizationToken::Register {
                alias,
                token_type,
                value,
            },
            1 => AuthorizationToken::UseAlias { alias },
            2 => AuthorizationToken::Delete { alias },
            _ => AuthorizationToken::UseValue { token_type, value },
        });
    }
    if has(64) {
        let len = input.below(8);
        parameters.range_filters.push(RangeFilter {
            subject: input.one_of(&[RangeSubject::Object, RangeSubject::Subgroup]),
            value: input.bytes(len).to_vec().into(),
        });
    }
    if has(128) {
        parameters.largest = Some(location(input));
        parameters.rendezvous_timeout_ms = Some(u64::from(input.byte()) * 10);
        parameters.new_group_request = Some(u64::from(input.byte()));
    }
    parameters
}

fn filter(input: &mut Cursor<'_>) -> Filter {
    let start = location(input);
    match input.byte() % 5 {
        0 => Filter::None,
        1 => Filter::NextGroup,
        2 => Filter::RelativeStart {
            groups: start.group,
        },
        3 => Filter::Absolute { start },
        _ => Filter::AbsoluteRange {
            start,
            end_group: start.group + u64::from(input.byte()),
            end_object: None,
        },
    }
}

fn fetch(input: &mut Cursor<'_>, joining: RequestId) -> Fetch {
    let target = match input.byte() % 3 {
        0 => FetchTarget::Track(track(input)),
        1 => FetchTarget::RelativeJoin { joining, groups: 2 },
        _ => FetchTarget::AbsoluteJoin { joining, group: 0 },
    };
    Fetch {
        request_id: RequestId(0),
        target,
        parameters: parameters(input),
    }
}

fn header(input: &mut Cursor<'_>) -> SubgroupHeader {
    let id = u64::from(input.byte() & 3);
    SubgroupHeader {
        track_alias: TrackAlias(u64::from(input.byte())),
        group: u64::from(input.byte()),
        subgroup: input.one_of(&[
            SubgroupId::Zero,
            SubgroupId::FirstObject,
            SubgroupId::Explicit(id),
        ]),
        priority: input.flag().then_some(7),
        has_properties: input.flag(),
        end_of_group: input.flag(),
        first_object: input.flag(),
    }
}

/// An object of a few bytes.
pub fn object(input: &mut Cursor<'_>) -> Object {
    let (group, object) = (u64::from(input.byte()), u64::from(input.byte()));
    let status = match input.byte() % 8 {
        0 => ObjectStatus::EndOfGroup,
        1 => ObjectStatus::EndOfTrack,
        _ => ObjectStatus::Normal,
    };
    let is_normal = status == ObjectStatus::Normal;
    let len = input.below(40);
    Object {
        group,
        object,
        subgroup: Some(u64::from(input.byte() & 3)),
        status,
        payload: if is_normal {
            filled(len).into()
        } else {
            filled(0).into()
        },
        ..Object::default()
    }
}
