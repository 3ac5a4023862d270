//! [`PacketIo`]: what the shard loop needs of the network, whichever back-end provides it.
//!
//! A back-end moves datagrams and sleeps. It never looks into a datagram, and none of its types
//! appears here.

use mainstem_quic::{Datagram, Transmit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whether a transmit has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Handed to the kernel, or lost on the way: QUIC recovers.
    Done,
    /// The kernel has no room; try again after [`PacketIo::park`].
    Blocked,
}

/// One socket's worth of packet input and output.
pub trait PacketIo {
    /// Receives what is there, one batch of it; the number of datagrams given to `sink`, 0 when
    /// there are none now.
    fn receive(&mut self, sink: &mut dyn FnMut(Datagram)) -> io::Result<usize>;

    /// Sends packets of one transmit.
    fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> io::Result<Sent>;

    /// Packets that one transmit may hold.
    fn segments_max(&self) -> usize;

    /// Whether the socket may fragment packets, which rules out path MTU discovery.
    fn may_fragment(&self) -> bool;

    /// The socket's own address.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sleeps until something can be received, the waker is used, the time is over or, if
    /// `for_sending`, something can be sent again. May return early.
    fn park(&mut self, timeout: Option<Duration>, for_sending: bool) -> io::Result<()>;

    /// Ends a present or the next [`PacketIo::park`] from another thread.
    fn waker(&self) -> Arc<dyn Wake>;
}

/// Wakes a parked back-end.
pub trait Wake: Send + Sync {
    /// Wakes it. Cheap, but a system call.
    fn wake(&self);
}

/// How to open the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Address to bind; port 0 for any free one. An IPv6 address also receives IPv4 (dual stack).
    pub bind: SocketAddr,
    /// Lets several shards bind the same address; the kernel spreads clients over them.
    pub reuse_port: bool,
    /// Kernel receive buffer to ask for, in bytes; the kernel may grant less.
    pub receive_buffer: usize,
    /// Kernel send buffer to ask for, in bytes; the kernel may grant less.
    pub send_buffer: usize,
}

impl SocketOptions {
    /// Options for this address, for a single shard.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            reuse_port: false,
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
        }
    }
}
