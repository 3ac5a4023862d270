//! The server's half of the RTMP handshake.
//!
//! Source: RTMP 1.0 (Adobe, 2012), section 5.2. Only the simple form is spoken. Clients of the
//! digest form (Flash, ffmpeg, OBS) accept a simple answer when S1's second word is zero, so their
//! digests are not looked at and C2 is not compared.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | hello | C0 + C1, 1,537 bytes | answers S0 + S1 + S2 |
//! | echo | C2, 1,536 bytes | done |

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of C1, C2, S1 and S2.
const BLOCK: usize = 1536;
const VERSION: u8 = 3;

/// What the handshake needs or has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes of the peer.
    Wait,
    /// These bytes are to be sent, and the handshake goes on.
    Answer(Bytes),
    /// Complete. What is left of the input is chunks.
    Done,
    /// The first byte is not version 3: not RTMP, or encrypted RTMP.
    NotRtmp,
}

/// The server's handshake of one connection.
#[derive(Debug)]
pub(super) struct Handshake {
    seed: u64,
    hello: BytesMut,
    answered: bool,
    echo_left: usize,
}

impl Handshake {
    /// `seed` makes the 1,528 random bytes of S1, which protect nothing: they tell echoes apart.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            hello: BytesMut::new(),
            answered: false,
            echo_left: BLOCK,
        }
    }

    /// Takes what it needs from the front of `data`.
    pub(super) fn push(&mut self, data: &mut Bytes) -> Progress {
        if self.answered {
            let taken = self.echo_left.min(data.len());
            data.advance(taken);
            self.echo_left = self.echo_left.saturating_sub(taken);
            return if self.echo_left == 0 {
                Progress::Done
            } else {
                Progress::Wait
            };
        }
        let wanted = (1 + BLOCK).saturating_sub(self.hello.len());
        self.hello.put_slice(&data.split_to(wanted.min(data.len())));
        match self.hello.first() {
            None => return Progress::Wait,
            Some(&VERSION) => {}
            Some(_) => return Progress::NotRtmp,
        }
        if self.hello.len() <= BLOCK {
            return Progress::Wait;
        }
        self.answered = true;
        let answer = self.answer();
        self.hello = BytesMut::new();
        Progress::Answer(answer)
    }

    fn answer(&self) -> Bytes {
        let c1 = self.hello.get(1..).unwrap_or_default();
        let mut out = BytesMut::with_capacity(1 + 2 * BLOCK);
        out.put_u8(VERSION);
        // Time 0, then the word that must be zero for a simple handshake.
        out.put_u64(0);
        let mut state = self.seed;
        for _ in 0..(BLOCK - 8) / 8 {
            out.put_u64(splitmix(&mut state));
        }
        // S2 is C1 with the time of reading in its second word, which needs no clock: 0.
        out.put_slice(c1.get(..4).unwrap_or_default());
        out.put_u32(0);
        out.put_slice(c1.get(8..).unwrap_or_default());
        out.freeze()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for bytes that nobody relies upon.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_echoes_the_clients_random_bytes() {
        let mut handshake = Handshake::new(7);
        let mut hello = vec![3];
        hello.extend((0..BLOCK).map(|i| u8::try_from(i % 251).unwrap()));
        let mut data = Bytes::from(hello.clone());
        let Progress::Answer(answer) = handshake.push(&mut data) else {
            panic!("no answer");
        };
        assert_eq!(answer.len(), 1 + 2 * BLOCK);
        assert_eq!(answer[0], 3);
        assert_eq!(answer[5..9], [0; 4]);
        assert_eq!(answer[1 + BLOCK + 8..], hello[9..]);
        let mut echo = Bytes::from(vec![0; BLOCK + 2]);
        assert_eq!(handshake.push(&mut echo), Progress::Done);
        assert_eq!(echo.len(), 2);
    }

    #[test]
    fn http_is_told_apart_by_its_first_byte() {
        let mut data = Bytes::from_static(b"GET / HTTP/1.1");
        assert_eq!(Handshake::new(0).push(&mut data), Progress::NotRtmp);
    }
}
