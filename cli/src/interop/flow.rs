//! The two ends of a test track: playing it to a subscription, and collecting what arrives.

use super::fault::{Fault, check};
use super::party::{Party, summary};
use mainstem_core::moqt::RequestId;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::filter::LocationRange;
use mainstem_core::moqt::message::RequestOk;
use mainstem_core::moqt::moqtest::{Limits, Plan, Report, Scoreboard, Step, TestTrack};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::{CommandError, Event, StreamEnd};
use mainstem_core::transport::StreamId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long all objects of a case may take.
pub(crate) const DELIVERY: Duration = Duration::from_secs(5);

/// A relay that has said nothing for so long has said what it wants.
const SETTLED: Duration = Duration::from_millis(150);

/// Every place.
pub(crate) const ALL: LocationRange = LocationRange {
    start: Location::ZERO,
    end: None,
};

/// A subscription that a party publishes to.
pub(crate) struct Playing {
    pub(crate) request: RequestId,
    pub(crate) forward: bool,
    /// How often the relay changed it.
    pub(crate) updates: usize,
    /// What the relay asked for.
    pub(crate) range: LocationRange,
    streams: BTreeMap<(u64, u64), StreamId>,
}

impl Playing {
    /// A subscription in this Forward State.
    pub(crate) fn new(request: RequestId, forward: bool) -> Self {
        Self {
            request,
            forward,
            updates: 0,
            range: ALL,
            streams: BTreeMap::new(),
        }
    }

    /// Answers the relay's updates that have come, and fails when it gave the subscription up.
    pub(crate) fn follow(&mut self, party: &mut Party, limit: Duration) -> Result<(), Fault> {
        let request = self.request;
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let update = party.wait("an update", left, |event| match event {
                Event::Update {
                    request: of,
                    parameters,
                    ..
                } if *of == request => Some(Ok(parameters.clone())),
                Event::Cancelled { request: of, code } if *of == request => Some(Err(*code)),
                _ => None,
            });
            match update {
                Ok(Ok(parameters)) => self.update(party, &parameters)?,
                Ok(Err(code)) => {
                    return Err(Fault::failed(format!(
                        "{}: the relay gave its subscription up ({code:?})",
                        party.role()
                    )));
                }
                // Nothing came, or the session is over: then the next command says so.
                Err(_) => return Ok(()),
            }
        }
    }

    fn update(&mut self, party: &mut Party, parameters: &Parameters) -> Result<(), Fault> {
        let request = self.request;
        self.updates += 1;
        self.forward = parameters.forward.unwrap_or(self.forward);
        party.ask("REQUEST_OK to REQUEST_UPDATE", move |session| {
            session.accept_update(request, RequestOk::default())
        })
    }

    /// Waits until the relay wants objects, and has nothing more to say about it: it may have sent
    /// Forward State 0 before a subscriber came, and 1 after.
    pub(crate) fn until_forward(&mut self, party: &mut Party) -> Result<(), Fault> {
        let deadline = Instant::now() + super::party::ANSWER;
        loop {
            let before = self.updates;
            self.follow(party, SETTLED)?;
            let is_settled = self.forward && self.updates == before;
            if is_settled || Instant::now() >= deadline {
                break;
            }
        }
        check(self.forward, || {
            "publisher: the relay has a subscriber and left the Forward State at 0".to_owned()
        })
    }

    /// Plays all steps at the track's pace.
    pub(crate) fn play(&mut self, party: &mut Party, track: &TestTrack) -> Result<(), Fault> {
        self.play_range(party, track, self.range)
    }

    /// Plays the steps within a range.
    pub(crate) fn play_range(
        &mut self,
        party: &mut Party,
        track: &TestTrack,
        range: LocationRange,
    ) -> Result<(), Fault> {
        let pace = Duration::from_millis(track.interval_ms);
        for step in Plan::new(track.clone(), range) {
            self.follow(party, Duration::ZERO)?;
            if self.forward {
                self.send(party, step)?;
            }
            std::thread::sleep(pace);
        }
        Ok(())
    }

    /// Plays the steps of a part of the track, and leaves a subgroup open that goes on after it.
    pub(crate) fn play_part(
        &mut self,
        party: &mut Party,
        track: &TestTrack,
        part: LocationRange,
    ) -> Result<(), Fault> {
        for step in Plan::new(track.clone(), ALL) {
            let at = Location::new(step.object.group, step.object.object);
            if part.contains(at) {
                self.follow(party, Duration::ZERO)?;
                self.send(party, step)?;
            }
        }
        Ok(())
    }

    /// Sends one object.
    pub(crate) fn send(&mut self, party: &Party, step: Step) -> Result<(), Fault> {
        let request = self.request;
        let Some(header) = step.header else {
            return party.ask("a datagram", move |session| {
                session.send_datagram(request, &step.object)
            });
        };
        let key = (step.object.group, step.object.subgroup.unwrap_or(0));
        let open = self.streams.get(&key).copied();
        let ends = step.ends;
        let stream = party.ask("an object", move |session| {
            let stream = match open {
                Some(stream) => stream,
                None => session.open_subgroup(request, header, 0)?,
            };
            match session.send_object(stream, &step.object, step.ends, false) {
                // The relay stopped the stream, which it may.
                Ok(()) | Err(CommandError::UnknownStream(_)) => Ok(stream),
                Err(error) => Err(error),
            }
        })?;
        if ends {
            self.streams.remove(&key);
        } else {
            self.streams.insert(key, stream);
        }
        Ok(())
    }

    /// Ends the track.
    pub(crate) fn finish(self, party: &Party) -> Result<(), Fault> {
        let request = self.request;
        party.ask("PUBLISH_DONE", move |session| {
            session.publish_done(request, PublishDoneCode::TRACK_ENDED, "track ended")
        })
    }
}

/// What a subscription got.
pub(crate) struct Collected {
    pub(crate) report: Report,
    /// Why the publisher ended it, if it has.
    pub(crate) done: Option<PublishDoneCode>,
    /// Whether the relay gave it up without saying why.
    pub(crate) is_cancelled: bool,
}

impl Collected {
    /// Passes when everything came, and then the end of the track.
    pub(crate) fn whole_and_ended(self) -> Result<String, Fault> {
        let objects = self.clean()?;
        match self.done {
            Some(PublishDoneCode::TRACK_ENDED) => {}
            Some(code) => {
                return Err(
                    Fault::failed("subscriber: another end than the publisher's")
                        .expected("PUBLISH_DONE TRACK_ENDED")
                        .received(format!("PUBLISH_DONE {code}")),
                );
            }
            None => {
                let came = if self.is_cancelled {
                    format!("{objects}, then the request was reset")
                } else {
                    objects
                };
                return Err(Fault::failed("subscriber: the track did not end")
                    .expected("PUBLISH_DONE TRACK_ENDED")
                    .received(came));
            }
        }
        Ok(format!("{objects}, then PUBLISH_DONE TRACK_ENDED"))
    }

    /// Passes when exactly the expected objects came.
    pub(crate) fn clean(&self) -> Result<String, Fault> {
        let report = &self.report;
        let came = format!("{} objects on {} streams", report.objects, report.streams);
        if report.is_clean() {
            return Ok(came);
        }
        let first = report.problems.iter().take(3).cloned();
        let first: Vec<String> = first.collect();
        Err(Fault::failed(format!(
            "subscriber: {} deviations: {}",
            report.problems_count,
            first.join("; ")
        ))
        .received(came))
    }
}

/// Collects a subscription until the publisher ends it, or, with `quiet`, until it is complete and
/// nothing more has come for that long.
pub(crate) fn collect(
    party: &mut Party,
    request: RequestId,
    track: &TestTrack,
    range: LocationRange,
    quiet: Option<Duration>,
) -> Result<Collected, Fault> {
    let mut board = Scoreboard::new(track.clone(), range, Limits::default());
    let deadline = Instant::now() + DELIVERY;
    let (mut done, mut is_cancelled) = (None, false);
    let mut others = Vec::new();
    loop {
        let until = match quiet {
            Some(quiet) if board.is_complete() => deadline.min(Instant::now() + quiet),
            _ => deadline,
        };
        let Some(event) = party.next_event(until) else {
            break;
        };
        match event {
            Event::Object {
                request: of,
                stream,
                object,
                ..
            } if of == request => board.add(Some(stream), &object),
            Event::Datagram {
                request: of,
                object,
            } if of == request => board.add(None, &object),
            Event::SubgroupEnded {
                request: of,
                stream,
                end,
                ..
            } if of == request => board.end_stream(stream, end == StreamEnd::Finished),
            Event::PublishDone {
                request: of, code, ..
            } if of == request => {
                done = Some(code);
                break;
            }
            Event::Cancelled { request: of, .. } if of == request => {
                is_cancelled = true;
                break;
            }
            Event::Closed(_) => {
                return Err(Fault::failed("subscriber: session ended amid objects")
                    .received(summary(&event)));
            }
            other => others.push(other),
        }
    }
    party.keep(others);
    let report = board.finish();
    Ok(Collected {
        report,
        done,
        is_cancelled,
    })
}
