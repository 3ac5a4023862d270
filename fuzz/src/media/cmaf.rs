//! MP4: a stream of fragments as a publisher and a viewer read it, and ordinary files.
//!
//! Input: kind (1), cut seed (2), then the bytes. Laws of a stream: cuts change nothing; an error stays;
//! what is split from a fragment has the fragment's samples and bytes. Laws of a file: a second walk
//! gives the same samples; [`Locator`] finds the index that the whole file has.

use crate::input::{Cursor, cut};
use bytes::Bytes;
use mainstem_core::cmaf::progressive::{Locator, Source};
use mainstem_core::cmaf::rules::Checker;
use mainstem_core::cmaf::{
    ChunkSize, Error, Event, Fragment, Init, Limits, Muxer, Reader, Splitter,
};
use std::sync::Arc;
use std::time::Duration;

/// Samples of a file that are looked at: a table may claim millions in a few bytes.
const SAMPLES_MAX: usize = 20_000;

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let kind = input.byte();
    let seed = input.short();
    let bytes = Bytes::copy_from_slice(input.rest());
    if kind & 1 == 0 {
        let size = [
            ChunkSize::Frame,
            ChunkSize::Duration(Duration::from_millis(100)),
        ][usize::from(kind >> 1 & 1)];
        check_stream(&bytes, seed, size);
    } else {
        check_file(&bytes);
    }
}

fn check_stream(bytes: &Bytes, seed: u16, size: ChunkSize) {
    let (events, end) = read(std::slice::from_ref(bytes));
    let other = read(&cut(bytes, seed));
    assert_eq!((&events, &end), (&other.0, &other.1));
    drop(other);
    let mut following: Option<(Splitter, Muxer, Checker)> = None;
    for event in &events {
        match event {
            Event::Init(init) => following = follow(init, size),
            Event::Fragment(fragment) => {
                if let Some((splitter, muxer, checker)) = &mut following {
                    check_fragment(fragment, splitter, muxer, checker);
                }
            }
        }
    }
    if let Some((_, mut muxer, checker)) = following {
        let _ = muxer.finish();
        while muxer.poll().is_some() {}
        let _ = format!("{:?}", checker.findings());
    }
}

fn read(pieces: &[Bytes]) -> (Vec<Event>, Result<bool, Error>) {
    let mut reader = Reader::new(Limits::default());
    let mut events = Vec::new();
    let mut all = |reader: &mut Reader| loop {
        match reader.poll() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return Ok(()),
            Err(error) => {
                assert_eq!(reader.poll(), Err(error.clone()), "an error stays");
                return Err(error);
            }
        }
    };
    let mut end = Ok(());
    for piece in pieces {
        end = reader.push(piece.clone()).and_then(|()| all(&mut reader));
        if end.is_err() {
            break;
        }
    }
    if end.is_ok() {
        reader.finish();
        end = all(&mut reader);
    }
    (events, end.map(|()| reader.is_at_boundary()))
}

fn follow(init: &Arc<Init>, size: ChunkSize) -> Option<(Splitter, Muxer, Checker)> {
    let again = Init::parse(init.raw.clone(), &Limits::default());
    assert_eq!(
        again.as_ref(),
        Ok(&**init),
        "an init segment reads the same again"
    );
    let muxer = Muxer::new(&[Arc::clone(init)], Limits::default()).ok()?;
    let checker = Checker::new(&init.raw.clone().into());
    Some((Splitter::new(init, size), muxer, checker))
}

fn check_fragment(
    fragment: &Fragment,
    splitter: &mut Splitter,
    muxer: &mut Muxer,
    checker: &mut Checker,
) {
    let samples = fragment.tracks.iter().flat_map(|track| &track.samples);
    let wanted: usize = samples
        .clone()
        .map(|sample| fragment.sample_payload(sample).len())
        .sum();
    let payload = fragment.payload();
    assert!(wanted <= payload.len() * samples.clone().count().max(1));
    let Ok(chunks) = splitter.split(fragment) else {
        return;
    };
    for chunk in chunks {
        checker.object(&chunk.payload);
        let _ = muxer.push(0, &chunk.payload);
        while muxer.poll().is_some() {}
    }
}

fn check_file(file: &Bytes) {
    let Ok(mut source) = Source::from_bytes(file) else {
        return;
    };
    let walk = |source: &mut Source| {
        let mut samples = Vec::new();
        while samples.len() < SAMPLES_MAX {
            match source.next_sample() {
                Ok(Some(sample)) => samples.push(sample),
                Ok(None) => break,
                Err(_) => return (samples, true),
            }
        }
        (samples, false)
    };
    let first = walk(&mut source);
    let _ = (source.is_fragmented(), source.tracks().len());
    for sample in &first.0 {
        let known = source
            .tracks()
            .iter()
            .any(|track| track.id == sample.track_id);
        assert!(known, "{sample:?}");
    }
    if source.rewind().is_ok() {
        assert_eq!(walk(&mut source), first, "a second walk");
    }
    check_locator(file);
}

/// The index is where a whole read found one.
fn check_locator(file: &Bytes) {
    let mut locator = Locator::new(file.len() as u64);
    for _ in 0..=file.len() {
        let (at, len) = locator.want();
        let at = usize::try_from(at).expect("inside the file");
        match locator.give(&file[at..at + len]) {
            Ok(Some((at, len))) => {
                let end = at.checked_add(len).expect("inside the file");
                assert!(end <= file.len() as u64);
                return;
            }
            Ok(None) => {}
            Err(error) => panic!("{error}, but the file has an index"),
        }
    }
    panic!("the search for the index never ends");
}
