//! [`Publisher`]: core's packager and broadcaster, fed by the encoders of a browser.
//!
//! Configuration (JSON): `namespace`, `firstGroup` (Unix milliseconds), `startUs` (Unix microseconds:
//! where the first frame stands on the timeline), `hasVideo`, `hasAudio`, `bitrates` (of the video
//! encodings by number), `audioBitrate`, `audioChunkMs`, `grease`.
//!
//! | command (`type`) | fields | does |
//! |---|---|---|
//! | `finish` | `unixMs` | what is held goes out, the catalog says so, the tracks end; `drained` follows |
//! | `end` | `kind`, `number` | this encoder is done; the others go on |
//! | `close` | `reason` | ends the sessions |
//!
//! Media: [`Publisher::configure`] and [`Publisher::frame`] for encoders, [`Publisher::recorded`] for
//! fragmented MP4. Events: `announced`, `refused`, `goaway`, `closed` (with the session), `drained`,
//! `tracks`, `fault`.
//! Limits: the packager's and the broadcaster's; a group that passes them is a `fault`.

use crate::machine::closed_event;
use crate::out::Out;
use crate::recorded::Recorded;
use crate::wish::Wish;
use bytes::Bytes;
use mainstem_core::broadcast::{self, Broadcaster};
use mainstem_core::cmaf::{Codec, Kind, NtpTime};
use mainstem_core::moqt::name::TrackNamespace;
use mainstem_core::moqt::publisher::Event as SessionEvent;
use mainstem_core::packager::{self, Announcement, Chunk, Frame, PackagedTrack, Packager, Source};
use mainstem_core::payload::Payload;
use mainstem_core::time::{Instant, MediaTime, UnixTime};
use mainstem_core::transport::{Action, App, Input};
use serde_json::json;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

const MICROS: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();
/// Frames of a camera or a canvas come so far from where they should: smoothed, not followed.
const CAPTURE_JITTER: Duration = Duration::from_millis(6);
/// Where an `OpusHead` tells the rate of the original.
const OPUS_HEAD_RATE: std::ops::Range<usize> = 12..16;

/// What an encoder made.
#[derive(Debug)]
pub struct Encoded {
    /// Which encoder.
    pub source: Source,
    /// Whether a decoder can begin with it.
    pub is_key: bool,
    /// Presentation time, in microseconds of the encoder's clock.
    pub time_us: i64,
    /// How long it lasts; `None` when the encoder does not say.
    pub duration_us: Option<u32>,
    /// Wall clock, in Unix microseconds.
    pub unix_us: u64,
    /// The coded bytes.
    pub data: Bytes,
}

/// The publisher machine of a page. See the module's description.
#[derive(Debug)]
pub struct Publisher {
    packager: Packager,
    broadcaster: Broadcaster,
    recorded: Recorded,
    bitrates: Vec<u64>,
    tracks: usize,
    out: VecDeque<Out>,
}

impl Publisher {
    /// A publisher of this configuration; `Err` says what is wrong with it.
    pub fn new(now: Instant, config: &[u8]) -> Result<Self, String> {
        let config = Wish::parse(config)?;
        let namespace = TrackNamespace::from_path(config.text("namespace")?);
        let namespace = namespace.map_err(|e| e.to_string())?;
        let bitrates = config.numbers("bitrates");
        let mut habits = broadcast::Config::default();
        habits.session.implementation =
            Some(concat!("mainstem-web/", env!("CARGO_PKG_VERSION")).to_owned());
        habits.session.grease = config.number("grease");
        let first_group = config.number("firstGroup").unwrap_or(0);
        let mut packager = Packager::new(packager::Config {
            start: Duration::from_micros(config.number("startUs").unwrap_or(0)),
            audio_chunk: Duration::from_millis(config.number("audioChunkMs").unwrap_or(0)),
            tolerance: CAPTURE_JITTER,
            ..packager::Config::default()
        });
        packager.handle(packager::Input::Announced(Announcement {
            has_video: config.is("hasVideo"),
            has_audio: config.is("hasAudio"),
            video_bitrate: bitrates.first().copied(),
            audio_bitrate: config.number("audioBitrate"),
            ..Announcement::default()
        }));
        Ok(Self {
            packager,
            broadcaster: Broadcaster::new(now, habits, namespace, first_group),
            recorded: Recorded::default(),
            bitrates,
            tracks: 0,
            out: VecDeque::new(),
        })
    }

    /// What the transport did.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.broadcaster.handle(now, input);
    }

    /// The time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.broadcaster.handle_timeout(now);
    }

    /// When it does.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.broadcaster.next_timeout()
    }

    /// A wish of the page's.
    pub fn command(&mut self, now: Instant, json: &[u8]) -> Result<(), String> {
        let wish = Wish::parse(json)?;
        match wish.text("type")? {
            "finish" => {
                let time = UnixTime::from_millis(wish.number("unixMs").unwrap_or(0));
                self.packager.handle(packager::Input::Finished);
                self.package(now, time);
                self.broadcaster.finish(now, time);
            }
            "end" => {
                let kind = u32::from(wish.text("kind")? == "audio");
                let number = wish.number("number").and_then(|n| u32::try_from(n).ok());
                let source = source_of(kind, number.unwrap_or(0));
                self.packager.handle(packager::Input::End(source));
                self.package(now, UnixTime::default());
            }
            "close" => self.broadcaster.close(wish.text("reason")?),
            other => return Err(format!("no wish of a publisher: {other}")),
        }
        Ok(())
    }

    /// An encoder's configuration record. Repeating it changes nothing.
    pub fn configure(&mut self, now: Instant, time: UnixTime, source: Source, codec: Codec) {
        self.packager.handle(packager::Input::Config {
            source,
            codec,
            timescale: MICROS,
        });
        self.package(now, time);
    }

    /// What an encoder made.
    pub fn frame(&mut self, now: Instant, encoded: Encoded) {
        let time = UnixTime::from_millis(encoded.unix_us / 1000);
        self.packager.handle(packager::Input::Frame(Frame {
            source: encoded.source,
            decode_time: MediaTime::new(encoded.time_us, MICROS),
            composition_offset: 0,
            duration: encoded.duration_us,
            key: encoded.is_key,
            data: Payload::from(encoded.data),
            arrived: NtpTime::from_unix_micros(encoded.unix_us),
        }));
        self.package(now, time);
    }

    /// Bytes of fragmented MP4 as a `MediaRecorder` gives them, cut anywhere.
    pub fn recorded(&mut self, now: Instant, unix_us: u64, bytes: Bytes) {
        match self.recorded.push(unix_us, bytes) {
            Ok(found) => {
                for output in found {
                    self.take(now, UnixTime::from_millis(unix_us / 1000), output);
                }
            }
            Err(error) => self.fault(&error.to_string()),
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Out> {
        loop {
            if let Some(out) = self.out.pop_front() {
                return Some(out);
            }
            match self.broadcaster.poll()? {
                Action::Transport(output) => self.out.extend(Out::transport(output)),
                Action::Event(event) => self.tell(event),
            }
        }
    }

    /// Subscriptions of the relay, over all tracks.
    pub fn subscriptions(&self) -> usize {
        self.broadcaster.subscriptions()
    }

    fn package(&mut self, now: Instant, time: UnixTime) {
        while let Some(output) = self.packager.poll() {
            self.take(now, time, output);
        }
    }

    fn take(&mut self, now: Instant, time: UnixTime, output: packager::Output) {
        let done = match output {
            packager::Output::Tracks(tracks) => self.set_tracks(now, time, tracks),
            packager::Output::Chunk(chunk) => self.publish(now, &chunk),
            packager::Output::Fault(fault) => return self.fault(&fault.to_string()),
        };
        if let Err(error) = done {
            self.fault(&error.to_string());
        }
    }

    fn set_tracks(
        &mut self,
        now: Instant,
        time: UnixTime,
        mut tracks: Vec<PackagedTrack>,
    ) -> Result<(), broadcast::Error> {
        for track in &mut tracks {
            if track.source.kind == Kind::Video
                && let Some(bitrate) = self.bitrates.get(usize::from(track.source.number))
            {
                track.bitrate = Some(*bitrate);
            }
        }
        self.broadcaster.set_tracks(now, time, &tracks)?;
        self.tracks = tracks.len();
        let names = self.broadcaster.catalog().map(|catalog| {
            let names = catalog.tracks.iter().map(|track| track.name.as_str());
            json!({ "type": "tracks", "names": names.collect::<Vec<_>>() })
        });
        self.out.extend(names.as_ref().map(Out::event));
        Ok(())
    }

    fn publish(&mut self, now: Instant, chunk: &Chunk) -> Result<(), broadcast::Error> {
        if self.tracks == 0 {
            return Ok(());
        }
        self.broadcaster.publish(now, chunk)
    }

    fn fault(&mut self, reason: &str) {
        let event = json!({ "type": "fault", "reason": reason });
        self.out.push_back(Out::event(&event));
    }

    fn tell(&mut self, event: broadcast::Event) {
        let event = match event {
            broadcast::Event::Expired => return,
            broadcast::Event::Drained => json!({ "type": "drained" }),
            broadcast::Event::Session(event) => match event {
                SessionEvent::Announced { session } => {
                    json!({ "type": "announced", "session": session.0 })
                }
                SessionEvent::Refused { session, error } => {
                    json!({ "type": "refused", "session": session.0, "reason": error.reason })
                }
                SessionEvent::Goaway { session, uri } => {
                    json!({ "type": "goaway", "session": session.0, "uri": uri })
                }
                SessionEvent::Closed { session, closed } => {
                    let mut out = closed_event(&closed);
                    out.session = u32::try_from(session.0).unwrap_or(u32::MAX);
                    self.out.push_back(out);
                    return;
                }
            },
        };
        self.out.push_back(Out::event(&event));
    }
}

/// An encoder by its numbers: kind 0 is video, others audio.
pub(crate) fn source_of(kind: u32, number: u32) -> Source {
    Source {
        kind: if kind == 0 { Kind::Video } else { Kind::Audio },
        number: u8::try_from(number).unwrap_or(u8::MAX),
    }
}

/// A codec by its number, with the configuration record that a browser's encoder gives.
pub(crate) fn codec_of(codec: u32, config: Bytes) -> Option<Codec> {
    Some(match codec {
        0 => Codec::H264 {
            config,
            in_band: false,
        },
        1 => opus_of(config)?,
        2 => Codec::Aac { config },
        3 => Codec::Av1 { config },
        4 => Codec::Vp9 { config },
        5 => Codec::Hevc {
            config,
            in_band: false,
        },
        _ => return None,
    })
}

/// Opus of an `OpusHead`, or of a `dOps` body. The rate of the original is not told: it says nothing about
/// decoding, which is at 48 kHz always, and Chromium refuses a `dOps` with 44,100 in it.
/// Source: RFC 7845 section 5.1, field 5.
fn opus_of(head: Bytes) -> Option<Codec> {
    if !head.starts_with(b"OpusHead") {
        return Some(Codec::Opus { config: head });
    }
    let mut head = head.to_vec();
    head.get_mut(OPUS_HEAD_RATE)?
        .copy_from_slice(&48_000_u32.to_le_bytes());
    Codec::opus_from_head(&head).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_is_told_at_the_rate_that_it_is_decoded_at() {
        let head = Bytes::from_static(b"OpusHead\x01\x02\x38\x01\x44\xac\x00\x00\x00\x00\x00");
        let record: &[u8] = &[0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0];
        let expected = Codec::Opus {
            config: Bytes::from_static(record),
        };
        assert_eq!(opus_of(head), Some(expected.clone()));
        assert_eq!(opus_of(Bytes::from_static(record)), Some(expected));
        assert_eq!(opus_of(Bytes::from_static(b"OpusHead\x01")), None);
    }
}
