//! Test tracks through the relay, each object looked at.

use super::super::bench::{Bench, asked_for, name, subscribe};
use super::super::fault::{Fault, check};
use super::super::flow::{ALL, Playing, collect};
use super::super::party::{Party, run_id};
use super::publish::{offer, test_track};
use mainstem_core::moqt::FullTrackName;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::filter::{Filter, GroupOrder};
use mainstem_core::moqt::moqtest::TestTrack;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::Event;
use mainstem_core::moqt::{RequestId, TrackNamespace};

/// How long a relay is asked to hold a SUBSCRIBE until the track is offered.
const RENDEZVOUS_MS: u64 = 4_000;

/// Three groups of five objects, announced first and then asked for.
pub(super) fn subgroup_basic(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = name(&format!("moq-test/data-subgroup-basic/{}", run_id()?))?;
    let content = test_track("moq-test-00/0/0/0/2/4/5/64/32/2/1/1/0/-1/-1/0")?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    through.play(&content)
}

/// The end-of-group marker travels with each group.
pub(super) fn subgroup_per_group_marked(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/0/0/0/2/5/5/64/32/2/1/1/1/-1/-1/0")
}

/// Each object has a stream of its own.
pub(super) fn subgroup_per_object(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/1/0/0/1/3/4/64/32/2/1/1/0/-1/-1/0")
}

/// Two streams a group, the marker on one of them.
pub(super) fn two_subgroups_marked(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/2/0/0/2/6/6/64/32/2/1/1/1/-1/-1/0")
}

/// Each object in a datagram.
pub(super) fn datagram(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/3/0/0/2/4/5/64/32/20/1/1/0/-1/-1/0")
}

/// The end-of-group marker in a datagram.
pub(super) fn datagram_marked(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/3/0/0/2/5/5/64/32/20/1/1/1/-1/-1/0")
}

/// Properties that the relay knows nothing of travel with each object.
pub(super) fn extensions(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/0/0/0/2/5/5/64/32/2/1/1/1/1/2/0")
}

/// Numbers with gaps.
pub(super) fn increments(bench: &mut Bench) -> Result<String, Fault> {
    pending(bench, "moq-test-00/0/10/3/24/7/3/40/24/2/7/2/0/-1/-1/0")
}

/// Objects larger than what a connection's windows begin with.
pub(super) fn large_objects(bench: &mut Bench) -> Result<String, Fault> {
    let prefix = name(&format!("moq-test/data-large-objects/{}", run_id()?))?;
    let content = test_track("moq-test-00/0/0/0/1/3/4/1500000/200000/10/1/1/0/-1/-1/0")?;
    let mut through = Through::announced(bench, &prefix, &content)?;
    through.play(&content)
}

/// A subscriber that wants no objects gets none, and the end of the track.
pub(super) fn forward_zero(bench: &mut Bench) -> Result<String, Fault> {
    let content = test_track("moq-test-00/0/0/0/1/2/3/64/32/2/1/1/0/-1/-1/0")?;
    let parameters = Parameters {
        forward: Some(false),
        ..Parameters::default()
    };
    let mut through = Through::pending(bench, &content, parameters)?;
    let forward = through.playing.forward;
    through.playing.play(&mut through.publisher, &content)?;
    through.playing.finish(&through.publisher)?;
    let (request, mut subscriber) = (through.request, through.subscriber);
    let is_data = move |event: &Event| match event {
        Event::Object { request: of, .. } | Event::Datagram { request: of, .. } => *of == request,
        _ => false,
    };
    let mut came = 0;
    let code = subscriber.wait("PUBLISH_DONE", super::super::flow::DELIVERY, |event| {
        came += u32::from(is_data(event));
        match event {
            Event::PublishDone {
                request: of, code, ..
            } if *of == request => Some(*code),
            _ => None,
        }
    })?;
    check(code == PublishDoneCode::TRACK_ENDED, || {
        format!("subscriber: expected TRACK_ENDED, received {code}")
    })?;
    check(came == 0, || {
        format!("subscriber: asked for no objects and got {came}")
    })?;
    Ok(format!(
        "no objects, PUBLISH_DONE TRACK_ENDED; the publisher's Forward State was {}",
        u8::from(forward)
    ))
}

/// Subscribes first, offers the track then.
fn pending(bench: &mut Bench, text: &str) -> Result<String, Fault> {
    let content = test_track(text)?;
    let mut through = Through::pending(bench, &content, Parameters::default())?;
    through.playing.until_forward(&mut through.publisher)?;
    through.play(&content)
}

/// A test track between two ends of the relay, agreed and not begun.
pub(super) struct Through {
    pub(super) publisher: Party,
    pub(super) subscriber: Party,
    pub(super) playing: Playing,
    pub(super) request: RequestId,
}

impl Through {
    /// The publisher announces; the relay asks it when a subscriber has come.
    pub(super) fn announced(
        bench: &mut Bench,
        prefix: &TrackNamespace,
        content: &TestTrack,
    ) -> Result<Self, Fault> {
        let parameters = Parameters {
            group_order: Some(GroupOrder::Ascending),
            ..Parameters::default()
        };
        Self::announced_with(bench, prefix, content, parameters)
    }

    /// The same, with the subscriber's own wishes.
    pub(super) fn announced_with(
        bench: &mut Bench,
        prefix: &TrackNamespace,
        content: &TestTrack,
        parameters: Parameters,
    ) -> Result<Self, Fault> {
        let wanted = name_of(prefix, content)?;
        let (mut publisher, _) = bench.announce("publisher", prefix)?;
        let mut subscriber = bench.connect("subscriber")?;
        let request = subscribe(&subscriber, &wanted, parameters)?;
        let playing = accept(&mut publisher, &wanted, content)?;
        subscriber.accepted(request, "SUBSCRIBE_OK")?;
        Ok(Self {
            publisher,
            subscriber,
            playing,
            request,
        })
    }

    /// The subscriber waits; the publisher offers the track. A draft without rendezvous has the
    /// offer first.
    fn pending(
        bench: &mut Bench,
        content: &TestTrack,
        parameters: Parameters,
    ) -> Result<Self, Fault> {
        let wanted = name_of(&TrackNamespace::default(), content)?;
        let wanted = FullTrackName {
            name: format!("track-{}", run_id()?).into(),
            ..wanted
        };
        let mut subscriber = bench.connect("subscriber")?;
        let can_wait = subscriber.draft().number() >= 18;
        let parameters = Parameters {
            rendezvous_timeout_ms: can_wait.then_some(RENDEZVOUS_MS),
            ..parameters
        };
        let mut publisher = None;
        if !can_wait {
            let mut party = bench.connect("publisher")?;
            let playing = offer(&mut party, &wanted, content)?;
            publisher = Some((party, playing));
        }
        let request = subscribe(&subscriber, &wanted, parameters)?;
        let (publisher, playing) = if let Some(ready) = publisher {
            ready
        } else {
            // So that the relay sees the SUBSCRIBE first.
            std::thread::sleep(std::time::Duration::from_millis(150));
            let mut party = bench.connect("publisher")?;
            let playing = offer(&mut party, &wanted, content)?;
            (party, playing)
        };
        subscriber.accepted(request, "SUBSCRIBE_OK")?;
        Ok(Self {
            publisher,
            subscriber,
            playing,
            request,
        })
    }

    /// Plays everything, and passes when exactly that arrives.
    pub(super) fn play(&mut self, content: &TestTrack) -> Result<String, Fault> {
        self.playing.play(&mut self.publisher, content)?;
        let request = self.playing.request;
        let playing = std::mem::replace(&mut self.playing, Playing::new(request, true));
        playing.finish(&self.publisher)?;
        let collected = collect(&mut self.subscriber, self.request, content, ALL, None)?;
        collected.whole_and_ended()
    }
}

/// The track that `content` is, below `prefix`.
pub(super) fn name_of(
    prefix: &TrackNamespace,
    content: &TestTrack,
) -> Result<FullTrackName, Fault> {
    let failed = |error: mainstem_core::moqt::name::NameError| Fault::failed(error.to_string());
    let namespace = content.namespace_below(prefix).map_err(failed)?;
    FullTrackName::new(namespace, "track".into()).map_err(failed)
}

/// Waits for the relay's SUBSCRIBE and agrees to it.
pub(super) fn accept(
    publisher: &mut Party,
    wanted: &FullTrackName,
    content: &TestTrack,
) -> Result<Playing, Fault> {
    let (request, parameters) = asked_for(publisher, wanted)?;
    let properties = content.properties();
    publisher.ask("SUBSCRIBE_OK", move |session| {
        session.accept_subscribe(request, Parameters::default(), properties)
    })?;
    let mut playing = Playing::new(request, parameters.forward.unwrap_or(true));
    playing.range = parameters.filter.unwrap_or(Filter::None).resolve(None);
    Ok(playing)
}
