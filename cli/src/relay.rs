//! `mainstem relay`: a relay alone, as meshes are made of.
//!
//! Who may publish and watch, a control plane says, or nobody has to ask (`--open-relay`, on a
//! loopback address only). Settings come, each stronger than the one before, from defaults, a TOML
//! file, `MAINSTEM_*` variables and the command line.

use crate::bounds;
use crate::certificate::{self, Source};
use crate::failure::Failure;
use crate::mesh::{self, End, Ends};
use crate::up::{PATIENCE, random_bytes, reachable, reset_key};
use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use mainstem_relay::{Access, ControlClient, RelayServer};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Run a relay alone.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// UDP address, for raw QUIC and WebTransport [default: 127.0.0.1:4443]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moqt: Option<SocketAddr>,
    /// Folder for the certificate and the relay's own key [default: mainstem-relay-data]
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
    /// Host name that clients reach this machine by
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_host: Option<String>,
    /// Let everybody publish and watch everything; on a loopback address only
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_relay: bool,
    /// Control plane that says who may publish and watch: `http://host:port`
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// File with the secret that the control plane knows its relays by
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
struct Settings {
    moqt: SocketAddr,
    data_dir: PathBuf,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    public_host: Option<String>,
    open_relay: bool,
    control: Option<String>,
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
        Self {
            moqt: SocketAddr::from((Ipv4Addr::LOCALHOST, 4443)),
            data_dir: PathBuf::from("mainstem-relay-data"),
            tls_cert: None,
            tls_key: None,
            public_host: None,
            open_relay: false,
            control: None,
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
    fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &arguments.config {
            anyhow::ensure!(file.is_file(), "no settings file at {}", file.display());
            layers = layers.merge(Toml::file_exact(file));
        }
        let mut names = vec![
            "moqt",
            "data_dir",
            "tls_cert",
            "tls_key",
            "public_host",
            "open_relay",
            "control",
            "control_secret_file",
        ];
        names.extend(mesh::NAMES);
        names.extend(bounds::NAMES);
        let layers = layers
            .merge(Env::prefixed("MAINSTEM_").only(&names))
            .merge(Serialized::defaults(arguments));
        layers.extract().context("the settings")
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

    fn access(&self) -> anyhow::Result<Access> {
        match (&self.control, self.open_relay) {
            (None, true) => Ok(Access::Open),
            (Some(url), false) => {
                let file = self
                    .control_secret_file
                    .as_ref()
                    .context("--control needs --control-secret-file")?;
                let secret = crate::up::shared_secret(file)?;
                Ok(Access::Control(ControlClient::new(url, secret)?))
            }
            _ => anyhow::bail!("expected either --control or --open-relay"),
        }
    }
}

/// What a running relay says about itself.
#[derive(Debug, Serialize)]
struct Ready {
    moqt: String,
    cert_sha256: String,
    /// Base URL of the admin listener, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = Settings::read(&arguments)?;
    let mesh = settings.mesh()?;
    let source = Source::of_options(
        settings.tls_cert.as_deref(),
        settings.tls_key.as_deref(),
        &settings.data_dir,
        settings.moqt,
        settings.public_host.as_deref(),
    );
    let certificates = source.load()?;
    let cert_sha256 = certificate::hex(&certificates.sha256());
    let certificate = tokio::spawn(source.keep_fresh(certificates.clone()));
    let mut ends = Ends::listen()?;
    let relay = RelayServer::start(mainstem_relay::Config {
        listen: settings.moqt,
        certificates,
        access: settings.access()?,
        relay: mainstem_core::moqt::relay::Config {
            mesh: mesh.config(random_bytes()?),
            ..bounds::relay(settings.cache_mb_max, settings.grease)
        },
        name: certificate::hex(&random_bytes::<8>()?),
        clock_skew: mainstem_relay::CLOCK_SKEW_DEFAULT,
        upstreams: mesh.upstreams()?,
        reset_key: Some(reset_key(&settings.data_dir)?),
        connections_per_address_max: settings.connections_per_address_max,
        event_log: settings.visibility().event_log(),
    })
    .map_err(anyhow::Error::from)?;
    mesh.follow_secret(&relay);
    let admin = settings.visibility().admin(&relay).await?;
    relay.informed().await;
    let address = reachable(relay.local_addr());
    let host = settings.public_host.as_ref();
    let ready = Ready {
        moqt: match host {
            Some(host) => format!("moqt://{host}:{}", address.port()),
            None => format!("moqt://{address}"),
        },
        cert_sha256,
        admin: admin
            .as_ref()
            .map(|admin| format!("http://{}", admin.local_addr())),
    };
    if arguments.ready_json {
        println!("{}", serde_json::to_string(&ready)?);
    } else {
        println!("mainstem {} relays", env!("CARGO_PKG_VERSION"));
        println!(
            "  relay           {}  (also https:// for WebTransport)",
            ready.moqt
        );
        println!("  certificate     sha-256 {}", ready.cert_sha256);
        if let Some(admin) = &ready.admin {
            println!("  admin           {admin}");
        }
    }
    if ends.next().await? == End::Terminate {
        mesh.drain(&relay, &mut ends).await?;
    }
    drop(admin);
    relay.stop("the relay is shutting down", PATIENCE).await;
    certificate.abort();
    Ok(())
}
