//! `mainstem demo`: everything at once, on a clip that comes along.
//!
//! Starts all roles in a folder of its own, makes a live input, publishes the clip with the input's
//! stream key, mints a signed playback URL and watches it. Nothing of it is simulated: it is the same
//! code, over real sockets, that serves an encoder and its viewers.

use crate::connect::{Manners, Trust};
use crate::failure::Failure;
use crate::up::{Arguments as UpArguments, Ready, Roles};
use crate::{publish, serving, watch};
use anyhow::Context;
use mainstem_engine::publish::Options;
use mainstem_quic::TlsTrust;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The clip; see `assets/PROVENANCE.md`.
const CLIP: &[u8] = include_bytes!("../assets/demo.mp4");

/// Run everything on a clip, and watch it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long to watch; without it, until Ctrl-C
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Fail unless video and audio arrive without a gap
    #[arg(long)]
    pub check: bool,
    /// Where to write what was watched
    #[arg(short, long, value_name = "FILE", default_value = "mainstem-demo.mp4")]
    pub output: PathBuf,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir().context("cannot make a folder for the demo")?;
    let roles = Roles::start(&settings(folder.path())?).await?;
    let shown = show(&arguments, folder.path(), &roles.ready).await;
    roles.stop().await;
    let outcome = shown?;
    println!("{}", outcome.table());
    println!("wrote {}", arguments.output.display());
    outcome.verdict()?;
    if arguments.check {
        check(&outcome)?;
        println!("checked: video and audio arrived, without a gap");
    }
    Ok(())
}

fn settings(folder: &Path) -> anyhow::Result<UpArguments> {
    let any = Some("127.0.0.1:0".parse()?);
    let arguments = UpArguments {
        http: any,
        rtmp: any,
        embed: Vec::new(),
        serving: serving::Arguments {
            moqt: any,
            data_dir: Some(folder.join("data")),
            ..serving::Arguments::default()
        },
    };
    arguments.read()
}

async fn show(
    arguments: &Arguments,
    folder: &Path,
    ready: &Ready,
) -> Result<watch::Outcome, Failure> {
    let clip = folder.join("demo.mp4");
    std::fs::write(&clip, CLIP).context("cannot write the clip")?;
    let api = Api::new(ready)?;
    let input = api.call(
        "streams.liveInputs.create",
        json!({ "name": "demo", "ingest": "fmp4" }),
    );
    let input = input.await?;
    let (row, name) = (text(&input, "id")?, text(&input, "external_input_id")?);
    eprintln!("live input {name} at {}", ready.moqt);

    let stop = Arc::new(AtomicBool::new(false));
    let key = text(&input, "stream_key_cleartext")?;
    let namespace = mainstem_core::moqt::TrackNamespace::from_path(&format!("publish/{name}"))?;
    let options = Options {
        url: format!("{}/publish/{name}?sk={key}", ready.moqt),
        trust: TlsTrust::Pinned(vec![pin(ready)?]),
        namespace,
        input: clip,
        repeat: true,
        grease: Manners::default().grease(),
    };
    let publishing = tokio::spawn(publish::start(options, Arc::clone(&stop)));

    let token = api
        .call("streams.liveInputs.mintPlaybackToken", json!({ "id": row }))
        .await?;
    let url = format!(
        "{}/playback/{name}?tok={}",
        ready.moqt,
        text(&token, "token")?
    );
    if arguments.seconds.is_none() {
        let token = text(&token, "token")?;
        eprintln!("watch it in a browser, until Ctrl-C here:");
        eprintln!("  {}/watch/{name}#tok={token}", ready.http);
        eprintln!("or from another shell:");
        eprintln!(
            "  mainstem watch '{url}' --cert-sha256 {}",
            ready.cert_sha256
        );
    }
    let watching = watch::Arguments {
        url,
        output: Some(arguments.output.clone()),
        seconds: arguments.seconds,
        json: false,
        reconnect: true,
        all: false,
        trust: Trust {
            cert_sha256: vec![ready.cert_sha256.clone()],
            insecure: false,
        },
        manners: Manners::default(),
    };
    let outcome = watch::Viewing::new(&watching)?.run(&watching).await;
    stop.store(true, Ordering::Relaxed);
    publishing.await??;
    outcome
}

fn check(outcome: &watch::Outcome) -> Result<(), Failure> {
    for kind in ["video", "audio"] {
        if outcome.frames_of(kind) == 0 {
            return Err(Failure::Other(anyhow::anyhow!("no {kind} arrived")));
        }
    }
    if outcome.gaps() > 0 {
        return Err(Failure::Other(anyhow::anyhow!("{} gaps", outcome.gaps())));
    }
    Ok(())
}

fn pin(ready: &Ready) -> anyhow::Result<[u8; 32]> {
    let trust = Trust {
        cert_sha256: vec![ready.cert_sha256.clone()],
        insecure: false,
    };
    match trust.resolve()? {
        TlsTrust::Pinned(hashes) => hashes.first().copied().context("no hash"),
        TlsTrust::Roots(_) | TlsTrust::Insecure => anyhow::bail!("a hash pins"),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value
        .get(field)
        .and_then(Value::as_str)
        .with_context(|| format!("an answer without {field}"))
}

/// The control plane, called as any client would.
struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
    org: String,
}

impl Api {
    fn new(ready: &Ready) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().build()?,
            base: format!("{}/api/trpc", ready.http),
            key: ready
                .api_key
                .clone()
                .context("a first start gives an api key")?,
            org: ready.org.clone(),
        })
    }

    async fn call(&self, procedure: &str, mut input: Value) -> anyhow::Result<Value> {
        if let Some(fields) = input.as_object_mut() {
            fields.insert("orgId".to_owned(), json!(self.org));
        }
        let call = self
            .http
            .post(format!("{}/{procedure}", self.base))
            .json(&input);
        let answer: Value = call.bearer_auth(&self.key).send().await?.json().await?;
        let data = answer.pointer("/result/data").cloned();
        data.with_context(|| {
            format!(
                "{procedure}: {}",
                answer.pointer("/error/message").unwrap_or(&Value::Null)
            )
        })
    }
}
