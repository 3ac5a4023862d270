//! The admin's listener among clients that dawdle, ask and never read, or are still there when the
//! relay goes.
//!
//! Hosts of [`turmoil`] share one thread and a virtual time. The relay is the one that ships; its
//! shard is a thread with a real socket that nobody sends to, and the host's time stands still while
//! that thread is asked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

use mainstem_core::moqt::relay;
use mainstem_quic::Certificates;
use mainstem_quic::rustls::pki_types::PrivatePkcs8KeyDer;
use mainstem_relay::tcp::Accept;
use mainstem_relay::{Access, Admin, AdminConfig, Config, RelayServer, Upstreams};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 9000;
const CONNECTIONS: usize = 32;
const TICK: Duration = Duration::from_millis(5);
const METRICS: &str = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

type Script = fn(Rc<World>) -> Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct World {
    is_up: Cell<bool>,
    /// Set when the admin is to go.
    is_over: Cell<bool>,
}

struct Listener(TcpListener);

impl Accept for Listener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn certificates() -> Certificates {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Certificates::new(vec![certificate.der().clone()], key).unwrap()
}

async fn serve(world: Rc<World>) -> turmoil::Result {
    let relay = RelayServer::start(Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        certificates: certificates(),
        access: Access::Open,
        relay: relay::Config::default(),
        name: "relay".to_owned(),
        clock_skew: Duration::ZERO,
        upstreams: Upstreams::default(),
        reset_key: None,
        connections_per_address_max: 0,
        unsent_bytes_max: 1 << 30,
        event_log: None,
    })?;
    let listener = Listener(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?);
    let config = AdminConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        key: None,
    };
    let admin = Admin::start_on(config, listener, &relay)?;
    world.is_up.set(true);
    while !world.is_over.get() {
        sleep(TICK).await;
    }
    drop(admin);
    sleep(Duration::from_hours(1)).await;
    drop(relay);
    Ok(())
}

fn worlds(clients: &[(&'static str, Script)]) {
    for seed in 0..3 {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .simulation_duration(Duration::from_mins(5))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .build();
        let world = Rc::new(World::default());
        let of_server = Rc::clone(&world);
        sim.host("relay", move || serve(Rc::clone(&of_server)));
        for (name, script) in clients {
            let (world, script) = (Rc::clone(&world), *script);
            sim.client(*name, async move {
                while !world.is_up.get() {
                    sleep(TICK).await;
                }
                script(world).await;
                Ok(())
            });
        }
        if let Err(error) = sim.run() {
            panic!("seed {seed}: {error}");
        }
    }
}

async fn connect() -> TcpStream {
    TcpStream::connect(("relay", PORT)).await.unwrap()
}

/// Reads the figures; how long that took.
async fn scrape() -> Duration {
    let began = Instant::now();
    let mut stream = connect().await;
    stream.write_all(METRICS.as_bytes()).await.unwrap();
    let mut page = String::new();
    let read = stream.read_to_string(&mut page);
    let read = timeout(Duration::from_mins(2), read).await;
    read.expect("room for one more").unwrap();
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("# HELP"),
        "{page}"
    );
    began.elapsed()
}

#[test]
fn connections_that_say_nothing_keep_the_operator_out_for_seconds_only() {
    worlds(&[
        ("silent", |_| {
            Box::pin(async move {
                let mut streams = Vec::new();
                for _ in 0..CONNECTIONS {
                    let mut stream = connect().await;
                    stream.write_all(b"GET /metrics HT").await.unwrap();
                    streams.push(stream);
                }
                sleep(Duration::from_secs(20)).await;
            })
        }),
        ("operator", |_| {
            Box::pin(async move {
                sleep(Duration::from_millis(1500)).await;
                let took = scrape().await;
                assert!(took > Duration::from_secs(1), "all the room was taken");
                assert!(took < Duration::from_secs(6), "{took:?}");
            })
        }),
    ]);
}

#[test]
fn clients_that_ask_and_never_read_lose_their_connections() {
    worlds(&[
        ("deaf", |_| {
            Box::pin(async move {
                let mut streams = Vec::new();
                let flood = METRICS.replace("connection: close\r\n", "").repeat(300);
                for _ in 0..CONNECTIONS {
                    let mut stream = connect().await;
                    let asking = stream.write_all(flood.as_bytes());
                    let _ = timeout(Duration::from_millis(50), asking).await;
                    streams.push(stream);
                }
                sleep(Duration::from_secs(100)).await;
            })
        }),
        ("operator", |_| {
            Box::pin(async move {
                sleep(Duration::from_secs(5)).await;
                let took = scrape().await;
                assert!(took > Duration::from_secs(1), "all the room was taken");
                assert!(took < Duration::from_secs(62), "{took:?}");
            })
        }),
    ]);
}

#[test]
fn connections_end_with_the_admin() {
    worlds(&[("operator", |world| {
        Box::pin(async move {
            let mut kept = connect().await;
            let question = METRICS.replace("connection: close\r\n", "");
            kept.write_all(question.as_bytes()).await.unwrap();
            kept.read_exact(&mut [0; 12]).await.unwrap();
            let mut unused = connect().await;
            sleep(Duration::from_secs(1)).await;
            world.is_over.set(true);
            for stream in [&mut kept, &mut unused] {
                let mut rest = Vec::new();
                let end = timeout(Duration::from_secs(1), stream.read_to_end(&mut rest));
                assert!(end.await.is_ok(), "the connection outlives the admin");
            }
        })
    })]);
}
