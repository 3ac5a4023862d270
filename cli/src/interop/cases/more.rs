//! What the specification lets one ask of a relay beyond passing objects on.

use super::super::bench::{Bench, announce, asked_for, name, subscribe, track};
use super::super::fault::{Fault, check};
use super::super::flow::{ALL, Playing, collect};
use super::super::party::{ANSWER, Party, QUIET, run_id, said};
use super::data::{Through, accept, name_of};
use super::publish::test_track;
use mainstem_core::moqt::filter::{Filter, LocationRange};
use mainstem_core::moqt::message::Message;
use mainstem_core::moqt::moqtest::Plan;
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::{Accepted, Event};
use mainstem_core::moqt::{RequestId, TrackNamespace};
use std::time::Duration;

/// Three groups of three objects.
const NINE: &str = "moq-test-00/0/0/0/2/2/3/64/32/2/1/1/0/-1/-1/0";

fn prefix(case: &str) -> Result<TrackNamespace, Fault> {
    name(&format!("moq-test/{case}/{}", run_id()?))
}

fn groups(first: u64, last: u64) -> LocationRange {
    LocationRange {
        start: Location::new(first, 0),
        end: Some(Location::new(last, u64::MAX)),
    }
}

fn from_group(first: u64) -> Parameters {
    Parameters {
        filter: Some(Filter::Absolute {
            start: Location::new(first, 0),
        }),
        ..Parameters::default()
    }
}

/// A late subscriber is told the largest location, and gets what comes after it.
pub(super) fn largest_location(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("largest-location")?;
    let content = test_track(NINE)?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    let (publisher, playing) = (&mut through.publisher, &mut through.playing);
    playing.play_range(publisher, &content, groups(0, 1))?;
    let quiet = Some(Duration::from_millis(50));
    collect(
        &mut through.subscriber,
        through.request,
        &content,
        groups(0, 1),
        quiet,
    )?
    .clean()?;
    let mut late = bench.connect("late subscriber")?;
    let request = subscribe(&late, &name_of(&prefix, &content)?, from_group(2))?;
    let accepted = late.accepted(request, "SUBSCRIBE_OK")?;
    let largest = largest_of(&accepted);
    check(largest == Some(Location::new(1, 2)), || {
        format!("late subscriber: LARGEST_OBJECT is {largest:?}, expected 1.2")
    })?;
    playing.play_range(publisher, &content, groups(2, 2))?;
    collect(&mut late, request, &content, groups(2, 2), Some(QUIET))?.clean()?;
    Ok("LARGEST_OBJECT 1.2, then exactly group 2".to_owned())
}

/// TRACK_STATUS tells of a live track what a subscriber would be told, and refuses an unknown one.
pub(super) fn track_status(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("track-status")?;
    let content = test_track(NINE)?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    let (publisher, playing) = (&mut through.publisher, &mut through.playing);
    playing.play_range(publisher, &content, groups(0, 1))?;
    let quiet = Some(Duration::from_millis(50));
    collect(
        &mut through.subscriber,
        through.request,
        &content,
        groups(0, 1),
        quiet,
    )?
    .clean()?;
    let mut curious = bench.connect("curious client")?;
    let wanted = name_of(&prefix, &content)?;
    let request = curious.ask("TRACK_STATUS", move |session| {
        session.track_status(wanted, Parameters::default())
    })?;
    let accepted = curious.accepted(request, "REQUEST_OK to TRACK_STATUS")?;
    let mut largest = None;
    if let Accepted::Request(ok) = &accepted {
        largest = ok.parameters.largest;
    }
    check(largest == Some(Location::new(1, 2)), || {
        format!("curious client: LARGEST_OBJECT is {largest:?}, expected 1.2")
    })?;
    let nobody = track(&name(&format!("moq-test/nobody/{}", run_id()?))?, "track")?;
    let request = curious.ask("TRACK_STATUS", move |session| {
        session.track_status(nobody, Parameters::default())
    })?;
    let error = curious.rejected(request, "REQUEST_ERROR to TRACK_STATUS", ANSWER)?;
    Ok(format!("LARGEST_OBJECT 1.2; unknown: {}", said(&error)))
}

/// Two subscribers cost the publisher one subscription.
pub(super) fn one_upstream_subscription(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("one-upstream-subscription")?;
    let content = test_track(NINE)?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    let mut other = bench.connect("other subscriber")?;
    let request = subscribe(&other, &name_of(&prefix, &content)?, Parameters::default())?;
    other.accepted(request, "SUBSCRIBE_OK")?;
    through
        .publisher
        .nothing("a second subscriber came", QUIET, |event| {
            matches!(
                event,
                Event::Request {
                    message: Message::Subscribe(_),
                    ..
                }
            )
        })?;
    through.play(&content)?;
    collect(&mut other, request, &content, ALL, None)?.whole_and_ended()?;
    Ok("both got all objects of one upstream subscription".to_owned())
}

/// Forward State 0 holds objects back until an update sets it to 1.
pub(super) fn forward_state(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("forward-state")?;
    let content = test_track(NINE)?;
    let parameters = Parameters {
        forward: Some(false),
        ..Parameters::default()
    };
    let mut through = Through::announced_with(bench, &prefix, &content, parameters)?;
    let (publisher, playing) = (&mut through.publisher, &mut through.playing);
    let upstream = playing.forward;
    playing.play_range(publisher, &content, groups(0, 0))?;
    let (subscriber, request) = (&mut through.subscriber, through.request);
    subscriber.nothing("Forward State 0", QUIET, |event| {
        matches!(event, Event::Object { .. } | Event::Datagram { .. })
    })?;
    let update = Parameters {
        forward: Some(true),
        ..Parameters::default()
    };
    updated(subscriber, request, update)?;
    playing.until_forward(publisher)?;
    playing.play_range(publisher, &content, groups(1, 1))?;
    collect(subscriber, request, &content, groups(1, 1), Some(QUIET))?.clean()?;
    Ok(format!(
        "nothing, and group 1 after the update; upstream began with Forward State {}",
        u8::from(upstream)
    ))
}

/// Of three groups exactly the one in the filter arrives.
pub(super) fn filter_absolute_range(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("filter-absolute-range")?;
    let content = test_track(NINE)?;
    let parameters = Parameters {
        filter: Some(Filter::AbsoluteRange {
            start: Location::new(1, 1),
            end_group: 1,
            end_object: None,
        }),
        ..Parameters::default()
    };
    let mut through = Through::announced_with(bench, &prefix, &content, parameters)?;
    through.playing.play(&mut through.publisher, &content)?;
    let range = LocationRange {
        start: Location::new(1, 1),
        end: Some(Location::new(1, u64::MAX)),
    };
    let collected = collect(
        &mut through.subscriber,
        through.request,
        &content,
        range,
        Some(QUIET),
    )?;
    collected.clean()?;
    Ok("exactly objects 1.1 and 1.2".to_owned())
}

/// A change of priority is agreed to and costs no object.
pub(super) fn update_priority(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("update-priority")?;
    let content = test_track(NINE)?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    let update = Parameters {
        subscriber_priority: Some(3),
        ..Parameters::default()
    };
    updated(&mut through.subscriber, through.request, update)?;
    through.play(&content)
}

/// Two publishers of one track: each object arrives once.
pub(super) fn multiple_publishers(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("multiple-publishers")?;
    let content = test_track(NINE)?;
    let wanted = name_of(&prefix, &content)?;
    let (first, _) = bench.announce("first publisher", &prefix)?;
    let (second, _) = bench.announce("second publisher", &prefix)?;
    let mut subscriber = bench.connect("subscriber")?;
    let request = subscribe(&subscriber, &wanted, Parameters::default())?;
    let mut playing: Vec<(Party, Playing)> = Vec::new();
    for mut publisher in [first, second] {
        // Whether a relay asks all of them is its own affair.
        if let Ok((upstream, parameters)) = asked_for(&mut publisher, &wanted) {
            let properties = content.properties();
            publisher.ask("SUBSCRIBE_OK", move |session| {
                session.accept_subscribe(upstream, Parameters::default(), properties)
            })?;
            let forward = parameters.forward.unwrap_or(true);
            playing.push((publisher, Playing::new(upstream, forward)));
        }
    }
    check(!playing.is_empty(), || {
        "no publisher was asked for the track".to_owned()
    })?;
    subscriber.accepted(request, "SUBSCRIBE_OK")?;
    for step in Plan::whole(content.clone()) {
        for (publisher, playing) in &mut playing {
            playing.send(publisher, step.clone())?;
        }
    }
    let asked = playing.len();
    for (publisher, playing) in &mut playing {
        let request = playing.request;
        std::mem::replace(playing, Playing::new(request, true)).finish(publisher)?;
    }
    let came = collect(&mut subscriber, request, &content, ALL, None)?.whole_and_ended()?;
    Ok(format!("{asked} of 2 publishers were asked; {came}"))
}

/// The publisher's session ends: its subscriber is told, or goes on with the next publisher.
pub(super) fn publisher_lost(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = prefix("publisher-lost")?;
    let content = test_track(NINE)?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    let (publisher, playing) = (&mut through.publisher, &mut through.playing);
    playing.play_range(publisher, &content, groups(0, 0))?;
    let (subscriber, request) = (&mut through.subscriber, through.request);
    collect(
        subscriber,
        request,
        &content,
        groups(0, 0),
        Some(Duration::ZERO),
    )?
    .clean()?;
    drop(through.publisher);
    let told = subscriber.wait("the end", QUIET, |event| match event {
        Event::PublishDone {
            request: of, code, ..
        } if *of == request => Some(format!("told by PUBLISH_DONE {code}")),
        Event::Cancelled { request: of, code } if *of == request => {
            Some(format!("told by a reset request, {code:?}"))
        }
        _ => None,
    });
    if let Ok(told) = told {
        return Ok(told);
    }
    let mut next = bench.connect("next publisher")?;
    announce(&mut next, &prefix)?;
    let mut playing = accept(&mut next, &name_of(&prefix, &content)?, &content)?;
    playing.play_range(&mut next, &content, groups(1, 1))?;
    collect(subscriber, request, &content, groups(1, 1), Some(QUIET))?.clean()?;
    Ok("held, and continued by the next publisher".to_owned())
}

fn largest_of(accepted: &Accepted) -> Option<Location> {
    if let Accepted::Subscribe(ok) = accepted {
        return ok.parameters.largest;
    }
    None
}

fn updated(party: &mut Party, request: RequestId, update: Parameters) -> Result<(), Fault> {
    party.ask("REQUEST_UPDATE", move |session| {
        session.update(request, update)
    })?;
    let answer = party.wait(
        "REQUEST_OK to REQUEST_UPDATE",
        ANSWER,
        |event| match event {
            Event::Updated {
                request: of,
                answer,
            } if *of == request => Some(answer.clone()),
            _ => None,
        },
    )?;
    answer
        .map(|_| ())
        .map_err(|error| Fault::failed("subscriber: the update was refused").received(said(&error)))
}
