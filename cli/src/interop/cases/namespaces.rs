//! PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS.

use super::super::bench::{Bench, announce, name, track};
use super::super::fault::{Fault, check};
use super::super::flow::{ALL, collect};
use super::super::party::{ANSWER, Party, QUIET, run_id};
use super::publish::{FEW, agreed, ask_to_publish, offer, test_track};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::message::{Message, RequestOk};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::Event;
use mainstem_core::moqt::{FullTrackName, RequestId};

/// The relay takes an announcement.
pub(super) fn announce_only(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/interop/{}", run_id()?))?;
    bench.announce("publisher", &namespace)?;
    Ok("PUBLISH_NAMESPACE accepted".to_owned())
}

/// An announcement is withdrawn; the session goes on and may announce again.
pub(super) fn publish_namespace_done(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/interop/{}", run_id()?))?;
    let (mut publisher, request) = bench.announce("publisher", &namespace)?;
    publisher.ask("the withdrawal", move |session| {
        session.cancel(request, StreamCode::CANCELLED)
    })?;
    // Streams are not ordered: only a pause lets the relay see the withdrawal first.
    publisher.nothing("an announcement was withdrawn", QUIET, |_| false)?;
    announce(&mut publisher, &namespace)?;
    Ok("withdrawn, and announced again in the same session".to_owned())
}

/// NAMESPACE when a namespace is announced, NAMESPACE_DONE when it is withdrawn.
pub(super) fn lifecycle(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/interop/{}", run_id()?))?;
    let mut subscriber = bench.connect("subscriber")?;
    let prefix = namespace.clone();
    let watch = subscriber.ask("SUBSCRIBE_NAMESPACE", move |session| {
        session.subscribe_namespace(prefix, Parameters::default())
    })?;
    subscriber.accepted(watch, "REQUEST_OK to SUBSCRIBE_NAMESPACE")?;
    let (publisher, request) = bench.announce("publisher", &namespace)?;
    let suffix = subscriber.wait("NAMESPACE", ANSWER, |event| match event {
        Event::Namespace { request, suffix } if *request == watch => Some(suffix.clone()),
        _ => None,
    })?;
    check(suffix.is_empty(), || {
        format!("subscriber: NAMESPACE has suffix {suffix}, expected none")
    })?;
    publisher.ask("the withdrawal", move |session| {
        session.cancel(request, StreamCode::CANCELLED)
    })?;
    let suffix = subscriber.wait("NAMESPACE_DONE", ANSWER, |event| match event {
        Event::NamespaceDone { request, suffix } if *request == watch => Some(suffix.clone()),
        _ => None,
    })?;
    check(suffix.is_empty(), || {
        format!("subscriber: NAMESPACE_DONE has suffix {suffix}, expected none")
    })?;
    Ok("NAMESPACE, then NAMESPACE_DONE".to_owned())
}

/// A subscriber that knows a prefix is offered the track below it, one that was there before it
/// asked and one that came later.
pub(super) fn discovery(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/interop/{}", run_id()?))?;
    let content = test_track(FEW)?;
    let mut publisher = bench.connect("publisher")?;
    announce(&mut publisher, &namespace)?;
    offer(&mut publisher, &track(&namespace, "before")?, &content)?;
    let mut subscriber = bench.connect("subscriber")?;
    let prefix = namespace.clone();
    let watch = subscriber.ask("SUBSCRIBE_TRACKS", move |session| {
        session.subscribe_tracks(prefix, Parameters::default())
    })?;
    subscriber.accepted(watch, "REQUEST_OK to SUBSCRIBE_TRACKS")?;
    take_offer(&mut subscriber, &track(&namespace, "before")?)?;
    let late = track(&namespace, "after")?;
    // The relay may ask its subscriber before it agrees itself.
    let request = ask_to_publish(&publisher, &late, &content)?;
    let offered = take_offer(&mut subscriber, &late)?;
    let mut playing = agreed(&mut publisher, request)?;
    playing.until_forward(&mut publisher)?;
    playing.play(&mut publisher, &content)?;
    playing.finish(&publisher)?;
    let came = collect(&mut subscriber, offered, &content, ALL, None)?.whole_and_ended()?;
    Ok(format!("offered both; {came}"))
}

/// Waits for the relay's PUBLISH of a track and agrees to it.
fn take_offer(subscriber: &mut Party, wanted: &FullTrackName) -> Result<RequestId, Fault> {
    let what = format!("PUBLISH of the track {}", wanted.name);
    let (request, ()) = subscriber.requested(&what, |message| match message {
        Message::Publish(publish) if publish.track == *wanted => Some(()),
        _ => None,
    })?;
    subscriber.ask("PUBLISH_OK", move |session| {
        session.accept(request, RequestOk::default())
    })?;
    Ok(request)
}
