//! [`Packet`]: what travels between nodes, whatever carries it.

use crate::random::Random;
use crate::trace::Fold;
use std::net::SocketAddr;

/// One packet.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A UDP datagram of real QUIC.
    Datagram(Vec<u8>),
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
            Self::Datagram(bytes) => bytes.len(),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts all of it into a hash.
    pub fn fold_into(&self, fold: &mut Fold) {
        match self {
            Self::Datagram(bytes) => fold.bytes(bytes),
        }
    }

    /// The packet with one wrong bit; `None` when nothing of it would be taken.
    pub fn corrupted(self, random: &mut Random) -> Option<Self> {
        match self {
            Self::Datagram(mut bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let at = usize::try_from(random.below(length)).unwrap_or_default();
                let bit = random.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
                Some(Self::Datagram(bytes))
            }
        }
    }

    /// The packet without its end; `None` when nothing of it would be taken.
    pub fn truncated(self, random: &mut Random) -> Option<Self> {
        match self {
            Self::Datagram(mut bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let keep = usize::try_from(random.below(length)).unwrap_or_default();
                bytes.truncate(keep);
                Some(Self::Datagram(bytes))
            }
        }
    }
}
