//! Names to addresses, by the system's resolver. Blocks: not for a shard's thread.

use mainstem_quic::SessionUrl;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// An address of the URL's host that a socket bound to `local` can reach: IPv4 sockets reach IPv4
/// only, IPv6 sockets are dual stack. The resolver's order decides otherwise.
pub fn resolve(url: &SessionUrl, local: SocketAddr) -> io::Result<SocketAddr> {
    (url.host.as_str(), url.port)
        .to_socket_addrs()?
        .find(|address| local.is_ipv6() || address.is_ipv4())
        .ok_or_else(|| {
            let message = format!("no address of {} is reachable from {local}", url.host);
            io::Error::new(io::ErrorKind::NotFound, message)
        })
}
