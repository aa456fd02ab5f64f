//! The machine: versions, cores, memory, clock and disk.

use super::{Check, Status};
use prost_types::Timestamp;
use srnas_wire::{PROTOCOL_MAJOR, PROTOCOL_MINOR};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const GIB: u64 = 1 << 30;
/// A clock before 2025-01-01 was never set: the program is younger.
const YOUNGEST: Duration = Duration::from_secs(1_735_689_600);

/// Clocks that are no further apart count as the same.
const SAME_TIME: Duration = Duration::from_secs(30);

/// Checks the machine for a run whose files go to `run_dir`.
pub fn machine(run_dir: &Path) -> Vec<Check> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let installed = fs::read_to_string("/proc/cpuinfo").map_or(cores, |text| processors(&text));
    let mut checks = vec![versions(), cores_of(cores, installed)];
    if let Ok(meminfo) = fs::read_to_string("/proc/meminfo") {
        checks.extend(memory(&meminfo, memory_limit()));
    }
    checks.push(clock(SystemTime::now()));
    let (room, written) = disk(run_dir);
    checks.push(room);
    let there = nearest(run_dir).and_then(|there| rustix::fs::statfs(&there).ok());
    checks.extend(there.and_then(|system| file_system(system.f_type as u32, &run_dir.display().to_string())));
    // Of another machine, where the files are on the network.
    let times = written.map(|(before, written)| same_time(before, written, "that of the run's file system"));
    checks.extend(times.filter(|check| check.status != Status::Ok));
    checks
}

fn versions() -> Check {
    let program = env!("CARGO_PKG_VERSION");
    Check::ok("versions", format!("srnas {program}, protocol {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}"))
}

fn processors(cpuinfo: &str) -> usize {
    cpuinfo.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// `usable` is what affinity and control groups leave of those `installed`.
fn cores_of(usable: usize, installed: usize) -> Check {
    let share = if usable < installed {
        format!("{usable} of {installed}: a limit of the container or of the process holds the rest back")
    } else {
        usable.to_string()
    };
    match usable {
        1 => {
            Check::warning("cores", format!("{share}; a learner and its actors want a core each, at least 2"))
        }
        _ => Check::ok("cores", share),
    }
}

/// The limit that the control group sets, if it sets one.
fn memory_limit() -> Option<u64> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .and_then(|text| text.trim().parse().ok())
}

/// Nothing where the system does not tell.
fn memory(meminfo: &str, limit: Option<u64>) -> Option<Check> {
    let kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())?;
    let free = kib << 10;
    let (least, what) = match limit {
        Some(limit) if limit < free => (limit, "allowed by the control group"),
        _ => (free, "available"),
    };
    let text = format!("{} {what}", gib(least));
    Some(match least < GIB {
        true => Check::warning(
            "memory",
            format!(
                "{text}; a learner takes 0.5 GB and an actor 0.15 GB as measured in docs/benchmarks.md: free some, \
                 or lower learning.replay and acting.episodes"
            ),
        ),
        false => Check::ok("memory", text),
    })
}

fn clock(now: SystemTime) -> Check {
    let shown = Timestamp::from(now);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match since < YOUNGEST {
        true => Check::failed(
            "clock",
            format!("it says {shown}; set it, for example with `timedatectl set-ntp true`"),
        ),
        false => Check::ok("clock", format!("{}", Timestamp { nanos: 0, ..shown })),
    }
}

/// Whether this machine's clock is that of another that the run deals with.
pub fn same_time(here: SystemTime, there: SystemTime, whose: &str) -> Check {
    let (apart, way) = match here.duration_since(there) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if apart <= SAME_TIME {
        return Check::ok("clock", format!("as {whose}, to {} s", SAME_TIME.as_secs()));
    }
    let apart = humantime::format_duration(Duration::from_secs(apart.as_secs()));
    Check::warning(
        "clock",
        format!(
            "this machine's clock is {apart} {way} {whose}: certificates may count as expired or not yet valid, and log lines do not \
             fit together; let both follow the same time, for example with `timedatectl set-ntp true`"
        ),
    )
}

/// Whether the run directory can be written, and how much; when a file was written by this machine's clock, and by that of
/// the file system.
fn disk(run_dir: &Path) -> (Check, Option<(SystemTime, SystemTime)>) {
    let shown = run_dir.display();
    let Some(there) = nearest(run_dir) else {
        return (
            Check::failed("disk", format!("{shown} leads nowhere; choose another with --run-dir")),
            None,
        );
    };
    if !there.is_dir() {
        let file = there.display();
        return (Check::failed("disk", format!("{file} is a file; choose another with --run-dir")), None);
    }
    let written = match try_writing(&there) {
        Ok(written) => written,
        Err(e) => {
            let text = format!(
                "cannot write in {}: {e}; change that, or choose another with --run-dir",
                there.display()
            );
            return (Check::failed("disk", text), None);
        }
    };
    let check = match rustix::fs::statvfs(&there) {
        Ok(system) => room(system.f_bavail.saturating_mul(system.f_frsize), &shown.to_string()),
        Err(e) => Check::warning("disk", format!("{shown} can be written, but its room is unknown: {e}")),
    };
    (check, Some(written))
}

fn room(bytes: u64, folder: &str) -> Check {
    let text = format!("{} free in {folder}", gib(bytes));
    match bytes < GIB {
        true => Check::warning("disk", format!("{text}; make room, or choose another with --run-dir")),
        false => Check::ok("disk", text),
    }
}

/// File systems over a network, by the number that statfs(2) has for them.
const NETWORKED: [(u32, &str); 12] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x4750_4653, "GPFS"),
    (0x00c3_6400, "CephFS"),
    (0x0102_1997, "9P"),
    (0x7375_7245, "Coda"),
];

/// Nothing where files are on this machine.
fn file_system(kind: u32, folder: &str) -> Option<Check> {
    let (_, name) = NETWORKED.iter().find(|(number, _)| *number == kind)?;
    Some(Check::warning(
        "disk",
        format!(
            "{folder} is on a network file system ({name}): locks and write-ahead logs of SQLite, which keeps the ledger, do not hold on \
             all of these. Put --run-dir on a disk of this machine and copy with `srnas ledger backup DIR --to FILE`; let searches on \
             several machines share measurements by `--ledger postgres://…`, not by a common folder"
        ),
    ))
}

/// The folder itself or the nearest above it that is there.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.into() };
    folder.ancestors().map(here).find(|path| path.symlink_metadata().is_ok())
}

/// Writes a file and takes it away again; when that was, by this machine and by the file system.
fn try_writing(folder: &Path) -> io::Result<(SystemTime, SystemTime)> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    let now = SystemTime::now();
    file.sync_all()?;
    Ok((now, file.metadata()?.modified()?))
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_few_and_limits_are_told() {
        assert_eq!(cores_of(1, 1).status, Status::Warning);
        assert_eq!(cores_of(4, 4), Check::ok("cores", "4"));
        let limited = cores_of(2, 16);
        assert!(limited.status == Status::Ok && limited.message.starts_with("2 of 16"), "{limited}");
        assert_eq!(processors("processor\t: 0\nmodel name\t: x\n\nprocessor\t: 1\n"), 2);
    }

    #[test]
    fn the_smaller_of_free_memory_and_its_limit_counts() {
        let meminfo = "MemTotal:        8000000 kB\nMemAvailable:    4194304 kB\n";
        assert_eq!(memory(meminfo, None).unwrap(), Check::ok("memory", "4.0 GiB available"));
        assert_eq!(memory(meminfo, Some(u64::MAX)).unwrap().status, Status::Ok);
        let limited = memory(meminfo, Some(GIB / 2)).unwrap();
        assert!(
            limited.status == Status::Warning && limited.message.contains("0.5 GiB allowed"),
            "{limited}"
        );
        assert_eq!(memory("", None), None);
    }

    #[test]
    fn a_clock_that_was_never_set_fails() {
        let unset = clock(UNIX_EPOCH + Duration::from_secs(5));
        assert!(unset.status == Status::Failed && unset.message.contains("1970-01-01"), "{unset}");
        let set = clock(UNIX_EPOCH + Duration::from_millis(1_767_225_600_999));
        assert_eq!(set, Check::ok("clock", "2026-01-01T00:00:00Z"));
    }

    #[test]
    fn clocks_that_are_minutes_apart_are_told_with_which_is_ahead() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(same_time(now, now + Duration::from_secs(20), "the learner's").status, Status::Ok);
        let ahead = same_time(now + Duration::from_secs(600), now, "the learner's");
        assert_eq!(ahead.status, Status::Warning);
        for part in ["10m ahead of the learner's", "set-ntp"] {
            assert!(ahead.message.contains(part), "{ahead}");
        }
        let behind = same_time(now, now + Duration::from_millis(3_661_500), "the learner's");
        assert!(behind.message.contains("1h 1m 1s behind the learner's"), "{behind}");
    }

    #[test]
    fn a_network_file_system_is_found() {
        // ext4, tmpfs.
        assert_eq!((file_system(0xef53, "runs"), file_system(0x0102_1994, "runs")), (None, None));
        for kind in [0x6969, 0xff53_4d42u32] {
            let found = file_system(kind, "/home/ada/runs").unwrap();
            assert!(found.status == Status::Warning && found.message.contains("--ledger"), "{found}");
        }
    }

    #[test]
    fn a_run_directory_is_looked_for_up_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("runs/new");
        assert_eq!(nearest(&absent).unwrap(), folder.path());
        let (check, written) = disk(&absent);
        assert_ne!(check.status, Status::Failed);
        let (here, there) = written.unwrap();
        assert_eq!(same_time(here, there, "the file system's").status, Status::Ok);
        assert!(
            !absent.exists() && folder.path().read_dir().unwrap().next().is_none(),
            "nothing is left behind"
        );
        fs::write(folder.path().join("file"), "").unwrap();
        let (blocked, _) = disk(&folder.path().join("file/run"));
        assert!(blocked.status == Status::Failed && blocked.message.contains("is a file"), "{blocked}");
        assert_eq!(nearest(Path::new("surely-not-there")).unwrap(), Path::new("."));
        assert_eq!(room(GIB / 2, "runs").status, Status::Warning);
        assert_eq!(room(3 * GIB / 2, "runs"), Check::ok("disk", "1.5 GiB free in runs"));
    }
}
