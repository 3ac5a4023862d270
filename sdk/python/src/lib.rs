//! `mainstem._native`: the client library under Python. The package's own modules are written over it.
//!
//! | class | over |
//! |---|---|
//! | `Viewer` | [`BroadcastViewer`] |
//! | `Publisher` | [`BroadcastPublisher`] |
//!
//! Callbacks come from the client's thread, which takes the interpreter's lock for them. Whatever waits
//! gives it back first. What a callback raises is told as unraisable, and ends nothing. Objects that
//! were made before a fork do nothing in the child: their threads stayed behind.
//!
//! Errors are `ValueError` for what was asked for, `OSError` for what this machine cannot do,
//! `RuntimeError` for the rest.

use bytes::Bytes;
use mainstem_client::{
    BroadcastPublisher, BroadcastViewer, Close, CloseReason, Config, Error, Frame,
    PublisherOptions, Start, State, Trust, ViewerOptions,
};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A live stream that is being watched.
#[pyclass(frozen, module = "mainstem._native")]
struct Viewer {
    inner: Owned<BroadcastViewer>,
}

/// A live stream that is being published.
#[pyclass(frozen, module = "mainstem._native")]
struct Publisher {
    inner: Owned<BroadcastPublisher>,
}

/// Threads that close what Python has dropped, and the process that they are of.
static DROPPING: Mutex<Vec<(u32, JoinHandle<()>)>> = Mutex::new(Vec::new());

/// Something with threads, which belongs to the process that made it.
struct Owned<T: Send + 'static> {
    value: Option<T>,
    process: u32,
}

impl<T: Send + 'static> Owned<T> {
    fn new(value: T) -> Self {
        Self {
            value: Some(value),
            process: std::process::id(),
        }
    }

    /// `None` in a child of the process that made it.
    fn own(&self) -> Option<&T> {
        let is_own = self.process == std::process::id();
        self.value.as_ref().filter(|_| is_own)
    }

    fn expect(&self) -> PyResult<&T> {
        let gone = "this was opened before a fork: open it in the process that uses it";
        self.own().ok_or_else(|| PyRuntimeError::new_err(gone))
    }
}

impl<T: Send + 'static> Drop for Owned<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else {
            return;
        };
        if self.process != std::process::id() {
            // Its threads are not here, and would be waited for.
            std::mem::forget(value);
            return;
        }
        // This thread holds the interpreter's lock, for which a callback may be waiting.
        let closer = std::thread::Builder::new().name("mainstem-drop".to_owned());
        // Without a thread to spare it is not closed; the relay notices.
        if let Ok(thread) = closer.spawn(move || drop(value)) {
            let mut dropping = DROPPING.lock().unwrap_or_else(PoisonError::into_inner);
            dropping.retain(|(_, thread)| !thread.is_finished());
            dropping.push((self.process, thread));
        }
    }
}

#[pymethods]
impl Viewer {
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "they have names in Python, and the package's modules call it alone"
    )]
    #[pyo3(signature = (url, on_chunk, on_close, *, cert_sha256=None, insecure=false, patience=Some(30.0), retained=false))]
    fn new(
        py: Python<'_>,
        url: String,
        on_chunk: Py<PyAny>,
        on_close: Py<PyAny>,
        cert_sha256: Option<&str>,
        insecure: bool,
        patience: Option<f64>,
        retained: bool,
    ) -> PyResult<Self> {
        let config = Config {
            trust: trust(cert_sha256, insecure)?,
            ..Config::new(url)
        };
        let start = if retained {
            Start::Retained
        } else {
            Start::Newest
        };
        let options = ViewerOptions {
            patience: seconds(patience)?,
            start,
        };
        let tell_chunk = move |frame: Frame| {
            Python::attach(|py| {
                let data = PyBytes::new(py, &frame.data);
                let chunk = (frame.is_init, data, frame.timestamp_us, frame.priority);
                report(py, on_chunk.call1(py, chunk));
            });
        };
        let tell_close = close_callback(on_close);
        let opened =
            py.detach(move || BroadcastViewer::open(&config, &options, tell_chunk, tell_close));
        Ok(Self {
            inner: Owned::new(opened.map_err(raised)?),
        })
    }

    /// Ends it, and waits until `on_close` has returned; from within a callback it returns at once.
    fn close(&self, py: Python<'_>) {
        if let Some(viewer) = self.inner.own() {
            py.detach(|| viewer.close());
        }
    }

    /// How it stands.
    #[getter]
    fn state(&self) -> PyResult<&'static str> {
        Ok(word(self.inner.expect()?.state()))
    }

    /// Chunks that were dropped because `on_chunk` took too long.
    #[getter]
    fn dropped(&self) -> PyResult<u64> {
        Ok(self.inner.expect()?.dropped())
    }
}

#[pymethods]
impl Publisher {
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "they have names in Python, and the package's modules call it alone"
    )]
    #[pyo3(signature = (input_id, stream_key, relay, on_close, *, codecs=String::new(), cert_sha256=None, insecure=false, patience=Some(60.0)))]
    fn new(
        py: Python<'_>,
        input_id: String,
        stream_key: String,
        relay: String,
        on_close: Py<PyAny>,
        codecs: String,
        cert_sha256: Option<&str>,
        insecure: bool,
        patience: Option<f64>,
    ) -> PyResult<Self> {
        let options = PublisherOptions {
            codecs,
            trust: trust(cert_sha256, insecure)?,
            patience: seconds(patience)?,
            ..PublisherOptions::new(relay)
        };
        let tell_close = close_callback(on_close);
        let opened = py
            .detach(move || BroadcastPublisher::open(&input_id, &stream_key, &options, tell_close));
        Ok(Self {
            inner: Owned::new(opened.map_err(raised)?),
        })
    }

    /// Writes bytes, cut anywhere.
    #[pyo3(signature = (data, timestamp_us=None))]
    fn write(&self, py: Python<'_>, data: &[u8], timestamp_us: Option<u64>) -> PyResult<()> {
        let publisher = self.inner.expect()?;
        let data = Bytes::copy_from_slice(data);
        py.detach(|| publisher.write(data, timestamp_us))
            .map_err(raised)
    }

    /// Ends the stream, and waits until what was written is with the relay.
    fn close(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        let reason = CloseReason::from_name(reason).ok_or_else(|| {
            let words = CloseReason::ALL.map(CloseReason::as_str).join(", ");
            PyValueError::new_err(format!("expected one of {words}, got {reason:?}"))
        })?;
        if let Some(publisher) = self.inner.own() {
            py.detach(|| publisher.close(reason));
        }
        Ok(())
    }

    /// How it stands.
    #[getter]
    fn state(&self) -> PyResult<&'static str> {
        Ok(word(self.inner.expect()?.state()))
    }

    /// Subscriptions of the relay: one however many viewers watch, none when nobody does.
    fn subscribers(&self, py: Python<'_>) -> PyResult<usize> {
        let publisher = self.inner.expect()?;
        Ok(py.detach(|| publisher.subscribers()))
    }
}

/// Waits until what was dropped is closed: for the end of the interpreter.
#[pyfunction]
fn join_dropped(py: Python<'_>) {
    let mut dropping = DROPPING.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::mem::take(&mut *dropping);
    drop(dropping);
    let own = std::process::id();
    py.detach(move || {
        for (_, thread) in threads.into_iter().filter(|(process, _)| *process == own) {
            // Callbacks catch what is raised in them.
            let _ = thread.join();
        }
    });
}

fn close_callback(on_close: Py<PyAny>) -> impl FnMut(&Close) + Send + 'static {
    move |close: &Close| {
        let told = (close.reason.as_str(), close.detail.clone());
        Python::attach(|py| report(py, on_close.call1(py, told)));
    }
}

/// What a callback raised has nobody to catch it.
fn report<T>(py: Python<'_>, result: PyResult<T>) {
    if let Err(error) = result {
        error.write_unraisable(py, None);
    }
}

fn trust(cert_sha256: Option<&str>, insecure: bool) -> PyResult<Trust> {
    match cert_sha256 {
        Some(hashes) => {
            Trust::pinned(hashes).map_err(|error| PyValueError::new_err(error.to_string()))
        }
        None if insecure => Ok(Trust::Insecure),
        None => Ok(Trust::Environment),
    }
}

fn seconds(patience: Option<f64>) -> PyResult<Option<Duration>> {
    let wrong = |_| PyValueError::new_err("patience: expected seconds, or None for ever");
    patience
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(wrong))
        .transpose()
}

fn word(state: State) -> &'static str {
    match state {
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Reconnecting => "reconnecting",
        State::Closed => "closed",
        State::Failed => "failed",
    }
}

fn raised(error: Error) -> PyErr {
    let words = error.to_string();
    match error {
        Error::Config(_) | Error::Name(_) | Error::Media(_) => PyValueError::new_err(words),
        Error::Client(_) | Error::Thread(_) => PyOSError::new_err(words),
        _ => PyRuntimeError::new_err(words),
    }
}

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Viewer>()?;
    module.add_class::<Publisher>()?;
    module.add_function(wrap_pyfunction!(join_dropped, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
