//! The relays of the matrix: what they speak, how they are started.
//!
//! | relay | drafts | from |
//! |---|---|---|
//! | `mainstem` | 22, 21, 20, 18, 16 | this workspace |
//! | `aiomoqt` | 22, 20, 18, 16 | PyPI: its interoperability relay |
//! | `moq-rs` | 22, 20, 18, 16 | PyPI: a server over moq-net's wheel |
//! | `moq-relay-ietf` | 18 | crates.io |
//! | `moq-relay` | 22, 20, 18, 16 | crates.io |

use super::Tools;
use super::child::{self, Kept};
use crate::run;
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a relay may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// A server that passes everything on between its sessions.
const MOQ_RS: &str = "
import asyncio, sys, moq
async def main():
    origin = moq.OriginProducer()
    server = moq.Server(sys.argv[1], tls_generate=['localhost'], publish=origin, subscribe=origin)
    async with server:
        await server.serve()
asyncio.run(main())
";

/// A relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relay {
    Mainstem,
    Aiomoqt,
    MoqRs,
    Cloudflare,
    MoqDev,
}

impl Relay {
    pub(crate) const ALL: [Self; 5] = [
        Self::Mainstem,
        Self::Aiomoqt,
        Self::MoqRs,
        Self::Cloudflare,
        Self::MoqDev,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mainstem => "mainstem",
            Self::Aiomoqt => "aiomoqt",
            Self::MoqRs => "moq-rs",
            Self::Cloudflare => "moq-relay-ietf",
            Self::MoqDev => "moq-relay",
        }
    }

    pub(crate) fn speaks(self, draft: u8) -> bool {
        match self {
            Self::Mainstem => super::clients::OURS.contains(&draft),
            Self::Aiomoqt | Self::MoqRs | Self::MoqDev => [22, 20, 18, 16].contains(&draft),
            Self::Cloudflare => draft == 18,
        }
    }

    pub(crate) fn is_there(self, tools: &Tools) -> bool {
        match self {
            Self::Mainstem | Self::Aiomoqt | Self::MoqRs => true,
            Self::Cloudflare | Self::MoqDev => run::is_program(&tools.peers.join(self.name())),
        }
    }

    pub(crate) fn version(self, tools: &Tools) -> String {
        match self {
            Self::Mainstem => program_version(Command::new(&tools.mainstem)),
            Self::Aiomoqt | Self::MoqRs => package_version(tools, self.name()),
            Self::Cloudflare | Self::MoqDev => {
                program_version(Command::new(tools.peers.join(self.name())))
            }
        }
    }

    /// Starts it; what it keeps goes below `directory`.
    pub(crate) fn start(self, tools: &Tools, directory: &Path) -> Result<Running> {
        let address = free_address()?;
        let mut command = match self {
            Self::Mainstem => child::command(&tools.mainstem),
            Self::Aiomoqt | Self::MoqRs => child::command(&tools.python),
            Self::Cloudflare | Self::MoqDev => child::command(tools.peers.join(self.name())),
        };
        command.current_dir(directory).env("RUST_LOG", "warn");
        match self {
            Self::Mainstem => {
                let any = "127.0.0.1:0";
                command
                    .args(["up", "--open-relay", "--ready-json"])
                    .args(["--http", any, "--moqt", any, "--rtmp", any])
                    .args(["--data-dir", "data"]);
                return Running::ready(command, directory);
            }
            Self::Aiomoqt => {
                certificate(directory)?;
                let port = address.rsplit(':').next().unwrap_or_default();
                command
                    .args(["-m", "aiomoqt.tools.moq_interop_relay", "--dual"])
                    .args(["--bind", "127.0.0.1", "--port", port])
                    .args(["--cert", "cert.pem", "--key", "key.pem"]);
            }
            Self::MoqRs => {
                command.args(["-c", MOQ_RS, &address]);
            }
            Self::Cloudflare => {
                certificate(directory)?;
                command
                    .args(["--bind", &address, "--coordinator-file", "coordinator.json"])
                    .args(["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
            }
            Self::MoqDev => {
                command
                    .args(["--listen", &address, "--listen-tls-generate", "localhost"])
                    .args(["--auth-public", "**"]);
            }
        }
        Running::listening(command, directory, address)
    }
}

/// A relay's process; ended when dropped.
pub(crate) struct Running {
    child: Kept,
    /// `host:port`.
    pub(crate) authority: String,
}

impl Running {
    fn spawn(mut command: Command, directory: &Path) -> Result<Kept> {
        let log = std::fs::File::create(directory.join("relay.log"))?;
        Kept::start(command.stdin(Stdio::null()).stderr(log))
    }

    fn ready(mut command: Command, directory: &Path) -> Result<Self> {
        command.stdout(Stdio::piped());
        let mut child = Self::spawn(command, directory)?;
        let stdout = child.0.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).context("`mainstem up` did not say where it listens")?;
        let url = ready.get("moqt").and_then(serde_json::Value::as_str);
        let url = url.context("no `moqt` address")?;
        let authority = url.trim_start_matches("moqt://").trim_end_matches('/');
        let authority = authority.to_owned();
        Ok(Self { child, authority })
    }

    fn listening(mut command: Command, directory: &Path, authority: String) -> Result<Self> {
        command.stdout(Stdio::null());
        let child = Self::spawn(command, directory)?;
        let mut running = Self { child, authority };
        let start = Instant::now();
        // It is up once nobody else can have its address.
        while UdpSocket::bind(&running.authority).is_ok() {
            if let Some(status) = running.child.0.try_wait()? {
                let log = std::fs::read_to_string(directory.join("relay.log")).unwrap_or_default();
                bail!("the relay ended with {status}: {}", log.trim());
            }
            if start.elapsed() > START_TIMEOUT {
                bail!("the relay does not listen on {}", running.authority);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Bound is not yet served.
        std::thread::sleep(Duration::from_millis(300));
        Ok(running)
    }
}

pub(super) fn program_version(mut program: Command) -> String {
    let said = run::ask(program.arg("--version")).unwrap_or_default();
    let version = said.split_whitespace().next_back().unwrap_or("-");
    version.to_owned()
}

pub(super) fn package_version(tools: &Tools, package: &str) -> String {
    let question = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))";
    let said = run::ask(Command::new(&tools.python).args(["-c", question, package]));
    said.unwrap_or_default().trim().to_owned()
}

/// An address that was free a moment ago.
fn free_address() -> Result<String> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A certificate for relays that do not make one themselves.
fn certificate(directory: &Path) -> Result<()> {
    let made = run::ask(
        Command::new("openssl")
            .current_dir(directory)
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"]),
    );
    made.map(|_| ())
        .context("`openssl` cannot make a certificate")
}
