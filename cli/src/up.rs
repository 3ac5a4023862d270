//! `mainstem up`: control plane, engine and relay in one process.
//!
//! The roles speak to each other as they would over a network: HTTP with a secret that only this
//! process knows, MoQT over QUIC on the loopback interface. Where settings come from: [`serving`].

use crate::certificate;
use crate::failure::Failure;
use crate::mesh::{self, End, Ends};
use crate::serving;
use anyhow::Context;
use mainstem_control::{Control, Embedding, MetricsPage, PublicRelay, RelayPlace};
use mainstem_core::resolve::Secret;
use mainstem_engine::uplink::Trust;
use mainstem_engine::{ControlClient, Engine, RelayConfig};
use mainstem_relay::{Access, Admin, RelayServer};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long open sessions get to hear a goodbye.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of the secret between the roles.
const SECRET_BYTES: usize = 32;

/// Folder of all roles, unless the settings say otherwise.
const FOLDER: &str = "mainstem-data";
/// Names of the settings that other commands do not have.
const NAMES: [&str; 3] = ["http", "rtmp", "embed"];

/// Run every role in one process.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Arguments {
    /// Address of the HTTP control plane [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// Address of the RTMP ingest [default: 127.0.0.1:1935]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<SocketAddr>,
    /// Origin whose pages may show the player, such as https://example.org; `none` for no page; may be
    /// repeated [default: all]
    #[arg(long, value_name = "ORIGIN")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embed: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub serving: serving::Arguments,
}

impl Arguments {
    /// With what the file and the variables say beneath it.
    pub(crate) fn read(&self) -> anyhow::Result<Self> {
        serving::read(self, self.serving.config.as_deref(), &NAMES)
    }

    /// What relays show the control plane.
    fn secret(&self) -> anyhow::Result<Secret> {
        match &self.serving.control_secret_file {
            Some(file) => shared_secret(file),
            None => random_secret(),
        }
    }

    /// Who may show the player inside a page of theirs.
    fn embedding(&self) -> Embedding {
        match self.embed.as_slice() {
            [] => Embedding::Anywhere,
            [none] if none == "none" => Embedding::Nowhere,
            origins => Embedding::Origins(origins.to_vec()),
        }
    }

    /// The control plane, which tells of the other programs once they have started.
    fn control(
        &self,
        folder: &Path,
        secret: &Secret,
        figures: &Arc<Figures>,
    ) -> mainstem_control::Config {
        let mut control = mainstem_control::Config::new(local(self.http, 8080), folder);
        control.relay_secret = Some(secret.clone());
        control.metrics = Some(metrics_page(Arc::clone(figures)));
        control.relay = Some(relay_place(Arc::clone(figures)));
        control.embedding = self.embedding();
        control
    }

    /// How the relay judges who may publish and watch.
    fn access(&self, control_url: &str, secret: &Secret) -> anyhow::Result<Access> {
        if self.serving.open_relay {
            return Ok(Access::Open);
        }
        let control = mainstem_relay::ControlClient::new(control_url, secret.clone())?;
        Ok(Access::Control(control))
    }
}

/// What a running set of roles says about itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ready {
    /// Base URL of the control plane.
    pub http: String,
    /// URL that serves raw QUIC; with `https` in place of `moqt` it serves WebTransport.
    pub moqt: String,
    /// Where encoders push to.
    pub rtmp: String,
    /// The organisation.
    pub org: String,
    /// The API key, on the first start only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// SHA-256 of the certificate in hex.
    pub cert_sha256: String,
    /// Base URL of the relay's admin listener, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

/// The roles, running.
pub(crate) struct Roles {
    /// Where they serve.
    pub ready: Ready,
    control: mainstem_control::Running,
    relay: RelayServer,
    admin: Option<Admin>,
    engine: mainstem_engine::Running,
    certificate: tokio::task::JoinHandle<()>,
    mesh: mesh::Settings,
}

impl Roles {
    /// Starts all roles.
    pub(crate) async fn start(settings: &Arguments) -> anyhow::Result<Self> {
        let common = &settings.serving;
        let folder = common.folder(FOLDER);
        let mesh = mesh::Settings::read(common.mesh.clone())?;
        let secret = settings.secret()?;
        // The control plane comes first and knows the relay only later.
        let figures: Arc<Figures> = Arc::default();
        let control = settings.control(&folder, &secret, &figures);
        let control = Control::start(control).await?;
        let control_url = format!("http://{}", reachable(control.local_addr));

        let source = common.certificate(&folder);
        let certificates = source.load()?;
        let cert_sha256 = certificates.sha256();
        let certificate = tokio::spawn(source.keep_fresh(certificates.clone()));
        let relay = RelayServer::start(mainstem_relay::Config {
            listen: common.listen(),
            certificates: certificates.clone(),
            access: settings.access(&control_url, &secret)?,
            relay: mainstem_core::moqt::relay::Config {
                mesh: mesh.config(random_bytes()?),
                ..common.bounds.relay()
            },
            upstreams: mesh.upstreams()?,
            name: certificate::hex(&random_bytes::<8>()?),
            clock_skew: mainstem_relay::CLOCK_SKEW_DEFAULT,
            reset_key: Some(reset_key(&folder)?),
            connections_per_address_max: common.bounds.connections_per_address_max(),
            unsent_bytes_max: common.bounds.unsent_bytes_max(),
            event_log: common.bounds.event_log(&folder),
        })?;
        // Set once, after it was made.
        let _ = figures.relay.set(relay.metrics_source());
        let _ = figures.place.set(PlaceOfRelay {
            url: format!("https://{}", shown(common, relay.local_addr())),
            certificates: common.tls_cert.is_none().then(|| certificates.clone()),
        });
        mesh.follow_secret(&relay);
        let admin = common.bounds.admin(&relay).await?;
        relay.informed().await;

        let relay_addr = reachable(relay.local_addr());
        let mut engine = mainstem_engine::Config::new(
            local(settings.rtmp, 1935),
            ControlClient::new(&control_url, secret)?,
            RelayConfig {
                url: format!("moqt://{relay_addr}"),
                trust: Trust::SameAs(certificates),
            },
        );
        if !common.bounds.greases() {
            engine.broadcast.session.grease = None;
        }
        let engine = Engine::start(engine).await?;

        let _ = figures.engine.set(Arc::clone(&engine.metrics));

        let ready = Self::ready(
            common,
            &control,
            &relay,
            &engine,
            admin.as_ref(),
            &cert_sha256,
        );
        Ok(Self {
            ready,
            control,
            relay,
            admin,
            engine,
            certificate,
            mesh,
        })
    }

    /// Where the roles serve, and what is shown of them once.
    fn ready(
        settings: &serving::Arguments,
        control: &mainstem_control::Running,
        relay: &RelayServer,
        engine: &mainstem_engine::Running,
        admin: Option<&Admin>,
        cert_sha256: &[u8; 32],
    ) -> Ready {
        Ready {
            http: format!("http://{}", shown(settings, control.local_addr)),
            moqt: format!("moqt://{}", shown(settings, relay.local_addr())),
            rtmp: format!("rtmp://{}/live", shown(settings, engine.rtmp_addr)),
            org: control.org.clone(),
            api_key: control
                .bootstrap
                .as_ref()
                .map(|made| made.api_key.expose().to_owned()),
            cert_sha256: certificate::hex(cert_sha256),
            admin: admin.map(|admin| format!("http://{}", admin.local_addr())),
        }
    }

    /// Sends the relay's clients on, for a shutdown that they are not to notice.
    async fn drain(&self, ends: &mut Ends) -> anyhow::Result<()> {
        self.mesh.drain(&self.relay, ends).await
    }

    /// Ends all roles, the encoders' side first.
    pub(crate) async fn stop(self) {
        self.engine.stop(PATIENCE).await;
        drop(self.admin);
        self.relay
            .stop("the relay is shutting down", PATIENCE)
            .await;
        self.control.shutdown().await;
        self.certificate.abort();
    }
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = arguments.read()?;
    let mut ends = Ends::listen()?;
    let roles = Roles::start(&settings).await?;
    if arguments.serving.ready_json {
        println!("{}", serde_json::to_string(&roles.ready)?);
    } else {
        print_welcome(&roles.ready, settings.serving.open_relay);
    }
    if ends.next().await? == End::Terminate {
        roles.drain(&mut ends).await?;
    }
    tracing::info!("shutting down");
    roles.stop().await;
    Ok(())
}

fn print_welcome(ready: &Ready, is_open: bool) {
    println!("mainstem {} is up", env!("CARGO_PKG_VERSION"));
    println!("  control plane   {}", ready.http);
    println!("  player          {}/watch/<input>#tok=<token>", ready.http);
    println!("  go live         {}/publish/<input>", ready.http);
    println!(
        "  relay           {}  (also https:// for WebTransport)",
        ready.moqt
    );
    println!(
        "  rtmp ingest     {}/<input>  stream key: <key>",
        ready.rtmp
    );
    println!("  certificate     sha-256 {}", ready.cert_sha256);
    println!("  organisation    {}", ready.org);
    if let Some(admin) = &ready.admin {
        println!("  admin           {admin}");
    }
    if let Some(key) = &ready.api_key {
        println!("  api key         {key}");
        println!("                  shown this once only: keep it now");
    }
    if is_open {
        println!("  the relay is open: everybody on this machine may publish and watch");
    }
}

/// What the control plane tells of the other programs, once they have started.
#[derive(Default)]
struct Figures {
    relay: OnceLock<mainstem_relay::MetricsSource>,
    engine: OnceLock<Arc<mainstem_engine::Metrics>>,
    place: OnceLock<PlaceOfRelay>,
}

/// Where browsers find the relay.
struct PlaceOfRelay {
    url: String,
    /// Those that browsers know by their hash only.
    certificates: Option<mainstem_quic::Certificates>,
}

fn relay_place(figures: Arc<Figures>) -> RelayPlace {
    RelayPlace::new(move || {
        let place = figures.place.get()?;
        let hash =
            |certificates: &mainstem_quic::Certificates| certificate::hex(&certificates.sha256());
        Some(PublicRelay {
            url: place.url.clone(),
            certificate_hashes: place.certificates.iter().map(hash).collect(),
        })
    })
}

fn metrics_page(figures: Arc<Figures>) -> MetricsPage {
    MetricsPage::new(move || {
        let relay = figures
            .relay
            .get()
            .and_then(mainstem_relay::MetricsSource::read);
        let relay = relay.map(|metrics| mainstem_relay::metrics::render(&metrics));
        let engine = figures.engine.get().map(|metrics| metrics.render());
        relay.unwrap_or_default() + &engine.unwrap_or_default()
    })
}

/// What was said, or a port of this machine alone.
fn local(said: Option<SocketAddr>, port: u16) -> SocketAddr {
    said.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// An address that this machine can connect to: a wildcard is not one.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn shown(settings: &serving::Arguments, address: SocketAddr) -> String {
    match &settings.public_host {
        Some(host) => format!("{host}:{}", address.port()),
        None => reachable(address).to_string(),
    }
}

pub(crate) fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the operating system gives no random bytes"))?;
    Ok(bytes)
}

/// The key that lets a restarted relay end the connections of the killed one at once.
pub(crate) fn reset_key(data_dir: &Path) -> anyhow::Result<[u8; 32]> {
    let path = data_dir.join("reset.key");
    if let Ok(kept) = std::fs::read(&path)
        && let Ok(kept) = kept.try_into()
    {
        return Ok(kept);
    }
    let fresh = random_bytes::<32>()?;
    certificate::write_private(&path, &fresh)?;
    Ok(fresh)
}

/// Shortest secret between relays and the control plane, in bytes.
const SHARED_SECRET_MIN: usize = 16;

/// The secret in a file that every relay's machine has.
pub(crate) fn shared_secret(file: &Path) -> anyhow::Result<Secret> {
    let secret = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the secret in {}", file.display()))?;
    let secret = secret.trim();
    anyhow::ensure!(
        secret.len() >= SHARED_SECRET_MIN,
        "expected {SHARED_SECRET_MIN} bytes of secret in {} or more, found {}",
        file.display(),
        secret.len()
    );
    Ok(Secret::new(secret))
}

fn random_secret() -> anyhow::Result<Secret> {
    Ok(Secret::new(certificate::hex(
        &random_bytes::<SECRET_BYTES>()?,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_stronger_than_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mainstem.toml");
        std::fs::write(&file, "http = \"127.0.0.1:1\"\nrtmp = \"127.0.0.1:2\"\n").unwrap();
        let arguments = Arguments {
            http: Some("127.0.0.1:3".parse().unwrap()),
            serving: serving::Arguments {
                config: Some(file.clone()),
                ..serving::Arguments::default()
            },
            ..Arguments::default()
        };
        let settings = arguments.read().unwrap();
        assert_eq!(settings.http.unwrap().port(), 3);
        assert_eq!(settings.rtmp.unwrap().port(), 2);
        assert_eq!(settings.serving.moqt, None);
        std::fs::write(&file, "htpp = \"127.0.0.1:1\"\n").unwrap();
        let error = format!("{:#}", arguments.read().unwrap_err());
        assert!(error.contains("htpp"), "{error}");
    }
}
