//! PUBLISH: a track is offered without being asked for.

use super::super::bench::{Bench, announce, name, subscribe, track};
use super::super::fault::{Fault, check};
use super::super::flow::{ALL, Playing, collect};
use super::super::party::{Party, run_id};
use mainstem_core::moqt::moqtest::{Limits, TestTrack};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::{Accepted, Event};
use mainstem_core::moqt::{FullTrackName, RequestId};

/// Five objects in one group.
pub(super) const FEW: &str = "moq-test-00/0/0/0/0/4/5/64/32/2/1/1/0/-1/-1/0";
/// One object.
const ONE: &str = "moq-test-00/0/0/0/0/0/1/64/32/2/1/1/0/-1/-1/0";

pub(super) fn test_track(text: &str) -> Result<TestTrack, Fault> {
    TestTrack::from_text(text, &Limits::default()).map_err(|error| Fault::failed(error.to_string()))
}

/// Offers a track and waits for the relay's agreement, with the Forward State that it wants.
pub(super) fn offer(
    publisher: &mut Party,
    wanted: &FullTrackName,
    content: &TestTrack,
) -> Result<Playing, Fault> {
    let request = ask_to_publish(publisher, wanted, content)?;
    agreed(publisher, request)
}

/// Offers a track; the answer is still to come.
pub(super) fn ask_to_publish(
    publisher: &Party,
    wanted: &FullTrackName,
    content: &TestTrack,
) -> Result<RequestId, Fault> {
    let (wanted, properties) = (wanted.clone(), content.properties());
    publisher.ask("PUBLISH", move |session| {
        session.publish(wanted, Parameters::default(), properties)
    })
}

/// Waits for the relay's agreement to an offer.
pub(super) fn agreed(publisher: &mut Party, request: RequestId) -> Result<Playing, Fault> {
    let accepted = publisher.accepted(request, "PUBLISH_OK")?;
    let mut forward = true;
    if let Accepted::Request(ok) = &accepted {
        forward = ok.parameters.forward.unwrap_or(true);
    }
    Ok(Playing::new(request, forward))
}

/// The relay takes a track that nobody wants, and its end.
pub(super) fn track_only(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/publish/{}", run_id()?))?;
    let wanted = track(&namespace, "published-track")?;
    let content = test_track(ONE)?;
    let mut publisher = bench.connect("publisher")?;
    let mut playing = offer(&mut publisher, &wanted, &content)?;
    let forward = playing.forward;
    playing.play(&mut publisher, &content)?;
    playing.finish(&publisher)?;
    // The session is as good as before.
    announce(&mut publisher, &namespace)?;
    Ok(format!(
        "PUBLISH accepted with Forward State {}, ended",
        u8::from(forward)
    ))
}

/// A track that was offered before anybody wanted it reaches a later subscriber.
pub(super) fn track_subscribe(bench: &mut Bench) -> Result<String, Fault> {
    let namespace = name(&format!("moq-test/publish/{}", run_id()?))?;
    let wanted = track(&namespace, "published-track")?;
    let content = test_track(FEW)?;
    let mut publisher = bench.connect("publisher")?;
    let mut playing = offer(&mut publisher, &wanted, &content)?;
    let mut subscriber = bench.connect("subscriber")?;
    let request = subscribe(&subscriber, &wanted, Parameters::default())?;
    subscriber.accepted(request, "SUBSCRIBE_OK")?;
    playing.until_forward(&mut publisher)?;
    playing.play(&mut publisher, &content)?;
    playing.finish(&publisher)?;
    let collected = collect(&mut subscriber, request, &content, ALL, None)?;
    publisher.nothing(
        "a publisher whose track has ended",
        std::time::Duration::ZERO,
        |event| matches!(event, Event::Closed(_)),
    )?;
    check(collected.report.streams <= 1, || {
        format!(
            "subscriber: one stream was sent, {} came",
            collected.report.streams
        )
    })?;
    collected.whole_and_ended()
}
