//! The relays that are measured: how each is started, and where its program is looked for.
//!
//! | relay | program | from |
//! |---|---|---|
//! | `mainstem` | built here, release profile | this workspace |
//! | `moq-relay-ietf` | compiled once | `cargo install moq-relay-ietf` |
//! | `moq-relay` | compiled once | `cargo install moq-relay --no-default-features --features noq,websocket` |

use crate::{house, run};
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a relay may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A relay that the generator can measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[expect(
    clippy::enum_variant_names,
    reason = "programs keep the names that their makers gave them"
)]
pub(crate) enum Relay {
    /// Ours.
    Mainstem,
    /// Cloudflare's.
    MoqRelayIetf,
    /// moq-dev's.
    MoqRelay,
}

impl Relay {
    /// What it calls itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mainstem => "mainstem",
            Self::MoqRelayIetf => "moq-relay-ietf",
            Self::MoqRelay => "moq-relay",
        }
    }

    /// Its program, if it is there.
    pub(crate) fn program(self, peers: &Path) -> Option<PathBuf> {
        let program = match self {
            Self::Mainstem => house::target_dir().join("release/mainstem"),
            Self::MoqRelayIetf | Self::MoqRelay => peers.join(self.name()),
        };
        run::is_program(&program).then_some(program)
    }

    /// What `--version` says.
    pub(crate) fn version(self, program: &Path) -> String {
        let said = run::ask(Command::new(program).arg("--version")).unwrap_or_default();
        let version = said.split_whitespace().next_back().unwrap_or("?");
        format!("{} {version}", self.name())
    }

    /// Starts it on `core`, with what it keeps below `directory`.
    pub(crate) fn start(self, program: &Path, core: usize, directory: &Path) -> Result<Running> {
        std::fs::create_dir_all(directory)?;
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        match self {
            Self::Mainstem => {
                let any = "127.0.0.1:0";
                command
                    .args(["up", "--open-relay", "--ready-json"])
                    .args(["--http", any, "--moqt", any, "--rtmp", any, "--data-dir"])
                    .arg(directory.join("data"))
                    .stdout(Stdio::piped());
                let mut process = Running::spawn(command, directory)?;
                process.url = ready_url(&mut process.child)?;
                Ok(process)
            }
            Self::MoqRelayIetf => {
                let (certificate, key) = certificate(directory)?;
                let bind = free_address()?;
                command
                    .args(["--bind", &bind, "--tls-cert"])
                    .arg(certificate)
                    .arg("--tls-key")
                    .arg(key);
                Running::listening(command, directory, bind)
            }
            Self::MoqRelay => {
                let bind = free_address()?;
                command
                    .args(["--listen", &bind, "--listen-tls-generate", "localhost"])
                    .args(["--auth-public", "**"])
                    .args(["--listen-version", "moq-transport-18"]);
                Running::listening(command, directory, bind)
            }
        }
    }
}

/// A relay's process; ended when dropped.
pub(crate) struct Running {
    child: Child,
    /// Where viewers and publishers connect to.
    pub(crate) url: String,
}

impl Running {
    fn spawn(mut command: Command, directory: &Path) -> Result<Self> {
        let log = std::fs::File::create(directory.join("log"))?;
        let child = command
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start `taskset`, which pins programs to cores")?;
        let url = String::new();
        Ok(Self { child, url })
    }

    fn listening(mut command: Command, directory: &Path, address: String) -> Result<Self> {
        command.stdout(Stdio::null());
        let mut process = Self::spawn(command, directory)?;
        let start = Instant::now();
        // A relay is up once nobody else can have its address.
        while UdpSocket::bind(&address).is_ok() {
            if let Some(status) = process.child.try_wait()? {
                let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
                bail!("the relay ended with {status}: {}", log.trim());
            }
            if start.elapsed() > START_TIMEOUT {
                bail!("the relay does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        process.url = format!("moqt://{address}/");
        Ok(process)
    }

    /// Its process id: `taskset` becomes the program that it starts.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready_url(child: &mut Child) -> Result<String> {
    let stdout = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let ready: serde_json::Value =
        serde_json::from_str(&line).context("`mainstem up` did not say where it listens")?;
    let url = ready.get("moqt").and_then(serde_json::Value::as_str);
    Ok(url.context("no `moqt` address")?.to_owned())
}

/// An address that was free a moment ago.
fn free_address() -> Result<String> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A certificate for relays that do not make one themselves.
fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = run::ask(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    );
    made.context("`openssl` cannot make a certificate")?;
    Ok((certificate, key))
}
