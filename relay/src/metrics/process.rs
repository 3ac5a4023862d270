//! What the operating system knows of this process, in the words that Prometheus' own clients use.
//!
//! From `/proc`; where there is none, nothing is told.

/// Clock ticks a second in `/proc/self/stat`, on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time, user and system, in seconds.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; what follows it does not.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(12)? + ticks(13)?) / TICKS_PER_SECOND)
}

/// Resident memory in bytes.
pub(super) fn resident_bytes() -> Option<f64> {
    status("VmRSS:").map(|kilobytes| kilobytes * 1024.0)
}

/// Threads.
pub(super) fn threads() -> Option<f64> {
    status("Threads:")
}

/// Open file descriptors.
pub(super) fn open_fds() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}

fn status(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().split(' ').next()?.parse().ok()
}
