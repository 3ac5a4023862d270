//! The portable back-end: a UDP socket with segmentation offload (GSO, GRO), ECN and packet
//! addresses where the system has them, and epoll or its likes for sleeping.
//!
//! Received datagrams are copied out of the receive buffers, in runs of at most 16 KiB, so that a
//! small packet that is kept does not hold a 64 KiB buffer.
//!
//! Limits: 32 receive buffers of 64 KiB; 44 packets per send, which stays below 64 KiB at the
//! largest packet that path MTU discovery finds (1452 bytes).

use crate::io::{PacketIo, Sent, SocketOptions, Wake};
use bytes::BytesMut;
use mainstem_quic::{Datagram, Ecn, Transmit};
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// One receive buffer: the most that GRO joins.
const BUFFER: usize = 64 << 10;
/// The most bytes that one kept datagram can hold in memory.
const RUN: usize = 16 << 10;
const SEGMENTS_MAX: usize = 44;

/// A UDP socket and the means to sleep on it.
pub struct Portable {
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    buffers: Vec<u8>,
    is_v6: bool,
    /// Edge-triggered: stays set until the socket says that it has nothing.
    readable: bool,
}

impl Portable {
    /// Opens and binds the socket.
    pub fn open(options: &SocketOptions) -> io::Result<Self> {
        let socket = bind(options)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Asking for more than the kernel grants is no error; it gives what it may.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), options.receive_buffer);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), options.send_buffer);
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let poll = Poll::new()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, SOCKET, interest)?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            is_v6: socket.local_addr()?.is_ipv6(),
            socket,
            state,
            poll,
            events: Events::with_capacity(8),
            waker,
            buffers: vec![0; BUFFER * quinn_udp::BATCH_SIZE],
            readable: true,
        })
    }

    /// The address as the socket's family writes it.
    fn family(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.is_v6 => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            other => other,
        }
    }

    fn send_once(
        &self,
        transmit: &Transmit,
        bytes: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()> {
        self.state.try_send(
            UdpSockRef::from(&self.socket),
            &quinn_udp::Transmit {
                destination: self.family(transmit.destination),
                ecn: transmit.ecn.map(ecn_out),
                contents: bytes,
                segment_size: segment,
                src_ip: transmit.src_ip,
            },
        )
    }
}

impl PacketIo for Portable {
    fn receive(&mut self, sink: &mut dyn FnMut(Datagram)) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] = {
            let mut chunks = self.buffers.chunks_mut(BUFFER);
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()))
        };
        let socket = UdpSockRef::from(&self.socket);
        let messages = match self.state.recv(socket, &mut slices, &mut metas) {
            Ok(messages) => messages,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(0);
            }
            Err(error) => {
                // Not again before something new arrives: the error may stay.
                self.readable = false;
                return Err(error);
            }
        };
        let mut datagrams = 0;
        for (meta, buffer) in metas.iter().zip(slices.iter()).take(messages) {
            let bytes = buffer.get(..meta.len).unwrap_or_default();
            datagrams += split(meta, bytes, sink);
        }
        Ok(datagrams)
    }

    fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> io::Result<Sent> {
        match self.send_once(transmit, bytes, transmit.segment_size) {
            Ok(()) => Ok(Sent::Done),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Blocked),
            // A path MTU probe that was too large, as it is meant to be found out.
            Err(error) if quinn_udp::is_msg_size_err(&error) => Ok(Sent::Done),
            Err(error) => {
                // An interface without segmentation offload refuses the train, not its packets.
                let Some(segment) = transmit.segment_size else {
                    return Err(error);
                };
                for packet in bytes.chunks(segment) {
                    self.send_once(transmit, packet, None)?;
                }
                Ok(Sent::Done)
            }
        }
    }

    fn segments_max(&self) -> usize {
        self.state.max_gso_segments().clamp(1, SEGMENTS_MAX)
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn park(&mut self, timeout: Option<Duration>, _for_sending: bool) -> io::Result<()> {
        // Writability is always watched: the edge costs nothing when nobody waits for it.
        let timeout = if self.readable {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.readable |= self
            .events
            .iter()
            .any(|event| event.token() == SOCKET && event.is_readable());
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(PollWaker(Arc::clone(&self.waker)))
    }
}

struct PollWaker(Arc<mio::Waker>);

impl Wake for PollWaker {
    fn wake(&self) {
        // Fails only when the poll is gone, and then nobody sleeps.
        let _ = self.0.wake();
    }
}

fn bind(options: &SocketOptions) -> io::Result<std::net::UdpSocket> {
    let domain = Domain::for_address(options.bind);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&options.bind.into())?;
    Ok(socket.into())
}

/// Gives the datagrams of one received message to `sink`; how many they were.
fn split(meta: &RecvMeta, mut bytes: &[u8], sink: &mut dyn FnMut(Datagram)) -> usize {
    let stride = meta.stride.max(1);
    let per_run = (RUN / stride).max(1).saturating_mul(stride);
    let remote = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
    let mut datagrams = 0;
    while !bytes.is_empty() {
        let (run, rest) = bytes.split_at(per_run.min(bytes.len()));
        bytes = rest;
        let mut run = BytesMut::from(run);
        while !run.is_empty() {
            // The last one, often the only one, takes the allocation along instead of sharing it.
            let data = if run.len() > stride {
                run.split_to(stride)
            } else {
                std::mem::take(&mut run)
            };
            datagrams += 1;
            sink(Datagram {
                remote,
                local_ip: meta.dst_ip.filter(|ip| !is_unspecified(*ip)),
                ecn: meta.ecn.map(ecn_in),
                data,
            });
        }
    }
    datagrams
}

fn is_unspecified(ip: IpAddr) -> bool {
    ip.to_canonical().is_unspecified()
}

fn ecn_in(ecn: EcnCodepoint) -> Ecn {
    match ecn {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

fn ecn_out(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}
