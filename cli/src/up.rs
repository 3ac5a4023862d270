//! `mainstem up`: control plane, engine and relay in one process.
//!
//! The roles speak to each other as they would over a network: HTTP with a secret that only this
//! process knows, MoQT over QUIC on the loopback interface.
//!
//! Settings come, each stronger than the one before, from defaults, a TOML file, `MAINSTEM_*`
//! variables and the command line.

use crate::bounds;
use crate::certificate::{self, Source};
use crate::failure::Failure;
use crate::mesh::{self, End, Ends};
use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use mainstem_control::{Control, MetricsPage};
use mainstem_core::resolve::Secret;
use mainstem_engine::uplink::Trust;
use mainstem_engine::{ControlClient, Engine, RelayConfig};
use mainstem_relay::{Access, Admin, RelayServer};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long open sessions get to hear a goodbye.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of the secret between the roles.
const SECRET_BYTES: usize = 32;

/// Run every role in one process.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Address of the HTTP control plane [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// UDP address of the relay, for raw QUIC and WebTransport [default: 127.0.0.1:4443]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moqt: Option<SocketAddr>,
    /// Address of the RTMP ingest [default: 127.0.0.1:1935]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<SocketAddr>,
    /// Folder for the database, the keys and the certificate [default: mainstem-data]
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Certificate chain in PEM; without it a development certificate is made
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Host name that clients reach this machine by, for URLs and the development certificate
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_host: Option<String>,
    /// Let everybody publish and watch everything; on a loopback address only
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_relay: bool,
    /// File with the secret that relays on other machines show the control plane; without it, only
    /// the relay of this process is known
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_secret_file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub mesh: mesh::Arguments,
    #[command(flatten)]
    #[serde(flatten)]
    pub bounds: bounds::Arguments,
    /// Print one line of JSON on standard output when serving
    #[arg(long)]
    #[serde(skip)]
    pub ready_json: bool,
    /// Settings file in TOML, with the names of these options in snake_case
    #[arg(long, value_name = "FILE", env = "MAINSTEM_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// All settings, complete.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    http: SocketAddr,
    moqt: SocketAddr,
    rtmp: SocketAddr,
    data_dir: PathBuf,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    public_host: Option<String>,
    open_relay: bool,
    control_secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "mesh::list")]
    upstream: Vec<String>,
    #[serde(deserialize_with = "mesh::list")]
    plain_upstream: Vec<String>,
    #[serde(deserialize_with = "mesh::list")]
    upstream_cert_sha256: Vec<String>,
    upstream_insecure: bool,
    mesh_secret: Option<String>,
    mesh_secret_file: Option<PathBuf>,
    drain_to: Option<String>,
    drain_timeout: Option<u64>,
    cache_mb_max: usize,
    connections_per_address_max: usize,
    grease: bool,
    event_log: Option<PathBuf>,
    admin: Option<SocketAddr>,
    admin_key_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            http: local(8080),
            moqt: local(4443),
            rtmp: local(1935),
            data_dir: PathBuf::from("mainstem-data"),
            tls_cert: None,
            tls_key: None,
            public_host: None,
            open_relay: false,
            control_secret_file: None,
            upstream: Vec::new(),
            plain_upstream: Vec::new(),
            upstream_cert_sha256: Vec::new(),
            upstream_insecure: false,
            mesh_secret: None,
            mesh_secret_file: None,
            drain_to: None,
            drain_timeout: None,
            cache_mb_max: bounds::CACHE_MB_MAX,
            connections_per_address_max: 0,
            grease: true,
            event_log: None,
            admin: None,
            admin_key_file: None,
        }
    }
}

impl Settings {
    /// Puts the layers on top of each other.
    pub(crate) fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &arguments.config {
            anyhow::ensure!(file.is_file(), "no settings file at {}", file.display());
            layers = layers.merge(Toml::file_exact(file));
        }
        let mut names = vec![
            "http",
            "moqt",
            "rtmp",
            "data_dir",
            "tls_cert",
            "tls_key",
            "public_host",
            "open_relay",
            "control_secret_file",
        ];
        names.extend(mesh::NAMES);
        names.extend(bounds::NAMES);
        let layers = layers
            .merge(Env::prefixed("MAINSTEM_").only(&names))
            .merge(Serialized::defaults(arguments));
        layers.extract().context("the settings")
    }

    /// What relays show the control plane.
    fn secret(&self) -> anyhow::Result<Secret> {
        match &self.control_secret_file {
            Some(file) => shared_secret(file),
            None => random_secret(),
        }
    }

    /// How the relay judges who may publish and watch.
    fn access(&self, control_url: &str, secret: &Secret) -> anyhow::Result<Access> {
        if self.open_relay {
            return Ok(Access::Open);
        }
        let control = mainstem_relay::ControlClient::new(control_url, secret.clone())?;
        Ok(Access::Control(control))
    }

    fn certificate(&self) -> Source {
        Source::of_options(
            self.tls_cert.as_deref(),
            self.tls_key.as_deref(),
            &self.data_dir,
            self.moqt,
            self.public_host.as_deref(),
        )
    }

    fn visibility(&self) -> bounds::Visibility<'_> {
        bounds::Visibility {
            event_log: self.event_log.as_deref(),
            admin: self.admin,
            admin_key_file: self.admin_key_file.as_deref(),
            data_dir: &self.data_dir,
        }
    }

    fn mesh(&self) -> anyhow::Result<mesh::Settings> {
        mesh::Settings::read(mesh::Arguments {
            upstream: self.upstream.clone(),
            plain_upstream: self.plain_upstream.clone(),
            upstream_cert_sha256: self.upstream_cert_sha256.clone(),
            upstream_insecure: self.upstream_insecure,
            mesh_secret: self.mesh_secret.clone(),
            mesh_secret_file: self.mesh_secret_file.clone(),
            drain_to: self.drain_to.clone(),
            drain_timeout: self.drain_timeout,
        })
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
    pub(crate) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let mesh = settings.mesh()?;
        let secret = settings.secret()?;
        // The control plane comes first and knows the relay only later.
        let figures: Arc<Figures> = Arc::default();
        let mut control = mainstem_control::Config::new(settings.http, &settings.data_dir);
        control.relay_secret = Some(secret.clone());
        control.metrics = Some(metrics_page(Arc::clone(&figures)));
        let control = Control::start(control).await?;
        let control_url = format!("http://{}", reachable(control.local_addr));

        let source = settings.certificate();
        let certificates = source.load()?;
        let cert_sha256 = certificates.sha256();
        let certificate = tokio::spawn(source.keep_fresh(certificates.clone()));
        let access = settings.access(&control_url, &secret)?;
        let relay = RelayServer::start(mainstem_relay::Config {
            listen: settings.moqt,
            certificates: certificates.clone(),
            access,
            relay: mainstem_core::moqt::relay::Config {
                mesh: mesh.config(random_bytes()?),
                ..bounds::relay(settings.cache_mb_max, settings.grease)
            },
            upstreams: mesh.upstreams()?,
            name: certificate::hex(&random_bytes::<8>()?),
            clock_skew: mainstem_relay::CLOCK_SKEW_DEFAULT,
            reset_key: Some(reset_key(&settings.data_dir)?),
            connections_per_address_max: settings.connections_per_address_max,
            event_log: settings.visibility().event_log(),
        })?;
        // Set once, a few lines after it was made.
        let _ = figures.relay.set(relay.metrics_source());
        mesh.follow_secret(&relay);
        let admin = settings.visibility().admin(&relay).await?;
        relay.informed().await;

        let relay_addr = reachable(relay.local_addr());
        let mut engine = mainstem_engine::Config::new(
            settings.rtmp,
            ControlClient::new(&control_url, secret)?,
            RelayConfig {
                url: format!("moqt://{relay_addr}"),
                trust: Trust::SameAs(certificates),
            },
        );
        if !settings.grease {
            engine.broadcast.session.grease = None;
        }
        let engine = Engine::start(engine).await?;

        let _ = figures.engine.set(Arc::clone(&engine.metrics));

        let ready = Self::ready(
            settings,
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
        settings: &Settings,
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
    let settings = Settings::read(&arguments)?;
    let mut ends = Ends::listen()?;
    let roles = Roles::start(&settings).await?;
    if arguments.ready_json {
        println!("{}", serde_json::to_string(&roles.ready)?);
    } else {
        print_welcome(&roles.ready, settings.open_relay);
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

/// Where the figures of `/metrics` come from, once their programs have started.
#[derive(Default)]
struct Figures {
    relay: OnceLock<mainstem_relay::MetricsSource>,
    engine: OnceLock<Arc<mainstem_engine::Metrics>>,
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

/// An address that this machine can connect to: a wildcard is not one.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn shown(settings: &Settings, address: SocketAddr) -> String {
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
            config: Some(file.clone()),
            ..Arguments::default()
        };
        let settings = Settings::read(&arguments).unwrap();
        assert_eq!(settings.http.port(), 3);
        assert_eq!(settings.rtmp.port(), 2);
        assert_eq!(settings.moqt, Settings::default().moqt);
        std::fs::write(&file, "htpp = \"127.0.0.1:1\"\n").unwrap();
        let error = format!("{:#}", Settings::read(&arguments).unwrap_err());
        assert!(error.contains("htpp"), "{error}");
    }
}
