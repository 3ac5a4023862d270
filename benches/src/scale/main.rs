//! What a subscribe costs a relay that knows many tracks and namespaces.
//!
//! A relay machine and its peers are joined in memory, without QUIC: what is measured is the relay's
//! own work from SUBSCRIBE to SUBSCRIBE_OK and back to nothing, for tracks that are published and
//! for tracks below namespaces that are announced. Each size is measured in rounds, of which the
//! median counts; the ratio of large to small is what the answer is. Exits with 1 when a ratio
//! passes `--ratio-max`.
//!
//! Look-ups are in ordered maps and tries, so that a thousandfold of tracks costs a few steps more;
//! a scan anywhere would show as a ratio of hundreds.
//!
//! Units: microseconds. Run it built for release.

#![expect(clippy::print_stdout, reason = "the measurement is what it prints")]

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::message::Message;
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackName, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::session::{self, Event, Sessions};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Input, Opened, Origin, Output, SessionId, Side, StreamEvent, StreamId,
    Target,
};

/// Measures what a subscribe costs beside many tracks and namespaces.
#[derive(Parser)]
struct Options {
    /// Tracks of the small and the large relay.
    #[arg(long, num_args = 2, default_values_t = [100, 100_000])]
    tracks: Vec<usize>,
    /// Namespaces of the small and the large relay.
    #[arg(long, num_args = 2, default_values_t = [10, 10_000])]
    namespaces: Vec<usize>,
    /// Subscribes in a round.
    #[arg(long, default_value_t = 200)]
    subscribes: usize,
    /// Rounds.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// The largest ratio that is still no slowdown.
    #[arg(long, default_value_t = 3.0)]
    ratio_max: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut worst = 0.0_f64;
    for (what, sizes, is_announced) in [
        ("tracks", &options.tracks, false),
        ("namespaces", &options.namespaces, true),
    ] {
        let mut costs = Vec::new();
        // As many different ones at each size, spread over all: what the relay does once per track
        // must not count more where there are more.
        let distinct = sizes.iter().copied().min().unwrap_or(1).max(1);
        for size in sizes {
            let mut world = World::new(*size, is_announced)?;
            let cost = world.measure(&options, distinct)?;
            println!("{size:>7} {what}: {cost:.1} us per subscribe");
            costs.push(cost);
        }
        if let [small, large] = costs[..] {
            println!("  ratio: {:.2}", large / small);
            worst = worst.max(large / small);
        }
    }
    if worst > options.ratio_max {
        bail!(
            "a ratio of {worst:.2} passes the largest allowed, {}",
            options.ratio_max
        );
    }
    Ok(())
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const PUBLISHER: SessionId = SessionId(1);
const VIEWER: SessionId = SessionId(2);

/// A relay with a publisher and a viewer.
struct World {
    relay: Relay,
    peers: Sessions,
    size: usize,
    is_announced: bool,
}

impl World {
    fn new(size: usize, is_announced: bool) -> Result<Self> {
        let mut sessions = session::Config {
            sessions_max: 4,
            ..session::Config::default()
        };
        sessions.limits.requests_max = size.saturating_add(16);
        sessions.limits.incoming_streams_max = size.saturating_add(16);
        let config = Config {
            sessions: sessions.clone(),
            tracks_max: size.saturating_add(16),
            ..Config::default()
        };
        let mut world = Self {
            relay: Relay::new(config, Policy::Open),
            peers: Sessions::new(sessions),
            size,
            is_announced,
        };
        for session in [PUBLISHER, VIEWER] {
            world.open(session);
        }
        world.settle()?;
        for index in 0..size {
            let name = name(index)?;
            let publisher = world.peers.session_mut(PUBLISHER).context("no publisher")?;
            if is_announced {
                publisher.publish_namespace(name.namespace, Parameters::default())?;
            } else {
                publisher.publish(name, Parameters::default(), Properties::default())?;
            }
            world.settle()?;
        }
        Ok(world)
    }

    fn open(&mut self, session: SessionId) {
        let target = Target {
            authority: "relay.test".to_owned(),
            path: "/".to_owned(),
        };
        let opened = |side| Opened {
            side,
            carrier: Carrier::WebTransport,
            protocol: "moqt-22".to_owned(),
            target: Some(target.clone()),
            remote: ([192, 0, 2, 1], 4443).into(),
        };
        let of = |side| Input::Opened {
            session,
            opened: opened(side),
        };
        self.relay.handle(NOW, of(Side::Server));
        self.peers.handle(NOW, of(Side::Client));
    }

    /// The median over rounds of one subscribe's cost, in microseconds.
    fn measure(&mut self, options: &Options, distinct: usize) -> Result<f64> {
        let mut rounds = Vec::new();
        for round in 0..options.rounds.max(1) {
            let begun = std::time::Instant::now();
            for turn in 0..options.subscribes.max(1) {
                let index = (round * 7919 + turn * 104_729) % distinct * (self.size / distinct);
                self.subscribe(name(index)?)?;
            }
            let micros = begun.elapsed().as_secs_f64() * 1e6;
            rounds.push(micros / u32::try_from(options.subscribes.max(1)).map_or(1.0, f64::from));
        }
        rounds.sort_by(f64::total_cmp);
        Ok(rounds[rounds.len() / 2])
    }

    fn subscribe(&mut self, name: FullTrackName) -> Result<()> {
        let viewer = self.peers.session_mut(VIEWER).context("no viewer")?;
        let request = viewer.subscribe(name, Parameters::default())?;
        let accepted = self.settle()?;
        if !accepted.contains(&request) {
            bail!("a subscribe was not accepted");
        }
        let viewer = self.peers.session_mut(VIEWER).context("no viewer")?;
        viewer.cancel(request, StreamCode::CANCELLED)?;
        self.settle()?;
        Ok(())
    }

    /// Delivers until nothing moves. Returns what the viewer was accepted.
    fn settle(&mut self) -> Result<Vec<RequestId>> {
        let mut accepted = Vec::new();
        loop {
            let mut moved = false;
            while let Some(output) = self.peers.poll_output() {
                moved = true;
                deliver(output, |input| self.relay.handle(NOW, input));
            }
            while let Some(action) = self.relay.poll() {
                moved = true;
                if let Action::Transport(output) = action {
                    deliver(output, |input| self.peers.handle(NOW, input));
                }
            }
            while let Some((session, event)) = self.peers.poll_event() {
                moved = true;
                match event {
                    Event::Accepted { request, .. } if session == VIEWER => accepted.push(request),
                    Event::Rejected { error, .. } => {
                        bail!("refused with {}: {}", error.code, error.reason)
                    }
                    Event::Request { request, message } => {
                        self.answer(session, request, &message)?;
                    }
                    Event::Update { request, .. } => {
                        let peer = self.peers.session_mut(session).context("no peer")?;
                        // The update of a request that is over needs no answer.
                        let _ = peer.accept_update(request, <_>::default());
                    }
                    _ => {}
                }
            }
            if !moved {
                return Ok(accepted);
            }
        }
    }

    fn answer(&mut self, session: SessionId, request: RequestId, message: &Message) -> Result<()> {
        if matches!(message, Message::Subscribe(_)) && self.is_announced {
            let publisher = self.peers.session_mut(session).context("no publisher")?;
            publisher.accept_subscribe(request, Parameters::default(), Properties::default())?;
        }
        Ok(())
    }
}

/// Carries one output to the other end of its session.
fn deliver(output: Output, mut hand: impl FnMut(Input)) {
    let mut event = |session, stream, event| {
        hand(Input::Stream {
            session,
            stream: flip(stream),
            event,
        });
    };
    match output {
        Output::Write {
            session,
            stream,
            head,
            body,
            fin,
            ..
        } => {
            let mut bytes = BytesMut::from(&head[..]);
            body.pieces()
                .iter()
                .for_each(|piece| bytes.put_slice(piece));
            let data: Bytes = bytes.freeze();
            if !data.is_empty() {
                event(session, stream, StreamEvent::Data(data));
            }
            if fin {
                event(session, stream, StreamEvent::Finished);
            }
        }
        Output::Reset {
            session,
            stream,
            code,
        } => event(session, stream, StreamEvent::Reset(code)),
        Output::Stop {
            session,
            stream,
            code,
        } => event(session, stream, StreamEvent::Stopped(code)),
        Output::Open { .. }
        | Output::SetPriority { .. }
        | Output::Allow { .. }
        | Output::Datagram { .. }
        | Output::Close { .. } => {}
    }
}

fn flip(stream: StreamId) -> StreamId {
    let origin = match stream.origin() {
        Origin::Local => Origin::Peer,
        Origin::Peer => Origin::Local,
    };
    StreamId::new(origin, stream.direction(), stream.index())
}

/// The track of that number, each in a namespace of its own.
fn name(index: usize) -> Result<FullTrackName> {
    let namespace = TrackNamespace::from_path(&format!("stream/org_{}/lv_{index}", index % 97))?;
    Ok(FullTrackName::new(
        namespace,
        TrackName(Bytes::from_static(b"video")),
    )?)
}
