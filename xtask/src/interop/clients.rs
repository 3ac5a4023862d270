//! The clients of the matrix: what they speak, how they are run, what they print.
//!
//! | client | drafts | what it does |
//! |---|---|---|
//! | `mainstem` | 22, 21, 20, 18, 16 | `mainstem interop`, all cases |
//! | `aiomoqt` | 22, 20, 18, 16 | its interoperability client, and its cases `fetch` and `join` |
//! | `moq-test-client` | 18 | all cases |
//! | `moq-pub/moq-sub` | 18 | H.264 in, H.264 out, judged by ffprobe |
//! | `publish/watch` | what the relay chooses | our publisher and our viewer with the relay between |

use super::child::{self, Kept};
use super::relays::{package_version, program_version};
use super::{Point, Status, Tools, tap};
use crate::run;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Drafts that we speak.
pub(crate) const OURS: &[u8] = &[22, 21, 20, 18, 16];
/// How long one client may run.
const CLIENT_TIMEOUT: Duration = Duration::from_mins(3);
/// How long media is watched.
const MEDIA: Duration = Duration::from_secs(5);

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    Mainstem,
    Aiomoqt,
    Cloudflare,
    PubSub,
    PublishWatch,
}

impl Client {
    pub(crate) const ALL: [Self; 5] = [
        Self::Mainstem,
        Self::Aiomoqt,
        Self::Cloudflare,
        Self::PubSub,
        Self::PublishWatch,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mainstem => "mainstem",
            Self::Aiomoqt => "aiomoqt",
            Self::Cloudflare => "moq-test-client",
            Self::PubSub => "moq-pub/moq-sub",
            Self::PublishWatch => "publish/watch",
        }
    }

    pub(crate) fn speaks(self, draft: u8) -> bool {
        match self {
            Self::Mainstem => OURS.contains(&draft),
            Self::Aiomoqt => [22, 20, 18, 16].contains(&draft),
            // Publisher and viewer offer all of ours and let the relay choose: one run says it all.
            Self::Cloudflare | Self::PubSub | Self::PublishWatch => draft == 18,
        }
    }

    pub(crate) fn is_there(self, tools: &Tools) -> bool {
        let has = |name: &str| run::is_program(&tools.peers.join(name));
        match self {
            Self::Mainstem | Self::Aiomoqt | Self::PublishWatch => true,
            Self::Cloudflare => has("moq-test-client"),
            Self::PubSub => has("moq-pub") && has("moq-sub"),
        }
    }

    pub(crate) fn version(self, tools: &Tools) -> String {
        match self {
            Self::Mainstem | Self::PublishWatch => program_version(Command::new(&tools.mainstem)),
            Self::Aiomoqt => package_version(tools, self.name()),
            Self::Cloudflare => "0.2.0".to_owned(),
            Self::PubSub => "0.10.0 / 0.5.0".to_owned(),
        }
    }

    /// Runs it against `url`.
    pub(crate) fn run(
        self,
        tools: &Tools,
        url: &str,
        draft: u8,
        directory: &Path,
    ) -> Result<Vec<Point>> {
        let draft = draft.to_string();
        match self {
            Self::Mainstem => {
                let mut client = child::command(&tools.mainstem);
                client
                    .args(["interop", "--relay", url, "--draft", &draft])
                    .args(["--tls-disable-verify", "--json"]);
                Ok(tap::from_json(&said(client, directory)?))
            }
            Self::Aiomoqt => {
                let mut points = Vec::new();
                for case in [None, Some("fetch"), Some("join")] {
                    let client = tools.python.with_file_name("moq-interop-client");
                    let mut client = child::command(client);
                    client
                        .args(["--relay", url, "--draft", &draft, "--tls-disable-verify"])
                        .args(case.iter().flat_map(|case| ["--test", case]));
                    points.extend(tap::points(&said(client, directory)?));
                }
                Ok(points)
            }
            Self::Cloudflare => {
                let mut client = child::command(tools.peers.join("moq-test-client"));
                client.args(["--relay", url, "--tls-disable-verify"]);
                Ok(tap::points(&said(client, directory)?))
            }
            Self::PubSub => pub_sub(tools, url, directory).map(|point| vec![point]),
            Self::PublishWatch => publish_watch(tools, url, directory).map(|point| vec![point]),
        }
    }
}

/// What a client prints, however it ends.
fn said(mut client: Command, directory: &Path) -> Result<String> {
    let out = directory.join("client.out");
    client
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out)?)
        .stderr(std::fs::File::create(directory.join("client.err"))?);
    let mut client = Kept::start(&mut client)?;
    let start = Instant::now();
    while client.0.try_wait()?.is_none() && start.elapsed() < CLIENT_TIMEOUT {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(std::fs::read_to_string(&out).unwrap_or_default())
}

/// `ffmpeg | moq-pub`, the relay, `moq-sub | ffprobe`.
fn pub_sub(tools: &Tools, url: &str, directory: &Path) -> Result<Point> {
    let quiet =
        || -> Result<std::fs::File> { Ok(std::fs::File::create(directory.join("media.log"))?) };
    let mut encoder = child::command("ffmpeg");
    encoder
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(&tools.clip)
        .args(["-an", "-c", "copy", "-f", "mp4", "-movflags"])
        .args([
            "empty_moov+frag_every_frame+separate_moof+omit_tfhd_offset",
            "-",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(quiet()?);
    let mut encoder = Kept::start(&mut encoder)?;
    let media = encoder.0.stdout.take().context("no media")?;
    let mut publisher = child::command(tools.peers.join("moq-pub"));
    publisher
        .args(["--name", "interop/pub-sub", url, "--tls-disable-verify"])
        .stdin(media)
        .stdout(quiet()?)
        .stderr(quiet()?);
    let _publisher = Kept::start(&mut publisher)?;
    std::thread::sleep(Duration::from_secs(2));
    let clip = directory.join("watched.mp4");
    let mut viewer = child::command(tools.peers.join("moq-sub"));
    viewer
        .args(["--name", "interop/pub-sub", url, "--tls-disable-verify"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&clip)?)
        .stderr(quiet()?);
    let viewer = Kept::start(&mut viewer)?;
    std::thread::sleep(MEDIA);
    drop(viewer);
    let entries = ["-count_packets", "-show_entries", "stream=nb_read_packets"];
    let counted = run::ask(
        Command::new("ffprobe")
            .args(["-v", "error"])
            .args(entries)
            .args(["-of", "csv=p=0"])
            .arg(&clip),
    );
    let frames: u64 = counted.unwrap_or_default().trim().parse().unwrap_or(0);
    // The clip has 25 frames a second, and a group of its own takes some of the time.
    Ok(media_point("media", frames, 25))
}

/// `mainstem publish`, the relay, `mainstem watch`.
fn publish_watch(tools: &Tools, url: &str, directory: &Path) -> Result<Point> {
    let url = format!("{url}interop/clip");
    let mut publisher = child::command(&tools.mainstem);
    publisher
        .args(["publish", &url])
        .arg(&tools.clip)
        .args(["--loop", "--insecure"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(directory.join("media.log"))?);
    let _publisher = Kept::start(&mut publisher)?;
    std::thread::sleep(Duration::from_secs(2));
    let mut viewer = child::command(&tools.mainstem);
    viewer
        .args(["watch", &url, "--insecure", "--json", "--seconds"])
        .arg(MEDIA.as_secs().to_string());
    let report = said(viewer, directory)?;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
    let number = |name: &str| report.get(name).and_then(serde_json::Value::as_u64);
    let mut point = media_point("media", number("frames").unwrap_or(0), 25);
    let gaps = number("gaps").unwrap_or(0);
    if gaps > 0 {
        point.status = Status::Failed;
        point.detail = format!("{}, {gaps} gaps", point.detail);
    }
    Ok(point)
}

fn media_point(case: &str, frames: u64, least: u64) -> Point {
    Point {
        case: case.to_owned(),
        status: if frames >= least {
            Status::Passed
        } else {
            Status::Failed
        },
        detail: format!("{frames} frames in {} s", MEDIA.as_secs()),
    }
}
