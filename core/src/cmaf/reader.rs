//! [`Reader`]: fragmented MP4 bytes in, init segments and fragments out.
//!
//! | state | waits for | leaves by |
//! |---|---|---|
//! | start | `ftyp`, `moov` | `moov` complete: [`Event::Init`] |
//! | ready | `moof` (or a new `ftyp`, `moov`) | `moof` complete |
//! | paired | `mdat` | `mdat` complete: [`Event::Fragment`] |
//! | failed | nothing | never; every call gives the same [`Error`] |
//!
//! Inputs: [`Reader::push`] with bytes cut anywhere, [`Reader::finish`] at the end of the stream.
//! Outputs: [`Reader::poll`] until `None`. The same bytes cut anywhere give the same events.
//! Boxes that say nothing about the media (`free`, `skip`, `uuid`, `mfra`, `sidx` and any that we
//! do not know) are passed over without being kept. Limits: [`Limits`]. Source: ISO/IEC 14496-12.

use super::boxes::{FourCc, Header};
use super::error::{Error, Limits};
use super::fragment::Fragment;
use super::init::Init;
use super::moof::{self, Place};
use super::prft::ProducerReference;
use super::queue::Queue;
use super::track::Kind;
use crate::map::BTreeMap;
use crate::payload::Payload;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// What a [`Reader`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An init segment; again when the stream changes its codecs.
    Init(Arc<Init>),
    /// A fragment of the latest init segment.
    Fragment(Fragment),
}

/// Incremental reader of fragmented MP4.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    queue: Queue,
    /// Bytes taken from the queue so far: the position of its front in the stream.
    position: u64,
    /// Bytes of a box that is passed over and has not fully arrived.
    skip: u64,
    ended: bool,
    ftyp: Option<Bytes>,
    init: Option<Arc<Init>>,
    prefix: Vec<Bytes>,
    prefix_len: u64,
    producer_reference: Option<ProducerReference>,
    moof: Option<Pending>,
    next_decode_time: BTreeMap<u32, u64>,
    failed: Option<Error>,
}

/// A `moof` whose `mdat` has not come.
#[derive(Debug)]
struct Pending {
    position: u64,
    raw: Bytes,
    body_at: usize,
    /// Boxes between `moof` and `mdat`; kept, because offsets count across them.
    between: BytesMut,
}

/// What to do with a box, known from its head.
enum Plan {
    Keep { max: u64 },
    Skip,
}

impl Reader {
    /// A reader at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: Queue::default(),
            position: 0,
            skip: 0,
            ended: false,
            ftyp: None,
            init: None,
            prefix: Vec::new(),
            prefix_len: 0,
            producer_reference: None,
            moof: None,
            next_decode_time: BTreeMap::new(),
            failed: None,
        }
    }

    /// A reader of fragments whose init segment came by another way (from a catalog).
    pub fn with_init(init: Arc<Init>, limits: Limits) -> Self {
        Self {
            init: Some(init),
            ..Self::new(limits)
        }
    }

    /// Takes bytes, cut anywhere. Call [`Self::poll`] until `None` after each.
    pub fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.check()?;
        let mut bytes = bytes;
        if self.skip > 0 && self.queue.len() == 0 {
            // What is passed over is never stored, so a huge `free` box costs nothing.
            let n = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            drop(bytes.split_to(n));
            self.advance_skip(n);
        }
        if self.queue.len().saturating_add(bytes.len()) > self.limits.pending_bytes_max {
            return self.fail(Error::PendingTooLarge {
                max: self.limits.pending_bytes_max,
            });
        }
        self.queue.push(bytes);
        Ok(())
    }

    /// Pushes every piece of a payload.
    pub fn push_payload(&mut self, payload: &Payload) -> Result<(), Error> {
        payload
            .pieces()
            .iter()
            .try_for_each(|piece| self.push(piece.clone()))
    }

    /// Says that no more bytes come: a box of size 0 ends here.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// The next event; `None` when more bytes are needed. After an error, the same error again.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        self.check()?;
        match self.advance() {
            Ok(event) => Ok(event),
            Err(error) => self.fail(error),
        }
    }

    /// The latest init segment.
    pub fn init(&self) -> Option<&Arc<Init>> {
        self.init.as_ref()
    }

    /// Whether the bytes so far end at a box border with nothing half received.
    pub fn is_at_boundary(&self) -> bool {
        self.queue.len() == 0 && self.skip == 0 && self.moof.is_none()
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        self.queue = Queue::default();
        self.failed = Some(error.clone());
        Err(error)
    }

    fn advance_skip(&mut self, n: usize) {
        self.position = self.position.saturating_add(n as u64);
        self.skip = self.skip.saturating_sub(n as u64);
    }

    fn advance(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if self.skip > 0 {
                let n = usize::try_from(self.skip)
                    .unwrap_or(usize::MAX)
                    .min(self.queue.len());
                self.queue.skip(n);
                self.advance_skip(n);
                if self.skip > 0 {
                    return Ok(None);
                }
            }
            let mut head = [0; Header::LEN_MAX];
            let seen = self.queue.peek(&mut head);
            let Some(header) = Header::parse(head.get(..seen).unwrap_or_default())? else {
                return Ok(None);
            };
            let max = match self.plan(header.kind)? {
                Plan::Keep { max } => max,
                Plan::Skip => {
                    self.skip = header.size.unwrap_or(u64::MAX);
                    continue;
                }
            };
            let (kind, waiting) = (header.kind, self.queue.len() as u64);
            let size = match header.size {
                Some(size) => size,
                None if self.ended => waiting,
                // Not known yet; what has come is a lower bound.
                None if waiting <= max => return Ok(None),
                None => waiting,
            };
            if size > max {
                return Err(Error::BoxTooLarge { kind, size, max });
            }
            if size > waiting {
                return Ok(None);
            }
            // Bounded by `waiting`, which is a usize.
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if let Some(event) = self.take_box(header, size)? {
                return Ok(Some(event));
            }
        }
    }

    /// Decides about a box before its body is here, so that nothing hopeless is waited for.
    fn plan(&self, kind: FourCc) -> Result<Plan, Error> {
        let limits = &self.limits;
        Ok(match kind {
            FourCc::MOOF if self.moof.is_some() => return Err(Error::Unpaired { kind }),
            FourCc::MOOF if self.init.is_none() => return Err(Error::FragmentBeforeInit),
            FourCc::MOOF => Plan::Keep {
                max: limits.moof_bytes_max,
            },
            FourCc::MDAT if self.moof.is_some() => Plan::Keep {
                max: limits.mdat_bytes_max,
            },
            FourCc::MDAT if self.init.is_none() => return Err(Error::NotFragmented),
            FourCc::MDAT => return Err(Error::Unpaired { kind }),
            FourCc::MOOV | FourCc::FTYP if self.moof.is_some() => {
                return Err(Error::Unpaired { kind: FourCc::MOOF });
            }
            FourCc::MOOV => Plan::Keep {
                max: limits.moov_bytes_max,
            },
            FourCc::FTYP => Plan::Keep {
                max: limits.side_bytes_max,
            },
            FourCc::STYP | FourCc::PRFT | FourCc::EMSG => self.side_room(),
            _ if self.moof.is_some() => self.side_room(),
            _ => Plan::Skip,
        })
    }

    fn side_room(&self) -> Plan {
        let between = self
            .moof
            .as_ref()
            .map_or(0, |moof| moof.between.len() as u64);
        let used = self.prefix_len.saturating_add(between);
        Plan::Keep {
            max: self.limits.side_bytes_max.saturating_sub(used),
        }
    }

    fn take_box(&mut self, header: Header, size: usize) -> Result<Option<Event>, Error> {
        let position = self.position;
        self.position = position.saturating_add(size as u64);
        if header.kind == FourCc::MDAT {
            return self.take_mdat(header, size, position).map(Some);
        }
        let raw = self.queue.take(size);
        if let Some(moof) = &mut self.moof {
            moof.between.put_slice(&raw);
            return Ok(None);
        }
        match header.kind {
            FourCc::FTYP => self.ftyp = Some(raw),
            FourCc::MOOV => return self.take_moov(raw).map(Some),
            FourCc::MOOF => {
                let between = BytesMut::new();
                self.moof = Some(Pending {
                    position,
                    raw,
                    body_at: header.len,
                    between,
                });
            }
            kind => {
                if kind == FourCc::PRFT {
                    let body = raw.get(header.len..).unwrap_or_default();
                    self.producer_reference = Some(ProducerReference::parse(body)?);
                }
                self.prefix_len = self.prefix_len.saturating_add(size as u64);
                self.prefix.push(raw);
            }
        }
        Ok(None)
    }

    fn take_moov(&mut self, moov: Bytes) -> Result<Event, Error> {
        let raw = match self.ftyp.take() {
            None => moov,
            Some(ftyp) => Payload::from_pieces(vec![ftyp, moov]).to_bytes(),
        };
        let init = Arc::new(Init::parse(raw, &self.limits)?);
        if !init.is_fragmented() {
            return Err(Error::NotFragmented);
        }
        self.next_decode_time.clear();
        self.prefix.clear();
        self.prefix_len = 0;
        self.init = Some(Arc::clone(&init));
        Ok(Event::Init(init))
    }

    fn take_mdat(&mut self, header: Header, size: usize, position: u64) -> Result<Event, Error> {
        // The plan let the box in only with a moof, and a moof only with an init segment.
        let (Some(moof), Some(init)) = (self.moof.take(), self.init.clone()) else {
            return Err(Error::Unpaired { kind: header.kind });
        };
        let mdat_header = self.queue.take(header.len);
        let media = self.queue.take_payload(size.saturating_sub(header.len));
        let place = Place {
            moof: moof.position,
            media: position.saturating_add(header.len as u64),
            media_len: media.len() as u64,
        };
        let body = moof.raw.get(moof.body_at..).unwrap_or_default();
        let parsed = moof::parse(body, place, &init, &self.limits, &mut self.next_decode_time)?;
        let mut gap = moof.between;
        let gap = if gap.is_empty() {
            mdat_header
        } else {
            gap.put_slice(&mdat_header);
            gap.freeze()
        };
        self.prefix_len = 0;
        let mut fragment = Fragment {
            prefix: Payload::from_pieces(std::mem::take(&mut self.prefix)),
            moof: moof.raw,
            gap,
            media,
            sequence: parsed.sequence,
            tracks: parsed.tracks,
            is_independent: false,
            is_relocatable: parsed.is_relocatable,
            producer_reference: self.producer_reference.take(),
        };
        fragment.is_independent = is_independent(&fragment, &init);
        Ok(Event::Fragment(fragment))
    }
}

/// Whether decoding can begin at `fragment`: see [`Fragment::is_independent`].
fn is_independent(fragment: &Fragment, init: &Init) -> bool {
    let leading = if init.has_video() {
        Kind::Video
    } else {
        Kind::Audio
    };
    let mut seen = false;
    for track in &fragment.tracks {
        let kind = init.track(track.track_id).map(super::track::Track::kind);
        if kind == Some(leading) && !track.samples.is_empty() {
            if !track.starts_with_sync() {
                return false;
            }
            seen = true;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_never_make_a_box_meet_the_limit() {
        let limits = Limits {
            pending_bytes_max: 4000,
            ..Limits::default()
        };
        let mut reader = Reader::new(limits);
        reader.push(Bytes::from_static(b"\0\x01\0\0moov")).unwrap();
        assert_eq!(reader.poll(), Ok(None));
        assert!(reader.push(vec![0; 3900].into()).is_ok());
        let error = Error::PendingTooLarge { max: 4000 };
        assert_eq!(reader.push(vec![0; 3900].into()), Err(error.clone()));
        assert_eq!(reader.poll(), Err(error));
    }

    #[test]
    fn side_boxes_are_bounded_together() {
        let mut reader = Reader::new(Limits {
            side_bytes_max: 40,
            ..Limits::default()
        });
        reader
            .push(Bytes::from_static(b"\0\0\0\x14emsg123456789012"))
            .unwrap();
        assert_eq!(reader.poll(), Ok(None));
        reader
            .push(Bytes::from_static(b"\0\0\0\x15styp1234567890123"))
            .unwrap();
        assert!(matches!(
            reader.poll(),
            Err(Error::BoxTooLarge { max: 20, .. })
        ));
    }

    #[test]
    fn passed_over_boxes_are_not_kept() {
        let mut reader = Reader::new(Limits::default());
        reader
            .push(Bytes::from_static(b"\0\0\0\x01uuid\0\0\0\x01\0\0\0\0"))
            .unwrap();
        assert_eq!(reader.poll(), Ok(None));
        for _ in 0..100 {
            reader.push(vec![0; 4096].into()).unwrap();
            assert_eq!(reader.queue.len(), 0);
            assert_eq!(reader.poll(), Ok(None));
        }
        assert!(!reader.is_at_boundary());
    }
}
