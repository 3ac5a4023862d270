//! SUBSCRIBE: refused, held, and passed on to a publisher.

use super::super::bench::{Bench, asked_for, name, subscribe, track};
use super::super::fault::{Fault, check};
use super::super::party::{ANSWER, run_id, said};
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use std::time::{Duration, Instant};

/// How long a relay that holds a SUBSCRIBE by itself may do so.
const HELD: Duration = Duration::from_secs(4);
/// The rendezvous that is asked for.
const RENDEZVOUS_MS: u64 = 600;

/// Nobody publishes it: the relay says so.
pub(super) fn subscribe_error(bench: &mut Bench) -> Result<String, Fault> {
    let mut subscriber = bench.connect("subscriber")?;
    let wanted = track(&name("nonexistent/namespace")?, "test-track")?;
    let request = subscribe(&subscriber, &wanted, Parameters::default())?;
    let error = subscriber.rejected(request, "REQUEST_ERROR to SUBSCRIBE", HELD)?;
    Ok(said(&error))
}

/// A SUBSCRIBE with a rendezvous time-out is held for that long, and then refused for that reason.
pub(super) fn rendezvous_timeout(bench: &mut Bench) -> Result<String, Fault> {
    let mut subscriber = bench.connect("subscriber")?;
    let wanted = track(&name(&format!("moq-test/nobody/{}", run_id()?))?, "track")?;
    let parameters = Parameters {
        rendezvous_timeout_ms: Some(RENDEZVOUS_MS),
        ..Parameters::default()
    };
    let asked = Instant::now();
    let request = subscribe(&subscriber, &wanted, parameters)?;
    let error = subscriber.rejected(request, "REQUEST_ERROR TIMEOUT", HELD)?;
    let after = asked.elapsed();
    check(error.code == RequestCode::TIMEOUT, || {
        format!("subscriber: expected TIMEOUT, received {}", said(&error))
    })?;
    // A relay may give up sooner when it limits the wait, but not at once.
    let least = Duration::from_millis(RENDEZVOUS_MS / 2);
    check(after >= least, || {
        format!("subscriber: refused after {after:?}, asked to wait {RENDEZVOUS_MS} ms")
    })?;
    Ok(format!(
        "refused with TIMEOUT after {} ms",
        after.as_millis()
    ))
}

/// A SUBSCRIBE reaches the publisher that announced the namespace, and its answer comes back.
pub(super) fn announce_subscribe(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/interop/{}", run_id()?))?;
    let wanted = track(&namespace, "test-track")?;
    let (mut publisher, _) = bench.announce("publisher", &namespace)?;
    let mut subscriber = bench.connect("subscriber")?;
    let request = subscribe(&subscriber, &wanted, Parameters::default())?;
    let (upstream, _) = asked_for(&mut publisher, &wanted)?;
    publisher.ask("SUBSCRIBE_OK", move |session| {
        session.accept_subscribe(upstream, Parameters::default(), Properties::EMPTY)
    })?;
    subscriber.accepted(request, "SUBSCRIBE_OK")?;
    Ok("SUBSCRIBE reached the publisher, SUBSCRIBE_OK the subscriber".to_owned())
}

/// A SUBSCRIBE comes before its publisher. The relay may hold it or refuse it, and must say which.
pub(super) fn subscribe_before_announce(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/interop/{}", run_id()?))?;
    let wanted = track(&namespace, "test-track")?;
    let mut subscriber = bench.connect("subscriber")?;
    let request = subscribe(&subscriber, &wanted, Parameters::default())?;
    std::thread::sleep(Duration::from_millis(500));
    let (mut publisher, _) = bench.announce("publisher", &namespace)?;
    if let Ok((upstream, _)) = asked_for(&mut publisher, &wanted) {
        publisher.ask("SUBSCRIBE_OK", move |session| {
            session.accept_subscribe(upstream, Parameters::default(), Properties::EMPTY)
        })?;
    }
    match subscriber.answer(request, "an answer to SUBSCRIBE", ANSWER)? {
        Ok(_) => Ok("held until the publisher came".to_owned()),
        Err(error) => Ok(format!("not held: {}", said(&error))),
    }
}
