//! PUBLISH_NAMESPACE and SUBSCRIBE_NAMESPACE.

use super::super::bench::{Bench, announce, name};
use super::super::fault::{Fault, check};
use super::super::party::{ANSWER, QUIET, run_id};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::Event;

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
    publisher.nothing("an announcement was withdrawn", QUIET, |_| true)?;
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
