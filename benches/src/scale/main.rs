//! What the relay machine alone costs, without QUIC: requests on a small and on a large relay, and
//! objects to many viewers.
//!
//! `requests` asks the same of a relay with few tracks and namespaces and of one with a thousand times
//! as many, and prints the ratio of the times: nothing may be looked for by a walk, so it is near 1.
//! The median of many repetitions counts, and the two relays take turns, so that a busy machine
//! disturbs both alike.
//!
//! `objects` sends objects of eight packets to N viewers, and prints what the
//! machine takes per object and viewer. With `--rounds` it does so under a profiler for as long as is
//! wanted: `valgrind --tool=callgrind scale objects`.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the result is what this program is for"
)]

mod pair;

use anyhow::Context;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::message::{Message, RequestOk};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{Object, SubgroupHeader};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Event, Session};
use mainstem_core::payload::Payload;
use mainstem_core::transport::SessionId;
use pair::Pair;
use std::time::Duration;

/// Requests of one session.
const PER_SESSION: usize = 1000;
/// Bytes of an object, and of the pieces that it arrives in.
const OBJECT: usize = 10_417;
const PIECE: usize = 1_200;

/// Measure the relay machine.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// MoQT version
    #[arg(long, default_value = "moqt-18", global = true)]
    protocol: String,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Requests on a small and a large relay
    Requests {
        /// Tracks of the small and the large one
        #[arg(long, value_delimiter = ',', default_value = "100,100000")]
        tracks: Vec<usize>,
        /// Namespaces that are announced there
        #[arg(long, value_delimiter = ',', default_value = "10,10000")]
        namespaces: Vec<usize>,
        /// Repetitions
        #[arg(long, default_value_t = 2000)]
        rounds: usize,
        /// Fail when the large one takes so many times as long
        #[arg(long, default_value_t = 4.0)]
        ratio_max: f64,
    },
    /// Objects to many viewers
    Objects {
        /// How many
        #[arg(long, default_value_t = 200)]
        viewers: usize,
        /// Objects, 30 a group
        #[arg(long, default_value_t = 300)]
        rounds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.what {
        What::Requests {
            tracks,
            namespaces,
            rounds,
            ratio_max,
        } => {
            let mut relays = Vec::new();
            for (tracks, namespaces) in tracks.into_iter().zip(namespaces) {
                relays.push(Full::new(&arguments.protocol, tracks, namespaces)?);
            }
            compare(&mut relays, rounds, ratio_max)
        }
        What::Objects { viewers, rounds } => objects(&arguments.protocol, viewers, rounds),
    }
}

/// A relay with tracks and namespaces, and a peer that asks.
struct Full {
    pair: Pair,
    tracks: usize,
    namespaces: usize,
    asker: SessionId,
    publisher: SessionId,
    asked: usize,
}

type Ask = fn(&mut Full) -> anyhow::Result<()>;

const KINDS: [(&str, Ask); 4] = [
    ("SUBSCRIBE, one track, and cancel", Full::subscribe_again),
    ("SUBSCRIBE, any track, and cancel", Full::subscribe),
    ("PUBLISH_NAMESPACE and cancel", Full::publish_namespace),
    ("SUBSCRIBE_NAMESPACE and cancel", Full::subscribe_namespace),
];

fn compare(relays: &mut [Full], rounds: usize, ratio_max: f64) -> anyhow::Result<()> {
    println!("median time of the relay machine, microseconds");
    for (name, ask) in KINDS {
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); relays.len()];
        for _ in 0..rounds {
            for (relay, times) in relays.iter_mut().zip(&mut times) {
                relay.pair.take_spent();
                ask(relay)?;
                times.push(relay.pair.take_spent());
            }
        }
        let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
        for (relay, median) in relays.iter().zip(&medians) {
            let (tracks, namespaces) = (relay.tracks, relay.namespaces);
            println!("{name:<32} {tracks:>7} tracks {namespaces:>6} namespaces {median:>9.2}");
        }
        if let ([first, ..], [.., last]) = (medians.as_slice(), medians.as_slice()) {
            let ratio = last / first;
            println!("{name:<32} ratio {ratio:.2}");
            anyhow::ensure!(
                ratio <= ratio_max,
                "{name}: expected a ratio of at most {ratio_max}"
            );
        }
    }
    Ok(())
}

impl Full {
    fn new(protocol: &str, tracks: usize, namespaces: usize) -> anyhow::Result<Self> {
        let mut pair = Pair::new(protocol, tracks);
        let mut peer = pair.connect();
        for number in 0..namespaces {
            if number % PER_SESSION == 0 {
                peer = pair.connect();
            }
            let name = namespace(number)?;
            session(&mut pair, peer)?.publish_namespace(name, Parameters::default())?;
            pair.settle();
        }
        for number in 0..tracks {
            if number % PER_SESSION == 0 {
                peer = pair.connect();
            }
            let name = track(number, namespaces)?;
            let properties = Properties::default();
            session(&mut pair, peer)?.publish(name, Parameters::default(), properties)?;
            pair.settle();
        }
        let (asker, publisher) = (pair.connect(), pair.connect());
        pair.events.clear();
        let known = pair.relay.metrics();
        anyhow::ensure!(
            known.tracks == tracks && known.namespaces == namespaces,
            "expected {tracks} tracks and {namespaces} namespaces, not {known:?}"
        );
        Ok(Self {
            pair,
            tracks,
            namespaces,
            asker,
            publisher,
            asked: 0,
        })
    }

    /// The number of the next one to be asked for: all over the relay.
    fn next(&mut self, of: usize) -> usize {
        self.asked += 1;
        self.asked.wrapping_mul(7919) % of.max(1)
    }

    /// Lets the relay answer, checks that it agreed, and gives the request up.
    fn finish(&mut self, peer: SessionId, request: RequestId) -> anyhow::Result<()> {
        self.pair.settle();
        let agreed = |(_, event): (SessionId, Event)| matches!(event, Event::Accepted { request: of, .. } if of == request);
        let mut events = std::mem::take(&mut self.pair.events).into_iter();
        anyhow::ensure!(events.any(agreed), "the relay did not agree");
        session(&mut self.pair, peer)?.cancel(request, StreamCode::CANCELLED)?;
        self.pair.settle();
        self.pair.events.clear();
        Ok(())
    }

    fn subscribe(&mut self) -> anyhow::Result<()> {
        let number = self.next(self.tracks);
        self.subscribe_to(number)
    }

    /// What the track's neighbours take of memory's caches does not count here.
    fn subscribe_again(&mut self) -> anyhow::Result<()> {
        self.subscribe_to(self.tracks / 2)
    }

    fn subscribe_to(&mut self, number: usize) -> anyhow::Result<()> {
        let name = track(number, self.namespaces)?;
        let asker = session(&mut self.pair, self.asker)?;
        let request = asker.subscribe(name, Parameters::default())?;
        self.finish(self.asker, request)
    }

    fn publish_namespace(&mut self) -> anyhow::Result<()> {
        let name = TrackNamespace::from_path(&format!("new/{}", self.next(1 << 20)))?;
        let publisher = session(&mut self.pair, self.publisher)?;
        let request = publisher.publish_namespace(name, Parameters::default())?;
        self.finish(self.publisher, request)
    }

    fn subscribe_namespace(&mut self) -> anyhow::Result<()> {
        let number = self.next(self.namespaces);
        let prefix = namespace(number)?;
        let asker = session(&mut self.pair, self.asker)?;
        let request = asker.subscribe_namespace(prefix, Parameters::default())?;
        self.finish(self.asker, request)
    }
}

/// What the machine takes per object and viewer.
fn objects(protocol: &str, viewers: usize, rounds: u64) -> anyhow::Result<()> {
    let mut pair = Pair::new(protocol, 1);
    let publisher = pair.connect();
    let name = track(0, 1)?;
    let prefix = name.namespace.clone();
    session(&mut pair, publisher)?.publish_namespace(prefix, Parameters::default())?;
    pair.settle();
    pair.events.clear();
    let mut request = None;
    for _ in 0..viewers {
        let viewer = pair.connect();
        session(&mut pair, viewer)?.subscribe(name.clone(), Parameters::default())?;
        pair.settle();
        request = answer(&mut pair, publisher)?.or(request);
    }
    let request = request.context("the relay did not subscribe")?;
    pair.reads = false;
    let mut stream = None;
    let mut times = Vec::new();
    for number in 0..rounds {
        let (group, object) = (number / 30, number % 30);
        let sender = session(&mut pair, publisher)?;
        let open = match stream.filter(|_| object > 0) {
            Some(open) => open,
            None => *stream.insert(sender.open_subgroup(request, header(group), 0)?),
        };
        let payload = vec![Bytes::from(vec![7; PIECE]); OBJECT / PIECE];
        let object = Object {
            group,
            object,
            subgroup: Some(0),
            payload: Payload::from_pieces(payload),
            ..Object::default()
        };
        let is_last = object.object == 29;
        sender.send_object(open, &object, is_last, false)?;
        pair.take_spent();
        pair.settle();
        pair.events.clear();
        times.push(pair.take_spent());
    }
    let sent = pair.relay.metrics().objects_sent;
    let per = median(&mut times) * 1000.0 / mainstem_benches::as_f64(u64::try_from(viewers)?);
    println!("{viewers} viewers, {sent} objects sent: {per:.0} ns per object and viewer");
    Ok(())
}

/// The publisher agrees to what it was asked for.
fn answer(pair: &mut Pair, publisher: SessionId) -> anyhow::Result<Option<RequestId>> {
    let mut agreed = None;
    for (of, event) in std::mem::take(&mut pair.events) {
        if let Event::Request { request, message } = event
            && of == publisher
        {
            let open = session(pair, publisher)?;
            match message {
                Message::Subscribe(_) => {
                    let answer = Parameters::default();
                    open.accept_subscribe(request, answer, Properties::default())?;
                    agreed = Some(request);
                }
                _ => open.accept(request, RequestOk::default())?,
            }
        }
    }
    pair.settle();
    Ok(agreed)
}

fn header(group: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: mainstem_core::moqt::name::TrackAlias(0),
        group,
        subgroup: mainstem_core::moqt::object::SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: true,
        first_object: true,
    }
}

fn session(pair: &mut Pair, of: SessionId) -> anyhow::Result<&mut Session> {
    pair.peers.session_mut(of).context("the session is over")
}

fn namespace(number: usize) -> anyhow::Result<TrackNamespace> {
    Ok(TrackNamespace::from_path(&format!("live/{number}"))?)
}

fn track(number: usize, namespaces: usize) -> anyhow::Result<FullTrackName> {
    let namespace = namespace(number % namespaces.max(1))?;
    let name = TrackName(Bytes::from(format!("track-{number}")));
    Ok(FullTrackName::new(namespace, name)?)
}

/// In microseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied();
    middle.unwrap_or_default().as_secs_f64() * 1e6
}
