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
//!
//! A file that cannot be made or written, as on a full disk, ends its session's log: that is said once,
//! no other file is touched for it, and the next session is tried anew.

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
            disk: Machine,
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

/// Where files are made.
trait Disk {
    type File: Write;

    fn create(&mut self, path: &Path) -> io::Result<Self::File>;

    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The machine's own files.
struct Machine;

impl Disk for Machine {
    type File = File;

    fn create(&mut self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

struct Writer<D: Disk> {
    disk: D,
    config: EventLogConfig,
    unix_time_at_epoch: UnixTime,
    /// Files of open sessions; `None` for a session whose log has failed.
    open: BTreeMap<SessionId, Option<SessionFile<D::File>>>,
    /// Files of this process, oldest first.
    written: VecDeque<PathBuf>,
    dropped: Arc<AtomicU64>,
}

struct SessionFile<F: Write> {
    file: BufWriter<F>,
    bytes: u64,
    is_full: bool,
}

impl<D: Disk> Writer<D> {
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
            self.take(session, &record);
        }
    }

    fn flush(&mut self) {
        let mut failed = Vec::new();
        for (session, file) in &mut self.open {
            if let Some(Err(error)) = file.as_mut().map(|file| file.file.flush()) {
                failed.push((*session, error));
            }
        }
        for (session, error) in failed {
            self.give_up(session, &error);
            self.open.insert(session, None);
        }
    }

    /// Writes a record down, or gives its session's log up.
    fn take(&mut self, session: SessionId, record: &Record) {
        let is_last = matches!(record.body, Body::Closed { .. } | Body::LogEnded);
        let written = self.write(session, record, is_last);
        if let Err(error) = &written {
            self.give_up(session, error);
        }
        if is_last {
            self.open.remove(&session);
        } else if written.is_err() {
            self.open.insert(session, None);
        }
    }

    /// What is still in the buffer is let go: dropping it would try to write once more.
    fn give_up(&mut self, session: SessionId, error: &io::Error) {
        tracing::warn!(%error, session = session.0, "cannot write an event log: it ends here");
        if let Some(Some(file)) = self.open.remove(&session) {
            drop(file.file.into_parts());
        }
    }

    fn write(&mut self, session: SessionId, record: &Record, is_last: bool) -> io::Result<()> {
        if !self.open.contains_key(&session) {
            let file = self.create(session, record)?;
            self.open.insert(session, Some(file));
        }
        let max = self.config.file_bytes_max;
        if let Some(Some(file)) = self.open.get_mut(&session) {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let at = record.at;
                let body = Body::Lost { records: dropped };
                file.put(&Record { at, body }.to_json(), max)?;
            }
            file.put(&record.to_json(), max)?;
            if is_last {
                file.file.flush()?;
            }
        }
        Ok(())
    }

    fn create(&mut self, session: SessionId, first: &Record) -> io::Result<SessionFile<D::File>> {
        let (protocol, late) = match &first.body {
            Body::Opened { protocol, .. } => (*protocol, String::new()),
            // A session may be logged more than once.
            Body::LogBegan { protocol, .. } => (*protocol, late_suffix(first)),
            _ => ("late", late_suffix(first)),
        };
        let start = self.unix_time_at_epoch.as_millis();
        let name = format!("{start}-{:08}-{protocol}{late}.sqlog", session.0);
        let path = self.config.folder.join(name);
        let file = BufWriter::new(self.disk.create(&path)?);
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
            // One that is still written to goes on without a name, and is gone with its session.
            if let Err(error) = self.disk.remove(&oldest) {
                tracing::warn!(%error, path = %oldest.display(), "cannot remove an old event log");
            }
        }
    }
}

/// When a log begins that is not a session's whole one.
fn late_suffix(first: &Record) -> String {
    format!("-from-{}ms", first.at.as_nanos() / 1_000_000)
}

impl<F: Write> SessionFile<F> {
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
    use std::sync::Mutex;

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

    fn writer<D: Disk>(disk: D, config: EventLogConfig) -> Writer<D> {
        Writer {
            disk,
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
        std::fs::create_dir_all(&config.folder).unwrap();
        let mut writer = writer(Machine, config);
        for session in 0..3 {
            let session = SessionId(session);
            let opened = Body::Opened {
                protocol: "moqt-22",
                carrier: "quic",
            };
            writer.take(session, &record(opened));
            for records in 0..100 {
                let body = Body::Lost { records };
                writer.take(session, &record(body));
            }
            writer.take(session, &record(closed()));
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

    /// A disk that has room for so many bytes, and takes so many in one write.
    #[derive(Clone, Default)]
    struct Faulty(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        files: BTreeMap<PathBuf, Vec<u8>>,
        room: usize,
        at_once_max: usize,
        /// Files may not be made.
        is_closed: bool,
        created: usize,
        removed: usize,
        writes: usize,
    }

    struct Open(Faulty, PathBuf);

    impl Disk for Faulty {
        type File = Open;

        fn create(&mut self, path: &Path) -> io::Result<Open> {
            let mut state = self.0.lock().unwrap();
            state.created += 1;
            if state.is_closed {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.files.insert(path.to_owned(), Vec::new());
            drop(state);
            Ok(Open(self.clone(), path.to_owned()))
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            state.removed += 1;
            let gone = state.files.remove(path);
            gone.map(drop).ok_or(io::ErrorKind::NotFound.into())
        }
    }

    impl Write for Open {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.0.lock().unwrap();
            state.writes += 1;
            if state.writes.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(state.room).min(state.at_once_max);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.room -= taken;
            if let Some(file) = state.files.get_mut(&self.1) {
                file.extend_from_slice(&bytes[..taken]);
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn faulty(room: usize, at_once_max: usize) -> (Faulty, Writer<Faulty>) {
        let disk = Faulty::default();
        {
            let mut state = disk.0.lock().unwrap();
            (state.room, state.at_once_max) = (room, at_once_max);
        }
        let config = EventLogConfig {
            files_max: 4,
            ..EventLogConfig::new("/logs")
        };
        (disk.clone(), writer(disk, config))
    }

    fn session(writer: &mut Writer<Faulty>, id: u64, records: u64) {
        let opened = Body::Opened {
            protocol: "moqt-22",
            carrier: "quic",
        };
        writer.take(SessionId(id), &record(opened));
        for records in 0..records {
            writer.take(SessionId(id), &record(Body::Lost { records }));
        }
        writer.take(SessionId(id), &record(closed()));
    }

    #[test]
    fn a_full_disk_ends_the_log_that_meets_it_and_costs_no_other() {
        let (disk, mut writer) = faulty(20_000, usize::MAX);
        session(&mut writer, 1, 50);
        session(&mut writer, 2, 50);
        let whole = disk.0.lock().unwrap().files.clone();
        // Writes far beyond what is left, in one long session.
        session(&mut writer, 3, 5_000);
        {
            let mut state = disk.0.lock().unwrap();
            assert_eq!((state.created, state.removed), (3, 0));
            assert_eq!(state.room, 0);
            assert!(state.writes < 20, "{} writes", state.writes);
            for (path, content) in &whole {
                assert_eq!(state.files.get(path), Some(content), "another log");
            }
            state.room = 20_000;
        }
        assert!(
            writer.open.is_empty(),
            "nothing is kept of a closed session"
        );
        // There is room again: the next session is logged, as whole as those before.
        session(&mut writer, 4, 50);
        let state = disk.0.lock().unwrap();
        let lens: Vec<usize> = state.files.values().map(Vec::len).collect();
        assert_eq!((lens[0], lens[1]), (lens[3], lens[3]));
    }

    #[test]
    fn a_flush_that_fails_ends_the_log_and_is_not_repeated() {
        let (disk, mut writer) = faulty(10, usize::MAX);
        let opened = Body::Opened {
            protocol: "moqt-22",
            carrier: "quic",
        };
        writer.take(SessionId(1), &record(opened));
        for _ in 0..50 {
            writer.flush();
            writer.take(SessionId(1), &record(Body::Lost { records: 1 }));
        }
        let state = disk.0.lock().unwrap();
        assert_eq!(state.created, 1);
        assert!(state.writes < 6, "{} writes", state.writes);
    }

    #[test]
    fn a_folder_in_which_no_file_can_be_made_is_tried_once_a_session() {
        let (disk, mut writer) = faulty(20_000, usize::MAX);
        disk.0.lock().unwrap().is_closed = true;
        session(&mut writer, 1, 1_000);
        session(&mut writer, 2, 1_000);
        assert_eq!(disk.0.lock().unwrap().created, 2);
        assert!(writer.open.is_empty());
    }

    #[test]
    fn writes_that_are_short_or_interrupted_lose_and_repeat_nothing() {
        let (whole, mut at_once) = faulty(1 << 20, usize::MAX);
        let (pieces, mut in_pieces) = faulty(1 << 20, 7);
        session(&mut at_once, 1, 300);
        session(&mut in_pieces, 1, 300);
        let (whole, pieces) = (whole.0.lock().unwrap(), pieces.0.lock().unwrap());
        assert!(pieces.writes > 100 * whole.writes.min(10));
        assert_eq!(whole.files, pieces.files);
    }
}
