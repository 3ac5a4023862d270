//! [`EventLog`]: writes the event logs of sessions to files, for qlog's tools.
//!
//! One file a session, `START-SESSION-PROTOCOL.sqlog`, or `..-from-MILLISECONDSms.sqlog` where the log was
//! switched on late: JSON text sequences
//! (RFC 7464) after draft-ietf-quic-qlog-main-schema, events after draft-pardue-moq-qlog-moq-events.
//! Files are written on a thread of their own; the shard hands records over and never waits.
//!
//! | bound | beyond it |
//! |---|---|
//! | [`EventLogConfig::file_bytes_max`] | the session's file ends with a line that says so |
//! | [`EventLogConfig::files_max`] | the oldest file of this process is removed |
//! | [`QUEUE_MAX`] records on their way | records are dropped, and the file says how many |

use mainstem_core::moqt::session::record::{Body, Record};
use mainstem_core::time::UnixTime;
use mainstem_core::transport::SessionId;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Records that may wait to be written.
const QUEUE_MAX: usize = 16_384;
/// Silence after which what was written reaches the files.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// How long a reader waits for what is still to be written.
const FLUSH_WAIT: Duration = Duration::from_secs(2);
/// Separates the texts of a JSON text sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Where and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLogConfig {
    /// A folder; made when it is not there.
    pub folder: PathBuf,
    /// Bytes of one session's file.
    pub file_bytes_max: u64,
    /// Files that are kept.
    pub files_max: usize,
    /// Whether all sessions are logged, or those only that somebody asks for.
    pub is_of_all: bool,
}

impl EventLogConfig {
    /// The usual bounds: 16 MiB a session, 256 sessions.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            file_bytes_max: 16 << 20,
            files_max: 256,
            is_of_all: true,
        }
    }

    /// The same, for those sessions only that somebody asks for while the relay runs.
    pub fn on_demand(folder: impl Into<PathBuf>) -> Self {
        Self {
            is_of_all: false,
            ..Self::new(folder)
        }
    }
}

/// Hands records to the writing thread, which ends when the last of these is dropped.
#[derive(Clone)]
pub(crate) struct EventLog {
    jobs: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
    folder: PathBuf,
    start: u64,
}

enum Job {
    Record(SessionId, Box<Record>),
    /// Everything before it is to be in the files.
    Flush(SyncSender<()>),
}

impl EventLog {
    /// Makes the folder and starts the thread. `unix_time_at_epoch` is the wall clock at the records'
    /// zero.
    pub(crate) fn start(config: EventLogConfig, unix_time_at_epoch: UnixTime) -> io::Result<Self> {
        std::fs::create_dir_all(&config.folder)?;
        let (jobs, received) = sync_channel(QUEUE_MAX);
        let (folder, start) = (config.folder.clone(), unix_time_at_epoch.as_millis());
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            config,
            unix_time_at_epoch,
            open: BTreeMap::new(),
            written: VecDeque::new(),
            dropped: Arc::clone(&dropped),
        };
        std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || writer.run(&received))?;
        Ok(Self {
            jobs,
            dropped,
            folder,
            start,
        })
    }

    /// Takes a record; does not wait.
    pub(crate) fn put(&self, session: SessionId, record: Box<Record>) {
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Record(session, record)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The newest log of a session, as far as it was written. Blocks, for a moment.
    pub(crate) fn read(&self, session: SessionId) -> io::Result<Option<Vec<u8>>> {
        let (done, is_done) = sync_channel(1);
        if self.jobs.send(Job::Flush(done)).is_ok() {
            // What is not there in time is left out.
            let _ = is_done.recv_timeout(FLUSH_WAIT);
        }
        let begin = format!("{}-{:08}-", self.start, session.0);
        let mut newest: Option<(std::time::SystemTime, PathBuf)> = None;
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(&begin) {
                continue;
            }
            let made = entry.metadata()?.modified()?;
            if newest.as_ref().is_none_or(|(before, _)| made >= *before) {
                newest = Some((made, entry.path()));
            }
        }
        newest.map(|(_, path)| std::fs::read(path)).transpose()
    }
}

struct Writer {
    config: EventLogConfig,
    unix_time_at_epoch: UnixTime,
    open: BTreeMap<SessionId, SessionFile>,
    /// Files of this process, oldest first.
    written: VecDeque<PathBuf>,
    dropped: Arc<AtomicU64>,
}

struct SessionFile {
    file: BufWriter<File>,
    bytes: u64,
    is_full: bool,
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            let (session, record) = match jobs.recv_timeout(FLUSH_AFTER) {
                Ok(Job::Record(session, record)) => (session, record),
                Ok(Job::Flush(done)) => {
                    self.flush();
                    // Whoever asked may have gone.
                    let _ = done.try_send(());
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            };
            if let Err(error) = self.write(session, &record) {
                tracing::warn!(%error, session = session.0, "cannot write an event log");
                self.open.remove(&session);
            }
        }
    }

    fn flush(&mut self) {
        for (session, file) in &mut self.open {
            if let Err(error) = file.file.flush() {
                tracing::warn!(%error, session = session.0, "cannot write an event log");
            }
        }
    }

    fn write(&mut self, session: SessionId, record: &Record) -> io::Result<()> {
        let is_last = matches!(record.body, Body::Closed { .. } | Body::LogEnded);
        if !self.open.contains_key(&session) {
            let file = self.create(session, record)?;
            self.open.insert(session, file);
        }
        let max = self.config.file_bytes_max;
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if let Some(file) = self.open.get_mut(&session) {
            if dropped > 0 {
                let at = record.at;
                let body = Body::Lost { records: dropped };
                file.put(&Record { at, body }.to_json(), max)?;
            }
            file.put(&record.to_json(), max)?;
        }
        if is_last && let Some(mut file) = self.open.remove(&session) {
            file.file.flush()?;
        }
        Ok(())
    }

    fn create(&mut self, session: SessionId, first: &Record) -> io::Result<SessionFile> {
        let (protocol, late) = match &first.body {
            Body::Opened { protocol, .. } => (*protocol, String::new()),
            // A session may be logged more than once.
            Body::LogBegan { protocol, .. } => (*protocol, late_suffix(first)),
            _ => ("late", late_suffix(first)),
        };
        let start = self.unix_time_at_epoch.as_millis();
        let name = format!("{start}-{:08}-{protocol}{late}.sqlog", session.0);
        let path = self.config.folder.join(name);
        let file = BufWriter::new(File::create(&path)?);
        self.keep(path);
        let mut file = SessionFile {
            file,
            bytes: 0,
            is_full: false,
        };
        let head = json!({
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "serialization_format": "application/qlog+json-seq",
            "title": "mainstem relay",
            "trace": {
                "vantage_point": { "type": "server" },
                "event_schemas": ["urn:ietf:params:qlog:events:moqt"],
                "common_fields": {
                    "group_id": session.0.to_string(),
                    "time_format": "relative_to_epoch",
                    "reference_time": {
                        "clock_type": "system",
                        "epoch": "1970-01-01T00:00:00.000Z",
                        "wall_clock_ms": start,
                    },
                },
            },
        });
        file.put(&head, u64::MAX)?;
        Ok(file)
    }

    fn keep(&mut self, path: PathBuf) {
        self.written.push_back(path);
        while self.written.len() > self.config.files_max.max(1) {
            let Some(oldest) = self.written.pop_front() else {
                break;
            };
            remove(&oldest);
        }
    }
}

/// When a log begins that is not a session's whole one.
fn late_suffix(first: &Record) -> String {
    format!("-from-{}ms", first.at.as_nanos() / 1_000_000)
}

/// A file that is still written to goes on without a name, and is gone with its session.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove an old event log");
    }
}

impl SessionFile {
    fn put(&mut self, value: &serde_json::Value, bytes_max: u64) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        let text = value.to_string();
        let len = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len).saturating_add(2);
        if self.bytes > bytes_max {
            self.is_full = true;
            let end = json!({ "time": value.get("time"), "name": "moqt:log_full", "data": {} });
            self.line(&end.to_string())?;
            return self.file.flush();
        }
        self.line(&text)
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(&[RECORD_SEPARATOR])?;
        self.file.write_all(text.as_bytes())?;
        self.file.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_core::time::Instant;

    fn record(body: Body) -> Record {
        let at = Instant::from_nanos(1_500_000);
        Record { at, body }
    }

    fn closed() -> Body {
        Body::Closed {
            by: None,
            code: None,
            name: None,
            reason: "over".to_owned(),
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn writer(config: EventLogConfig) -> Writer {
        std::fs::create_dir_all(&config.folder).unwrap();
        Writer {
            config,
            unix_time_at_epoch: UnixTime::from_millis(1000),
            open: BTreeMap::new(),
            written: VecDeque::new(),
            dropped: Arc::default(),
        }
    }

    #[test]
    fn files_are_json_sequences_bounded_in_size_and_number() {
        let folder = std::env::temp_dir().join(format!("mainstem-log-{}", std::process::id()));
        let config = EventLogConfig {
            file_bytes_max: 2000,
            files_max: 2,
            ..EventLogConfig::new(&folder)
        };
        let mut writer = writer(config);
        for session in 0..3 {
            let session = SessionId(session);
            let opened = Body::Opened {
                protocol: "moqt-22",
                carrier: "quic",
            };
            writer.write(session, &record(opened)).unwrap();
            for records in 0..100 {
                let body = Body::Lost { records };
                writer.write(session, &record(body)).unwrap();
            }
            writer.write(session, &record(closed())).unwrap();
        }
        assert!(writer.open.is_empty(), "closed sessions hold no file");
        let files = files(&folder);
        assert_eq!(files.len(), 2);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.len() < 3000, "{} bytes", text.len());
            for line in text.lines() {
                let json = line.strip_prefix('\u{1e}').unwrap();
                let value: serde_json::Value = serde_json::from_str(json).unwrap();
                assert!(value.is_object());
            }
            assert!(text.contains("moqt:log_full"));
            assert!(text.contains("\"time\":1.5"));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
