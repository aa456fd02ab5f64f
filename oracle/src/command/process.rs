//! One run of a program: its time, its words, and nothing of it left behind.

use super::reports::{Heard, Listener};
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group, test_kill_process_group};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use tracing::info;
use wait_timeout::ChildExt;

/// The variable by which the processes of a measurement are known, wherever they went.
pub const MARK: &str = "SRNAS_MEASUREMENT";
/// How much of stdout is kept: its end. A last line that is longer cannot be read.
pub const LAST_OUTPUT: usize = 16 << 20;
/// How much of stdout and of stderr is kept in the folder: its beginning.
const KEPT: u64 = 1 << 20;
/// How much of stderr's end a reason may quote.
const LAST_WORDS: usize = 600;
/// How much of stderr goes into the log.
const LOGGED: usize = 16 << 10;
/// How often a stop is looked for.
const PULSE: Duration = Duration::from_millis(100);
/// Time to leave after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Longest wait for the rest of its words once it is gone.
const ECHO: Duration = Duration::from_secs(2);

/// A program to be run.
pub struct Process<'a> {
    pub command: &'a str,
    /// By what its words are known in the log.
    pub name: &'a str,
    /// The file that is its stdin.
    pub input: &'a Path,
    /// The files that get the beginning of its stdout and stderr, after what is there.
    pub output: &'a Path,
    pub errors: &'a Path,
    pub variables: &'a [(&'a str, String)],
    pub timeout: Option<Duration>,
    /// What is heard of it, which may say that it is to be stopped.
    pub heard: Option<&'a Heard>,
}

/// How a program ended.
pub enum Ended {
    /// With 0, and this on stdout.
    Well(String),
    /// Otherwise, and this is why.
    Failed(String),
    /// It was stopped from outside.
    Stopped,
    /// It was stopped by what it reported.
    Early,
}

impl Process<'_> {
    /// Runs it to its end, or to the end of its time.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, stop: &AtomicBool, listener: Option<Listener>) -> io::Result<Ended> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(self.command)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(fs::File::open(self.input)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: signals reach its children, and ours do not reach it.
            .process_group(0)
            .spawn()?;
        let (mut output, mut listener) = (Kept::open(self.output), listener);
        let hear = move |block: &[u8]| {
            output.take(block);
            listener.iter_mut().for_each(|listener| listener.take(block));
        };
        let output = child.stdout.take().map(|out| listen(out, LAST_OUTPUT, hear));
        let kept = Kept::open(self.errors);
        let mut errors = Errors { name: self.name.into(), kept, logged: 0, line: Vec::new() };
        let words = child.stderr.take().map(|err| listen(err, LAST_WORDS, move |block| errors.take(block)));
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let status = self.wait(&mut child, group, stop);
        // Whoever is left in its group goes too; that ends the pipes, unless somebody left the group, which the caller
        // sees to.
        signal_group(group, Signal::KILL);
        let status = match status {
            Ok(status) => status,
            Err(gone) => {
                child.wait()?;
                return Ok(gone);
            }
        };
        let end = |ear: Option<mpsc::Receiver<Vec<u8>>>| {
            let heard = ear.and_then(|ear| match ear.recv_timeout(ECHO) {
                Ok(heard) => Some(heard),
                Err(_) => {
                    kill_marked(self.mark());
                    ear.recv_timeout(ECHO).ok()
                }
            });
            String::from_utf8_lossy(&heard.unwrap_or_default()).into_owned()
        };
        if status.success() {
            return Ok(Ended::Well(end(output)));
        }
        let words = end(words);
        let last = words.trim().lines().last().unwrap_or_default();
        let how = describe(status);
        Ok(Ended::Failed(if last.is_empty() { how } else { format!("{how}: {last}") }))
    }

    /// By what its processes are known.
    fn mark(&self) -> &str {
        self.variables.iter().find(|(name, _)| *name == MARK).map_or("", |(_, mark)| mark.as_str())
    }

    /// How it ended by itself; else why it had to.
    fn wait(&self, child: &mut Child, group: Option<Pid>, stop: &AtomicBool) -> Result<ExitStatus, Ended> {
        let began = Instant::now();
        let gone = loop {
            let left = self.timeout.map_or(PULSE, |t| t.saturating_sub(began.elapsed()).min(PULSE));
            match child.wait_timeout(left) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(e) => break Ended::Failed(format!("it cannot be waited for: {e}")),
            }
            if stop.load(Ordering::Relaxed) {
                break Ended::Stopped;
            }
            if self.heard.is_some_and(Heard::stops) {
                break Ended::Early;
            }
            if let Some(timeout) = self.timeout.filter(|&t| began.elapsed() >= t) {
                break Ended::Failed(format!("it took longer than {timeout:?}"));
            }
        };
        // Whoever left its group hears it too, and all of them have the same time: what reads its shell says nothing of what
        // the shell has started.
        signal_group(group, Signal::TERM);
        for pid in outside(group, self.mark()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            let shell = child.wait_timeout(PULSE);
            if !matches!(shell, Ok(None)) && is_empty(group) && marked(self.mark()).is_empty() {
                break;
            }
            if matches!(shell, Ok(Some(_))) {
                thread::sleep(PULSE);
            }
        }
        Err(gone)
    }
}

/// How a program that failed ended.
fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        // So a shell says what became of its child.
        (None, Some(code @ 129..=192)) => format!("exit status {code} (signal {})", code - 128),
        (None, code) => format!("exit status {}", code.unwrap_or(-1)),
    }
}

fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may be empty by now.
        let _ = kill_process_group(group, signal);
    }
}

/// Whether nobody of a group is alive. The dead whom nobody has waited for (in a container without an init) do not count.
fn is_empty(group: Option<Pid>) -> bool {
    let Some(group) = group else { return true };
    if test_kill_process_group(group).is_err() {
        return true;
    }
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    !processes.flatten().any(|entry| {
        fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| is_alive_in(&stat, group))
    })
}

/// Whether a line of `/proc/PID/stat` is of a living process of a group: "PID (name) state parent group …".
fn is_alive_in(stat: &str, group: Pid) -> bool {
    // The name may have blanks and brackets.
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().take(3).collect();
    let &[state, _, of] = fields.as_slice() else { return false };
    !matches!(state, "Z" | "X") && of.parse() == Ok(group.as_raw_pid())
}

/// Marked processes that are not of this group.
fn outside(group: Option<Pid>, mark: &str) -> Vec<Pid> {
    let mut all = marked(mark);
    all.retain(|&pid| getpgid(Some(pid)).ok() != group);
    all
}

/// Reads a pipe to its end on a thread of its own; the receiver gets the last `keep` bytes.
fn listen(
    mut pipe: impl Read + Send + 'static,
    keep: usize,
    mut also: impl FnMut(&[u8]) + Send + 'static,
) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let (mut heard, mut block) = (Vec::new(), vec![0; 64 << 10]);
        while let Ok(n @ 1..) = pipe.read(&mut block) {
            also(&block[..n]);
            heard.extend_from_slice(&block[..n]);
            // Now and then, so that each byte is moved once or twice.
            if heard.len() > 2 * keep + block.len() {
                heard.drain(..heard.len() - keep);
            }
        }
        let surplus = heard.len().saturating_sub(keep);
        heard.drain(..surplus);
        // Nobody may wait for it any more.
        let _ = sender.send(heard);
    });
    receiver
}

/// A file that gets the beginning of what a program says.
struct Kept {
    file: Option<fs::File>,
    room: usize,
}

impl Kept {
    /// Goes on after what is in the file; where it cannot be opened nothing is kept.
    fn open(path: &Path) -> Self {
        let file = fs::File::options().append(true).create(true).open(path).ok();
        let there = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        Self { file, room: KEPT.saturating_sub(there) as usize }
    }

    fn take(&mut self, block: &[u8]) {
        let taken = self.room.min(block.len());
        if let Some(file) = self.file.as_mut().filter(|_| taken > 0) {
            let _ = file.write_all(&block[..taken]);
            self.room -= taken;
        }
    }
}

/// Where stderr goes: the beginning into a file, fewer lines into the log.
struct Errors {
    name: String,
    kept: Kept,
    logged: usize,
    line: Vec<u8>,
}

impl Errors {
    fn take(&mut self, block: &[u8]) {
        self.kept.take(block);
        for &byte in block {
            if self.logged >= LOGGED {
                return;
            }
            self.logged += 1;
            match byte {
                b'\n' => self.say(""),
                _ => self.line.push(byte),
            }
            if self.logged == LOGGED {
                self.say(" … (no more of this one)");
            }
        }
    }

    fn say(&mut self, end: &str) {
        let line = String::from_utf8_lossy(&self.line);
        info!(target: "program", measurement = self.name, "{line}{end}");
        self.line.clear();
    }
}

impl Drop for Errors {
    /// A last line without an end.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.say("");
        }
    }
}

/// Processes whose [`MARK`] begins with `mark`. Where there is no `/proc`, nobody is found.
pub fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}").into_bytes();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let of = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        environment.split(|&b| b == 0).any(|variable| variable.starts_with(&wanted)).then_some(pid)
    };
    processes.flatten().filter_map(of).collect()
}

/// Kills them, and those they start meanwhile; returns how many there were.
pub fn kill_marked(mark: &str) -> usize {
    let mut killed = 0;
    for _ in 0..10 {
        let found = marked(mark);
        if found.is_empty() || mark.is_empty() {
            break;
        }
        killed += found.len();
        for &pid in &found {
            // It may be gone by now.
            let _ = kill_process(pid, Signal::KILL);
        }
        // What was killed takes a moment to go, and may have started another before.
        thread::sleep(Duration::from_millis(5));
    }
    killed
}
