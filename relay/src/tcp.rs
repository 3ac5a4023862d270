//! TCP as the relay's glue sees it: where the admin's requests come from, and how the control plane is
//! reached.
//!
//! The glue is generic over both, so that a network of the owner's choice can stand in for the
//! machine's: one that fails on purpose, in tests. [`TcpListener`] and [`Tcp`] are the machine's.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Both directions of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Where connections come from.
pub trait Accept: Send + Sync + 'static {
    /// A connection.
    type Stream: Stream;

    /// Waits for the next one, and says who it is. Dropping the future loses none.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Answers are small and awaited.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        Ok((stream, peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// A connection that is being made.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Makes connections.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `authority`, a `host:port`.
    fn dial<'a>(&'a self, authority: &'a str) -> Dialling<'a>;
}

/// The machine's own TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, authority: &'a str) -> Dialling<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(authority).await?;
            // One small question, one small answer: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
