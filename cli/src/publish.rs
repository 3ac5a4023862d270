//! `mainstem publish`: sends a file or a pipe to a relay, as an encoder would.

use crate::connect::{Manners, Trust, namespace_of};
use crate::failure::Failure;
use mainstem_engine::publish::{Error, Options, Progress};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Publish a file, or a pipe.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Publishing URL: `moqt://host:port/publish/<input>?sk=<stream key>`, or `https://..` for
    /// WebTransport
    pub url: String,
    /// MP4 file, plain or fragmented, or `-` for fragmented MP4 on standard input
    pub input: PathBuf,
    /// Begin again at the end of the file, with time stamps that go on
    #[arg(long = "loop")]
    pub repeat: bool,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub manners: Manners,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let options = Options {
        url: arguments.url.clone(),
        trust: arguments.trust.resolve()?,
        namespace: namespace_of(&arguments.url)?,
        input: arguments.input,
        repeat: arguments.repeat,
        grease: arguments.manners.grease(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let on_signal = Arc::clone(&stop);
    let signals = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_signal.store(true, Ordering::Relaxed);
        }
    });
    let done = start(options, stop).await;
    signals.abort();
    let progress = done?;
    eprintln!(
        "published {} samples, {} bytes, {:.1} s of media, {} reconnects",
        progress.samples,
        progress.bytes,
        progress.media.as_secs_f64(),
        progress.reconnects
    );
    Ok(())
}

/// Publishes until the end, or until `stop` is set.
pub(crate) async fn start(options: Options, stop: Arc<AtomicBool>) -> Result<Progress, Failure> {
    let is_shown = std::io::stderr().is_terminal();
    let work = tokio::task::spawn_blocking(move || {
        mainstem_engine::publish::run(&options, &stop, |progress| {
            if is_shown {
                eprint!(
                    "\r{:.1} s of media published   ",
                    progress.media.as_secs_f64()
                );
            }
        })
    });
    match work.await? {
        Ok(progress) => Ok(progress),
        Err(Error::Refused(reason)) => Err(Failure::of_reason(&reason, "the relay refused")),
        Err(error) => Err(Failure::from(error)),
    }
}
