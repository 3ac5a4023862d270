//! What a relay keeps: FETCH, joining at a group's beginning, the order of groups.

use super::super::bench::{Bench, name, subscribe};
use super::super::fault::{Fault, check};
use super::super::flow::{Collected, DELIVERY, collect};
use super::super::party::{ANSWER, Party, run_id, said};
use super::data::{Through, name_of};
use super::publish::test_track;
use mainstem_core::moqt::draft::FetchForm;
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::filter::{Filter, GroupOrder, LocationRange};
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, Message, RequestError};
use mainstem_core::moqt::moqtest::{Limits, Plan, Report, Scoreboard, TestTrack};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::parameter::{FillParameters, Parameters};
use mainstem_core::moqt::session::{Accepted, Event, StreamEnd};
use mainstem_core::moqt::{FullTrackName, RequestId};
use std::time::{Duration, Instant};

/// The largest place that the relay has forwarded of it.
const LARGEST: Location = Location {
    group: 3,
    object: 1,
};
/// How long a relay may take to ask the publisher for what it did not keep.
const UPSTREAM: Duration = Duration::from_millis(150);
/// Four groups of five objects.
const TWENTY: &str = "moq-test-00/0/0/0/3/4/5/64/32/2/1/1/0/-1/-1/0";

/// A live track of which the relay has forwarded three whole groups and a bit.
struct History {
    through: Through,
    content: TestTrack,
    wanted: FullTrackName,
}

impl History {
    fn make(bench: &mut Bench, case: &str) -> Result<Self, Fault> {
        let prefix = name(&format!("moq-test/{case}/{}", run_id()?))?;
        let content = test_track(TWENTY)?;
        let mut through = Through::announced(bench, &prefix, &content)?;
        let past = range((0, 0), (3, 1));
        let (publisher, playing) = (&mut through.publisher, &mut through.playing);
        playing.play_part(publisher, &content, past)?;
        let (request, mut left) = (through.request, Plan::new(content.clone(), past).count());
        through
            .subscriber
            .wait("all objects", DELIVERY, |event| match event {
                Event::Object { request: of, .. } if *of == request => {
                    left = left.saturating_sub(1);
                    (left == 0).then_some(())
                }
                _ => None,
            })?;
        let wanted = name_of(&prefix, &content)?;
        Ok(Self {
            through,
            content,
            wanted,
        })
    }

    /// Serves the relay's own FETCH, if it has one.
    fn answer(&mut self) -> Result<(), Fault> {
        answer_upstream(&mut self.through.publisher, &self.content)
    }

    /// Plays the rest of the last group.
    fn go_on(&mut self) -> Result<(), Fault> {
        let rest = range((3, 2), (3, 4));
        let through = &mut self.through;
        through
            .playing
            .play_part(&mut through.publisher, &self.content, rest)
    }
}

fn range(start: (u64, u64), end: (u64, u64)) -> LocationRange {
    LocationRange {
        start: Location::new(start.0, start.1),
        end: Some(Location::new(end.0, end.1)),
    }
}

/// A whole group of the past, and nothing else.
pub(super) fn fetch(bench: &mut Bench) -> Result<String, Fault> {
    let mut history = History::make(bench, "fetch")?;
    let mut fetcher = bench.connect("fetcher")?;
    let request = ask(&fetcher, &history.wanted, (1, 0), 1, None, None)?;
    history.answer()?;
    let end = agreed(&mut fetcher, request)?;
    check(end.0 == 1, || {
        format!("fetcher: FETCH_OK ends in group {}, expected 1", end.0)
    })?;
    let (report, _) = fetched(
        &mut fetcher,
        request,
        &history.content,
        range((1, 0), (1, 4)),
    )?;
    clean(&report)
}

/// A range that begins and ends within groups.
pub(super) fn fetch_range(bench: &mut Bench) -> Result<String, Fault> {
    let mut history = History::make(bench, "fetch-range")?;
    let mut fetcher = bench.connect("fetcher")?;
    let request = ask(&fetcher, &history.wanted, (0, 3), 2, Some(1), None)?;
    history.answer()?;
    agreed(&mut fetcher, request)?;
    let (report, _) = fetched(
        &mut fetcher,
        request,
        &history.content,
        range((0, 3), (2, 1)),
    )?;
    clean(&report)
}

/// Groups from the newest to the oldest, objects in each ascending.
pub(super) fn fetch_descending(bench: &mut Bench) -> Result<String, Fault> {
    let mut history = History::make(bench, "fetch-descending")?;
    let mut fetcher = bench.connect("fetcher")?;
    let order = Some(GroupOrder::Descending);
    let request = ask(&fetcher, &history.wanted, (0, 0), 2, None, order)?;
    history.answer()?;
    agreed(&mut fetcher, request)?;
    let (report, places) = fetched(
        &mut fetcher,
        request,
        &history.content,
        range((0, 0), (2, 4)),
    )?;
    let came = clean(&report)?;
    let mut expected = Vec::new();
    for group in [2, 1, 0] {
        expected.extend((0..5).map(|object| Location::new(group, object)));
    }
    check(places == expected, || {
        format!("fetcher: groups came in the order {places:?}")
    })?;
    Ok(format!("{came}, groups 2, 1, 0"))
}

/// Nothing that could be fetched: refused, and for that reason.
pub(super) fn fetch_error(bench: &mut Bench) -> Result<String, Fault> {
    let mut history = History::make(bench, "fetch-error")?;
    let mut fetcher = bench.connect("fetcher")?;
    let request = ask(&fetcher, &history.wanted, (9, 0), 9, None, None)?;
    history.answer()?;
    let error = fetcher.rejected(request, "REQUEST_ERROR to a FETCH past the end", ANSWER)?;
    check(error.code == RequestCode::INVALID_RANGE, || {
        format!("fetcher: expected INVALID_RANGE, received {}", said(&error))
    })?;
    Ok(said(&error))
}

/// Joins at the beginning of the group before the current one: history and live objects together
/// are everything from there, each once.
pub(super) fn join(bench: &mut Bench) -> Result<String, Fault> {
    let mut history = History::make(bench, "join")?;
    let mut joiner = bench.connect("joiner")?;
    let form = joiner.draft().profile().fetch_form;
    let mut parameters = Parameters {
        filter: Some(Filter::NextObject),
        ..Parameters::default()
    };
    if form == FetchForm::Inline {
        parameters.fill = Some(Box::new(FillParameters {
            filter: Some(Filter::RelativeStart { groups: 2 }),
            ..FillParameters::default()
        }));
    }
    let live = subscribe(&joiner, &history.wanted, parameters)?;
    joiner.accepted(live, "SUBSCRIBE_OK")?;
    let past = match form {
        FetchForm::Inline => {
            history.answer()?;
            live
        }
        FetchForm::Typed => {
            let request = joiner.ask("a joining FETCH", move |session| {
                session.fetch(Fetch {
                    request_id: RequestId(0),
                    target: FetchTarget::RelativeJoin {
                        joining: live,
                        groups: 1,
                    },
                    parameters: Parameters::default(),
                })
            })?;
            history.answer()?;
            agreed(&mut joiner, request)?;
            request
        }
    };
    let (report, _) = fetched(&mut joiner, past, &history.content, range((2, 0), (3, 1)))?;
    let came = clean(&report)?;
    history.go_on()?;
    let quiet = Some(super::super::party::QUIET);
    let rest = collect(
        &mut joiner,
        live,
        &history.content,
        range((3, 2), (3, 4)),
        quiet,
    )?;
    let live = Collected::clean(&rest)?;
    Ok(format!("past: {came}; live: {live}"))
}

/// A subscriber that asks for the next group gets nothing of the one under way.
pub(super) fn next_group(bench: &mut Bench) -> Result<String, Fault> {
    let mut history = History::make(bench, "next-group")?;
    let mut late = bench.connect("late subscriber")?;
    let parameters = Parameters {
        filter: Some(Filter::NextGroup),
        ..Parameters::default()
    };
    let request = subscribe(&late, &history.wanted, parameters)?;
    late.accepted(request, "SUBSCRIBE_OK")?;
    history.go_on()?;
    late.nothing(
        "the group that it came into is not the next one",
        super::super::party::QUIET,
        |event| matches!(event, Event::Object { request: of, .. } if *of == request),
    )?;
    Ok("nothing of the group under way".to_owned())
}

fn ask(
    fetcher: &Party,
    wanted: &FullTrackName,
    start: (u64, u64),
    end_group: u64,
    end_object: Option<u64>,
    group_order: Option<GroupOrder>,
) -> Result<RequestId, Fault> {
    let target = FetchTarget::Track(wanted.clone());
    let filter = Filter::AbsoluteRange {
        start: Location::new(start.0, start.1),
        end_group,
        end_object,
    };
    fetcher.ask("FETCH", move |session| {
        session.fetch(Fetch {
            request_id: RequestId(0),
            target,
            parameters: Parameters {
                filter: Some(filter),
                group_order,
                ..Parameters::default()
            },
        })
    })
}

/// Serves what the relay asks the publisher for, when it keeps no history itself.
fn answer_upstream(publisher: &mut Party, content: &TestTrack) -> Result<(), Fault> {
    // It may ask for each gap by itself, and for the next once it has the one before.
    while answer_one(publisher, content)? {}
    Ok(())
}

/// Serves one FETCH; whether there was one.
fn answer_one(publisher: &mut Party, content: &TestTrack) -> Result<bool, Fault> {
    let asked = publisher.wait("FETCH", UPSTREAM, |event| match event {
        Event::Request {
            request,
            message: Message::Fetch(fetch),
        } => Some((*request, fetch.parameters.clone())),
        _ => None,
    });
    let Ok((request, parameters)) = asked else {
        return Ok(false);
    };
    let order = parameters.group_order.unwrap_or(GroupOrder::Ascending);
    let mut range = parameters
        .filter
        .unwrap_or(Filter::None)
        .resolve(Some(LARGEST));
    if range.start > LARGEST {
        publisher.ask("REQUEST_ERROR to FETCH", move |session| {
            let error = RequestError::new(RequestCode::INVALID_RANGE, "nothing is there yet");
            session.reject(request, error)
        })?;
        return Ok(true);
    }
    let end = range.end.unwrap_or(LARGEST).min(LARGEST);
    range.end = Some(end);
    let mut steps: Vec<_> = Plan::new(content.clone(), range).collect();
    if order == GroupOrder::Descending {
        steps.sort_by_key(|step| (std::cmp::Reverse(step.object.group), step.object.object));
    }
    let properties = content.properties();
    publisher.ask("FETCH_OK and objects", move |session| {
        session.accept_fetch(request, FetchOk::new(end, false, properties))?;
        let stream = session.open_fetch(request, 0)?;
        for step in steps {
            session.send_fetch_object(stream, &step.object, false, false)?;
        }
        session.finish_stream(stream)
    })?;
    Ok(true)
}

/// Waits for FETCH_OK; the end that it names.
fn agreed(fetcher: &mut Party, request: RequestId) -> Result<(u64, Option<u64>), Fault> {
    let accepted = fetcher.accepted(request, "FETCH_OK")?;
    if let Accepted::Fetch(ok) = &accepted {
        return Ok((ok.end_group, ok.end_object));
    }
    Err(Fault::failed(format!("{}: another answer", fetcher.role())).expected("FETCH_OK"))
}

/// Everything that comes on the stream of a fetch or a fill, in order.
fn fetched(
    fetcher: &mut Party,
    request: RequestId,
    content: &TestTrack,
    range: LocationRange,
) -> Result<(Report, Vec<Location>), Fault> {
    let mut board = Scoreboard::new(content.clone(), range, Limits::default());
    let deadline = Instant::now() + DELIVERY;
    let mut places = Vec::new();
    let mut others = Vec::new();
    let mut end = None;
    while let (None, Some(event)) = (end, fetcher.next_event(deadline)) {
        match event {
            Event::FetchObject {
                request: of,
                object,
                ..
            } if of == request => {
                places.push(Location::new(object.group, object.object));
                // All groups share the stream: the scoreboard sees each object by itself.
                board.add_fetched(&object);
            }
            Event::FetchEnded {
                request: of,
                end: how,
                ..
            } if of == request => end = Some(how),
            other => others.push(other),
        }
    }
    fetcher.keep(others);
    match end {
        Some(StreamEnd::Finished) => Ok((board.finish(), places)),
        Some(StreamEnd::Reset(code)) => Err(Fault::failed(format!(
            "{}: the stream was reset",
            fetcher.role()
        ))
        .received(code.to_string())),
        None => Err(Fault::failed(format!(
            "{}: the stream did not end; {} objects came",
            fetcher.role(),
            places.len()
        ))),
    }
}

fn clean(report: &Report) -> Result<String, Fault> {
    let collected = Collected {
        report: report.clone(),
        done: None,
        is_cancelled: false,
    };
    collected.clean()?;
    Ok(format!(
        "{} objects and the end of the stream",
        report.objects
    ))
}
