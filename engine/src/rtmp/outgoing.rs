//! Bytes on their way to an encoder.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// A queue of written bytes; its owner stops reading while it is long.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.len = self.len.saturating_add(piece.len());
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Writes some of it. Dropping the future loses nothing.
    pub(super) async fn write_some(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let Some(piece) = self.pieces.front_mut() else {
            return Ok(());
        };
        let written = to.write(piece).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        piece.advance(written);
        self.len = self.len.saturating_sub(written);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Ok(())
    }

    /// Writes all of it.
    pub(super) async fn write_all(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while !self.is_empty() {
            self.write_some(to).await?;
        }
        to.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_bytes_leave_in_order_however_little_is_taken() {
        let (mut near, mut far) = tokio::io::duplex(3);
        let mut outgoing = Outgoing::default();
        for piece in ["hello", "", " ", "world"] {
            outgoing.push(Bytes::from(piece));
        }
        assert_eq!(outgoing.len(), 11);
        let reading = tokio::spawn(async move {
            let mut all = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut far, &mut all)
                .await
                .map(|_| all)
        });
        outgoing.write_all(&mut near).await.unwrap();
        assert_eq!((outgoing.is_empty(), outgoing.len()), (true, 0));
        drop(near);
        assert_eq!(reading.await.unwrap().unwrap(), "hello world");
    }
}
