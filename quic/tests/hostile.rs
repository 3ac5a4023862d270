//! A peer that speaks QUIC well and HTTP/3 badly, beside an honest session.

mod world;

use bytes::{Bytes, BytesMut};
use mainstem_core::transport::{Carrier, Input, StreamEvent};
use mainstem_quic::{Datagram, default_provider};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::*;

/// quinn-proto by hand, with nothing above it.
struct Attacker {
    endpoint: Endpoint,
    connection: Connection,
    handle: ConnectionHandle,
    address: SocketAddr,
    epoch: Instant,
}

impl Attacker {
    fn new(world: &World, number: u16) -> Self {
        let provider = default_provider();
        let roots = mainstem_quic::rustls::RootCertStore::empty();
        let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
        let mut tls = mainstem_quic::rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&mainstem_quic::rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.dangerous().set_certificate_verifier(verifier);
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = QuicClientConfig::try_from(tls).expect("a cipher");
        let client = ClientConfig::new(Arc::new(crypto));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        #[allow(
            clippy::disallowed_methods,
            reason = "an Instant cannot be made otherwise"
        )]
        let epoch = Instant::now();
        let now = epoch + Duration::from_nanos(world.now.as_nanos());
        let (handle, connection) = endpoint
            .connect(now, client, address(SERVER), "localhost")
            .expect("a connection");
        Self {
            endpoint,
            connection,
            handle,
            address: SocketAddr::from(([10, 0, 0, 1], 1024 + number)),
            epoch,
        }
    }

    /// Exchanges packets with the server until both are quiet.
    fn shuttle(&mut self, world: &mut World) {
        for _ in 0..40 {
            let now = self.epoch + Duration::from_nanos(world.now.as_nanos());
            self.connection.handle_timeout(now);
            while let Some(event) = self.connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                    self.connection.handle_event(event);
                }
            }
            while self.connection.poll().is_some() {}
            let mut quiet = true;
            let mut buffer = Vec::new();
            while let Some(transmit) = self.connection.poll_transmit(now, 1, &mut buffer) {
                quiet = false;
                let datagram = Datagram {
                    remote: self.address,
                    local_ip: None,
                    ecn: None,
                    data: BytesMut::from(&buffer[..transmit.size]),
                };
                buffer.clear();
                world.hosts[SERVER].handle_datagram(world.now, datagram);
            }
            world.run_for(Duration::from_millis(1));
            for (to, packet) in std::mem::take(&mut world.stray) {
                if to != self.address {
                    continue;
                }
                quiet = false;
                let mut answer = Vec::new();
                let packet = BytesMut::from(&packet[..]);
                let event =
                    self.endpoint
                        .handle(now, address(SERVER), None, None, packet, &mut answer);
                if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                    self.connection.handle_event(event);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn send(&mut self, dir: Dir, bytes: &[u8], end: usize) {
        let Some(id) = self.connection.streams().open(dir) else {
            return;
        };
        let mut stream = self.connection.send_stream(id);
        let _ = stream.write(bytes);
        match end {
            0 => drop(stream.finish()),
            1 => drop(stream.reset(7_u32.into())),
            _ => {}
        }
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<mainstem_quic::rustls::crypto::CryptoProvider>);

mod verify {
    use super::AnyCertificate;
    use mainstem_quic::rustls::client::danger::{
        HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
    };
    use mainstem_quic::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use mainstem_quic::rustls::{DigitallySignedStruct, Error, SignatureScheme};

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

/// A CONNECT as literals only, from RFC 9204 by hand.
fn connect() -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "webtransport"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/live"),
        ("wt-available-protocols", "\"moqt-22\""),
    ] {
        if name.len() < 7 {
            section.push(0x20 | u8::try_from(name.len()).expect("short"));
        } else {
            section.extend([0x27, u8::try_from(name.len() - 7).expect("short")]);
        }
        section.extend(name.bytes());
        section.push(u8::try_from(value.len()).expect("short"));
        section.extend(value.bytes());
    }
    let len = u16::try_from(section.len()).expect("short") | 0x4000;
    [&[1][..], &len.to_be_bytes(), &section].concat()
}

/// Streams of a client, in the order in which they are opened.
fn conversation() -> Vec<(Dir, Vec<u8>)> {
    vec![
        (Dir::Uni, vec![0, 4, 2, 0x33, 1, 7, 1, 0]),
        (Dir::Uni, vec![2, 0x20]),
        (Dir::Uni, vec![3, 0x40]),
        (Dir::Bi, connect()),
        (Dir::Uni, b"\x40\x54\x00hello".to_vec()),
        (Dir::Bi, b"\x40\x41\x00hello".to_vec()),
        (Dir::Bi, b"\x01\x03\x00\x00\xd1".to_vec()),
    ]
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides.max(1)
    }
}

#[test]
fn mutated_clients_disturb_nobody_else() {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test may be told to try harder"
    )]
    let rounds = std::env::var("HOSTILE_ROUNDS");
    let rounds = rounds.ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut world = World::new(GOOD, Default::default(), Probe::new(), Probe::echo());
    let (honest, _) = world.open(Carrier::WebTransport);
    world.act(CLIENT, open(honest, local(BIDI, 0)));
    let mut dice = Dice(3);
    let mut said = Vec::new();
    for round in 0..rounds {
        let mut attacker = Attacker::new(&world, round);
        attacker.shuttle(&mut world);
        assert!(!attacker.connection.is_handshaking());
        for (dir, mut bytes) in conversation() {
            if dice.roll(3) == 0 {
                let at = dice.roll(bytes.len());
                match dice.roll(3) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] = u8::try_from(dice.roll(256)).expect("a byte"),
                    _ => bytes.extend_from_within(at..),
                }
            }
            attacker.send(dir, &bytes, dice.roll(8));
        }
        let datagram = Bytes::from(vec![u8::try_from(dice.roll(256)).expect("a byte"); 3]);
        let _ = attacker.connection.datagrams().send(datagram, true);
        attacker.shuttle(&mut world);
        let text = format!("{round} ");
        said.extend(text.bytes());
        world.act(CLIENT, write(honest, local(BIDI, 0), text, false, false));
    }
    let counters = world.hosts[SERVER].counters();
    assert!(
        counters.sessions_opened > u64::from(rounds) / 4,
        "{counters:?}"
    );
    assert!(counters.refused > u64::from(rounds) / 4, "{counters:?}");
    // Attackers fall silent; what is left of them goes, the honest session stays.
    world.act(
        CLIENT,
        write(honest, local(BIDI, 0), Bytes::new(), true, false),
    );
    world.run_for(Duration::from_secs(40));
    let (data, events) = world.hosts[CLIENT].app().stream(local(BIDI, 0));
    assert_eq!(data, said);
    assert_eq!(events, [StreamEvent::Finished]);
    let counters = world.hosts[SERVER].counters();
    assert_eq!((counters.sessions_open, counters.connections_open), (1, 1));
}

#[test]
fn a_client_that_does_not_read_costs_one_write_and_others_go_on() {
    let mut server = Probe::new();
    let megabyte = Bytes::from(vec![1; 1 << 20]);
    // Floods every session, one notified megabyte after the other.
    server.reaction = Some(Box::new(move |_, input, out| {
        let session = match input {
            Input::Opened { session, .. } => {
                out.push(open(*session, local(UNI, 0)));
                *session
            }
            Input::Stream {
                session,
                event: StreamEvent::Writable,
                ..
            } => *session,
            _ => return,
        };
        out.push(write(session, local(UNI, 0), megabyte.clone(), false, true));
    }));
    let mut client = Probe::new();
    client.forget_data = true;
    let mut world = World::new(GOOD, Default::default(), client, server);
    let mut lazy = Attacker::new(&world, 0);
    lazy.shuttle(&mut world);
    for (dir, bytes) in conversation().into_iter().take(4) {
        lazy.send(dir, &bytes, 2);
    }
    for _ in 0..20 {
        lazy.shuttle(&mut world);
    }
    let writable = |world: &World| {
        let is = |input: &&Input| {
            matches!(
                input,
                Input::Stream {
                    event: StreamEvent::Writable,
                    ..
                }
            )
        };
        world.log(SERVER).iter().filter(is).count()
    };
    // quinn's default window for one stream is 1.25 MB.
    let stuck_at = writable(&world);
    assert!(stuck_at <= 1, "{stuck_at}");
    assert_eq!(world.hosts[SERVER].counters().sessions_open, 1);
    let request = world.request(Carrier::WebTransport, &["moqt-22"]);
    world.hosts[CLIENT]
        .connect(world.now, request)
        .expect("a session");
    world.run_for(Duration::from_secs(2));
    assert!(world.hosts[CLIENT].app().received > 4 << 20);
    assert!(writable(&world) > stuck_at + 4);
    assert_eq!(world.hosts[SERVER].counters().overloads, 0);
}
