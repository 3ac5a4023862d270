//! [`Packet`]: what travels between nodes, whatever carries it.

use crate::model::ModelPacket;
use crate::random::Random;
use crate::trace::Fold;
use mainstem_quic::Ecn;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

/// One packet.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A UDP datagram of real QUIC, and its ECN mark.
    Datagram(Vec<u8>, Option<Ecn>),
    /// A packet of the stream model.
    Model(ModelPacket),
}

/// A packet that a node sends.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub packet: Packet,
}

impl Packet {
    /// Its size on the wire, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Datagram(bytes, _) => bytes.len(),
            Self::Model(packet) => packet.size(),
        }
    }

    /// Bytes of the largest UDP datagram of it.
    pub fn largest_datagram(&self) -> usize {
        match self {
            Self::Datagram(bytes, _) => bytes.len(),
            Self::Model(packet) => packet.largest_datagram(),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts all of it into a hash.
    pub fn fold_into(&self, fold: &mut Fold) {
        match self {
            Self::Datagram(bytes, ecn) => {
                fold.bytes(bytes);
                fold.number(match ecn {
                    None => 0,
                    Some(Ecn::Ect0) => 1,
                    Some(Ecn::Ect1) => 2,
                    Some(Ecn::Ce) => 3,
                });
            }
            Self::Model(packet) => packet.hash(&mut Folding(fold)),
        }
    }

    /// The packet with one wrong bit; `None` when nothing of it would be taken.
    pub fn corrupted(self, random: &mut Random) -> Option<Self> {
        match self {
            Self::Datagram(mut bytes, ecn) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let at = usize::try_from(random.below(length)).unwrap_or_default();
                let bit = random.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
                Some(Self::Datagram(bytes, ecn))
            }
            // What is wrong does not pass QUIC's authentication.
            Self::Model(_) => None,
        }
    }

    /// Says that there is congestion, in place of dropping it; false where that cannot be said.
    pub fn mark_congestion(&mut self) -> bool {
        let Self::Datagram(_, Some(ecn)) = self else {
            return false;
        };
        *ecn = Ecn::Ce;
        true
    }

    /// Takes its mark away, as some routers do; false when it has none.
    pub fn clear_mark(&mut self) -> bool {
        match self {
            Self::Datagram(_, ecn) => ecn.take().is_some(),
            Self::Model(_) => false,
        }
    }

    /// The packet without its end; `None` when nothing of it would be taken.
    pub fn truncated(self, random: &mut Random) -> Option<Self> {
        match self {
            Self::Datagram(mut bytes, ecn) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let keep = usize::try_from(random.below(length)).unwrap_or_default();
                bytes.truncate(keep);
                Some(Self::Datagram(bytes, ecn))
            }
            // What is wrong does not pass QUIC's authentication.
            Self::Model(_) => None,
        }
    }
}

/// A [`Fold`] as the standard library feeds it.
struct Folding<'a>(&'a mut Fold);

impl Hasher for Folding<'_> {
    fn finish(&self) -> u64 {
        self.0.value()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.bytes(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0.number(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.0.number(u64::try_from(number).unwrap_or(u64::MAX));
    }
}
