//! Builds quinn's configurations from ours, with every source of entropy overridden.
//!
//! Sources: RFC 9000; quinn-proto's list of random defaults (endpoint generator, connection ids,
//! first destination id, reset key, token key).

use crate::clock::WallClock;
use crate::config::{Config, Congestion, KeyedCounter, Limits, Server};
use crate::tls::{self, ALPN_H3, TlsError, TlsTrust};
use quinn_proto::congestion::{CubicConfig, NewRenoConfig};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout,
    NoneTokenStore, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
};
use ring::{hkdf, hmac};
use rustls::crypto::CryptoProvider;
use std::sync::Arc;
use std::time::Duration;

/// The QUIC version of RFC 9000; the drafts before it are not spoken.
const QUIC_V1: u32 = 1;
/// Length of our connection ids: a shard byte and seven unpredictable ones.
const CONNECTION_ID_LEN: usize = 8;
/// Length of a client's first destination id.
const FIRST_ID_LEN: usize = 16;
/// The most streams that quinn allocates slots for at little cost.
const STREAMS_MAX: u32 = 1024;

/// What stays the same for every connection of a host.
pub(crate) struct Factory {
    provider: Arc<CryptoProvider>,
    client_transport: Arc<TransportConfig>,
    first_ids: KeyedCounter,
}

impl Factory {
    /// The endpoint and what its connections are made from.
    pub(crate) fn new(config: &Config, wall: &WallClock) -> Result<(Self, Endpoint), TlsError> {
        let provider = config.crypto.clone().unwrap_or_else(tls::default_provider);
        let transport = Arc::new(transport(&config.limits, config.congestion));
        let server = match &config.server {
            Some(server) => Some(Arc::new(server_config(
                config, server, &provider, &transport, wall,
            )?)),
            None => None,
        };
        let endpoint = Endpoint::new(
            Arc::new(endpoint_config(config)),
            server,
            !config.may_fragment,
            None,
        );
        let client_transport = match config.limits.client_liveness {
            Some(liveness) => {
                let limits = Limits {
                    idle_timeout: liveness.idle_timeout,
                    keep_alive: Some(liveness.keep_alive),
                    ..config.limits.clone()
                };
                Arc::new(self::transport(&limits, config.congestion))
            }
            None => transport,
        };
        let factory = Self {
            provider,
            client_transport,
            first_ids: KeyedCounter::new(&config.entropy.connection_id_key, b"first"),
        };
        Ok((factory, endpoint))
    }

    /// The configuration of one outgoing connection, and the id that its first packet is sent to.
    pub(crate) fn client(
        &mut self,
        trust: TlsTrust,
        alpn: Vec<Vec<u8>>,
        wall: &WallClock,
    ) -> Result<(ClientConfig, ConnectionId), TlsError> {
        let tls = tls::client_config(&self.provider, wall, trust, alpn)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|_| TlsError::Provider)?;
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::clone(&self.client_transport));
        client.token_store(Arc::new(NoneTokenStore));
        let id = connection_id(&self.first_ids.next(), FIRST_ID_LEN);
        client.initial_dst_cid_provider(Arc::new(move || id));
        Ok((client, id))
    }
}

/// Our connection ids: the shard, then bytes that only we can tell from random.
struct ShardIds {
    shard: u8,
    ids: KeyedCounter,
}

impl ConnectionIdGenerator for ShardIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = self.ids.next();
        if let Some(first) = bytes.first_mut() {
            *first = self.shard;
        }
        connection_id(&bytes, CONNECTION_ID_LEN)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn connection_id(bytes: &[u8; 32], len: usize) -> ConnectionId {
    ConnectionId::new(bytes.get(..len).unwrap_or_default())
}

fn endpoint_config(config: &Config) -> EndpointConfig {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &config.entropy.reset_key);
    let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
    endpoint.rng_seed(Some(config.entropy.rng_seed));
    endpoint.supported_versions(vec![QUIC_V1]);
    let (shard, key) = (config.shard, config.entropy.connection_id_key);
    endpoint.cid_generator(move || {
        Box::new(ShardIds {
            shard,
            ids: KeyedCounter::new(&key, b"connection"),
        })
    });
    endpoint
}

fn server_config(
    config: &Config,
    server: &Server,
    provider: &Arc<CryptoProvider>,
    transport: &Arc<TransportConfig>,
    wall: &WallClock,
) -> Result<ServerConfig, TlsError> {
    let mut alpn: Vec<Vec<u8>> = server
        .protocols
        .iter()
        .map(|protocol| protocol.clone().into_bytes())
        .collect();
    if server.web_transport {
        alpn.push(ALPN_H3.to_vec());
    }
    let tls = tls::server_config(provider, wall, &server.certificates, alpn)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| TlsError::Provider)?;
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"mainstem-quic token")
        .extract(&config.entropy.token_key);
    let mut out = ServerConfig::new(Arc::new(crypto), Arc::new(token_key));
    out.transport_config(Arc::clone(transport));
    out.time_source(Arc::new(wall.clone()));
    // Tokens for later connections would need a log of used ones; Retry tokens need none.
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    out.validation_token_config(tokens);
    Ok(out)
}

fn transport(limits: &Limits, congestion: Congestion) -> TransportConfig {
    let mut out = TransportConfig::default();
    out.max_concurrent_uni_streams(limits.peer_uni_streams_max.min(STREAMS_MAX).into());
    out.max_concurrent_bidi_streams(limits.peer_bidi_streams_max.min(STREAMS_MAX).into());
    out.stream_receive_window(limits.stream_receive_window.into());
    out.receive_window(limits.receive_window.into());
    out.send_window(limits.send_window);
    let idle = u32::try_from(limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    out.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))));
    out.keep_alive_interval(limits.keep_alive);
    out.datagram_receive_buffer_size(Some(limits.datagram_receive_buffer));
    out.datagram_send_buffer_size(crate::datagrams::AHEAD_BYTES);
    out.initial_rtt(limits.initial_rtt);
    match congestion {
        Congestion::Cubic => out.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Congestion::NewReno => {
            out.congestion_controller_factory(Arc::new(NewRenoConfig::default()))
        }
    };
    out
}
