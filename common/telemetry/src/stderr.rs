//! Stderr, which may be closed, full or never read: none of it may end or hold up the work. Lines wait for a thread that
//! writes them; those that cannot be written, and those that find no room, are dropped.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// So many lines wait at most while nobody reads.
const WAITING: usize = 4096;

static LINES: OnceLock<&'static Lines> = OnceLock::new();

/// Lines on their way to stderr.
#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Lines without room since the last that had some.
    dropped: u64,
    /// Whether a line is being written.
    writing: bool,
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        match state.waiting.len() < WAITING {
            true => state.waiting.push_back(line.to_vec()),
            false => state.dropped += 1,
        }
        self.changed.notify_all();
    }

    /// Waits until everything is written, and no longer than `patience`.
    fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.state();
        while state.writing || !state.waiting.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes what comes, for ever.
    fn write(&self, mut to: impl Write) {
        let mut state = self.state();
        loop {
            let Some(line) = state.waiting.pop_front() else {
                state.writing = false;
                self.changed.notify_all();
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.writing = true;
            let dropped = match state.waiting.is_empty() {
                true => std::mem::take(&mut state.dropped),
                false => 0,
            };
            drop(state);
            // What cannot be written is dropped: there is nobody to tell.
            let _ = to.write_all(&line);
            if dropped > 0 {
                let _ = writeln!(to, "{dropped} lines are missing here: nobody read stderr");
            }
            state = self.state();
        }
    }
}

/// The lines of this process, with a thread that writes them; none where no thread can be had.
fn lines() -> Option<&'static Lines> {
    if let Some(lines) = LINES.get() {
        return Some(lines);
    }
    let lines: &'static Lines = Box::leak(Box::default());
    if LINES.set(lines).is_ok() {
        std::thread::Builder::new().name("stderr".into()).spawn(|| lines.write(io::stderr())).ok()?;
    }
    LINES.get().copied()
}

/// Writes one or more whole lines to stderr, soon and in order, or drops them.
pub fn write(text: &str) {
    match lines() {
        Some(lines) => lines.push(text.as_bytes()),
        None => {
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

/// Waits until stderr has what was written to it, and not for ever: before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(Duration::from_secs(1));
    }
}

/// [`write`](fn@write) as a writer; each call brings whole lines.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        write(&String::from_utf8_lossy(lines));
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};

    /// A reader that takes one write for each permit, or fails.
    struct Slow(mpsc::Receiver<io::Result<()>>, Arc<Mutex<String>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Ok(permit) = self.0.recv() {
                permit?;
            }
            self.1.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted_and_hold_nobody_up() {
        let lines: &'static Lines = Box::leak(Box::default());
        let (permits, waits) = mpsc::channel();
        let written = Arc::new(Mutex::new(String::new()));
        let slow = Slow(waits, written.clone());
        std::thread::spawn(move || lines.write(slow));
        for i in 0..WAITING + 100 {
            lines.push(format!("line {i}\n").as_bytes());
        }
        // Nothing is read, and this comes back nevertheless.
        lines.flush(Duration::from_millis(20));
        assert!(written.lock().unwrap().is_empty());
        // One write fails: its line is dropped, the others come.
        permits.send(Err(io::Error::from(io::ErrorKind::StorageFull))).unwrap();
        drop(permits);
        lines.flush(Duration::from_secs(60));
        let written = written.lock().unwrap();
        assert!(written.starts_with("line 1\n"), "{}", &written[..40]);
        assert!(written.contains(&format!("line {}\n", WAITING - 1)));
        assert!(written.contains(" lines are missing here"), "{}", &written[written.len() - 80..]);
    }
}
