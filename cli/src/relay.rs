//! `mainstem relay`: a relay alone, as meshes are made of.
//!
//! Who may publish and watch, a control plane says, or nobody has to ask (`--open-relay`, on a
//! loopback address only). Where settings come from: [`serving`].

use crate::certificate;
use crate::failure::Failure;
use crate::mesh::{self, End, Ends};
use crate::serving;
use crate::up::{PATIENCE, random_bytes, reachable, reset_key};
use anyhow::Context;
use mainstem_relay::{Access, ControlClient, RelayServer};
use serde::{Deserialize, Serialize};

/// Folder of a relay alone, unless the settings say otherwise.
const FOLDER: &str = "mainstem-relay-data";

/// Run a relay alone.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Arguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub serving: serving::Arguments,
    /// Control plane that says who may publish and watch: `http://host:port`
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
}

impl Arguments {
    fn access(&self) -> anyhow::Result<Access> {
        match (&self.control, self.serving.open_relay) {
            (None, true) => Ok(Access::Open),
            (Some(url), false) => {
                let file = self
                    .serving
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
    let file = arguments.serving.config.as_deref();
    let settings = serving::read(&arguments, file, &["control"])?;
    let common = &settings.serving;
    let folder = common.folder(FOLDER);
    let mesh = mesh::Settings::read(common.mesh.clone())?;
    let source = common.certificate(&folder);
    let certificates = source.load()?;
    let cert_sha256 = certificate::hex(&certificates.sha256());
    let certificate = tokio::spawn(source.keep_fresh(certificates.clone()));
    let mut ends = Ends::listen()?;
    let relay = RelayServer::start(mainstem_relay::Config {
        listen: common.listen(),
        certificates,
        access: settings.access()?,
        relay: mainstem_core::moqt::relay::Config {
            mesh: mesh.config(random_bytes()?),
            ..common.bounds.relay()
        },
        name: certificate::hex(&random_bytes::<8>()?),
        clock_skew: mainstem_relay::CLOCK_SKEW_DEFAULT,
        upstreams: mesh.upstreams()?,
        reset_key: Some(reset_key(&folder)?),
        connections_per_address_max: common.bounds.connections_per_address_max(),
        unsent_bytes_max: common.bounds.unsent_bytes_max(),
        event_log: common.bounds.event_log(&folder),
    })
    .map_err(anyhow::Error::from)?;
    mesh.follow_secret(&relay);
    let admin = common.bounds.admin(&relay).await?;
    relay.informed().await;
    let address = reachable(relay.local_addr());
    let host = common.public_host.as_ref();
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
    if arguments.serving.ready_json {
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
