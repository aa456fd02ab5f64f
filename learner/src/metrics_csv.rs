//! `metrics.csv` of the run directory: a header once, then a row every ten seconds.

use crate::{append::AppendFile, progress::Progress};
use std::{fs, io, path::Path};

/// The columns but for the groups' regrets, which follow them as `regret/GROUP`.
const COLUMNS: [&str; 24] = [
    "elapsed_seconds",
    "done",
    "actors",
    "environment_steps",
    "environment_steps_per_second",
    "transitions",
    "transitions_per_second",
    "updates",
    "updates_per_second",
    "updates_skipped",
    "replay_transitions",
    "policy_version",
    "policy_lag_min",
    "policy_lag_mean",
    "policy_lag_max",
    "batches_stale",
    "batches_malformed",
    "measurements",
    "loss",
    "validation_gain",
    "validation_gain_low",
    "validation_gain_high",
    "actors_wait_share",
    "limited_by",
];

/// The file, open for more rows.
#[derive(Debug)]
pub(crate) struct MetricsCsv {
    file: AppendFile,
}

impl MetricsCsv {
    /// Opens `metrics.csv` of a run directory. That of a resumed run goes on: a last line that a kill cut short is
    /// removed. One with other columns (of another release or configuration) is set aside as `metrics.1.csv` and so on.
    pub fn open(run_dir: &Path, groups: &[String]) -> io::Result<MetricsCsv> {
        let path = run_dir.join("metrics.csv");
        let header = line(
            COLUMNS.iter().map(ToString::to_string).chain(groups.iter().map(|g| format!("regret/{g}"))),
        )?;
        let found = match fs::read(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut whole = found.iter().rposition(|&b| b == b'\n').map_or(0, |last| last + 1);
        if whole > 0 && !found.starts_with(&header) {
            set_aside(run_dir, &path)?;
            whole = 0;
        }
        let mut file = AppendFile::open(&path, whole as u64)?;
        if whole == 0 {
            file.append(&header)?;
        }
        Ok(MetricsCsv { file })
    }

    /// Adds a row for the time since `before`.
    pub fn write(&mut self, before: &Progress, now: &Progress, groups: &[String]) -> io::Result<()> {
        self.file.append(&line(row(before, now, groups))?)
    }
}

fn row(before: &Progress, now: &Progress, groups: &[String]) -> Vec<String> {
    let number = |value: f64| if value.is_finite() { value.to_string() } else { String::new() };
    let optional = |value: Option<f64>| value.map_or(String::new(), number);
    let lag = |value: f64| optional((now.lags.batches > 0).then_some(value));
    let times = now.times - before.times;
    let mut row = vec![
        format!("{:.3}", now.elapsed.as_secs_f64()),
        format!("{:.5}", now.share),
        now.actors.to_string(),
        now.environment_steps.to_string(),
        format!("{:.1}", now.environment_rate),
        now.transitions.to_string(),
        format!("{:.1}", now.transition_rate),
        now.updates.to_string(),
        format!("{:.2}", now.update_rate),
        now.skipped.to_string(),
        now.replay.to_string(),
        now.policy_version.to_string(),
        lag(now.lags.min as f64),
        lag(now.lags.mean()),
        lag(now.lags.max as f64),
        now.rejects.0.to_string(),
        now.rejects.1.to_string(),
        now.measurements.to_string(),
        optional(now.loss),
        optional(now.gain.map(|(gain, _)| gain)),
        optional(now.gain.map(|(_, [low, _])| low)),
        optional(now.gain.map(|(_, [_, high])| high)),
        optional((times.actors > 0.0).then(|| (times.credit + times.oracle) / times.actors)),
        now.limit.name().into(),
    ];
    debug_assert_eq!(row.len(), COLUMNS.len());
    row.extend(groups.iter().map(|group| optional(now.groups.get(group).map(|g| g.mean))));
    row
}

/// One line, quoted where it must be.
fn line(fields: impl IntoIterator<Item = String>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn set_aside(run_dir: &Path, path: &Path) -> io::Result<()> {
    let mut names = (1..).map(|n: u32| run_dir.join(format!("metrics.{n}.csv")));
    match names.find(|name| !name.exists()) {
        Some(name) => fs::rename(path, name),
        None => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::Limit, progress::GroupRegret};
    use std::time::Duration;

    fn progress(seconds: u64) -> Progress {
        Progress {
            elapsed: Duration::from_secs(seconds),
            updates: 7 * seconds,
            limit: Limit::Computing { share: 0.9 },
            groups: [("nb201/{a,b}/val".into(), GroupRegret { episodes: 3, mean: 0.25 })].into(),
            ..Progress::default()
        }
    }

    /// The file as a reader of CSV sees it: header and rows.
    fn read(folder: &Path) -> (Vec<String>, Vec<Vec<String>>) {
        let mut reader = csv::Reader::from_path(folder.join("metrics.csv")).unwrap();
        let own = |record: &csv::StringRecord| record.iter().map(String::from).collect::<Vec<_>>();
        let header = own(reader.headers().unwrap());
        (header, reader.records().map(|r| own(&r.unwrap())).collect())
    }

    fn groups() -> Vec<String> {
        vec!["nb201/{a,b}/val".into(), "synthetic".into()]
    }

    #[test]
    fn a_resumed_run_keeps_one_header_and_loses_only_the_line_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut csv = MetricsCsv::open(folder.path(), &groups()).unwrap();
        csv.write(&Progress::default(), &progress(10), &groups()).unwrap();
        csv.write(&progress(10), &progress(20), &groups()).unwrap();
        drop(csv);
        let path = folder.path().join("metrics.csv");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut csv = MetricsCsv::open(folder.path(), &groups()).unwrap();
        csv.write(&progress(10), &progress(30), &groups()).unwrap();
        let (header, rows) = read(folder.path());
        assert_eq!(header[COLUMNS.len()..], ["regret/nb201/{a,b}/val", "regret/synthetic"]);
        let column = |name: &str| {
            let place = header.iter().position(|h| h == name).unwrap();
            rows.iter().map(|row| row[place].as_str()).collect::<Vec<_>>()
        };
        assert_eq!(column("elapsed_seconds"), ["10.000", "30.000"]);
        assert_eq!(column("updates"), ["70", "210"]);
        assert_eq!(column("loss"), ["", ""], "no update: no loss, and not a loss of 0");
        assert_eq!(column("limited_by"), ["computing", "computing"]);
        assert_eq!(column("regret/nb201/{a,b}/val"), ["0.25", "0.25"]);
        assert_eq!(column("regret/synthetic"), ["", ""]);
    }

    #[test]
    fn the_reference_page_has_every_column_and_no_other() {
        let page = include_str!("../../docs/metrics.md");
        let (_, section) = page.split_once("## `metrics.csv`").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let columns: Vec<&str> = rows.map(|(name, _)| name).collect();
        assert_eq!(columns, [&COLUMNS[..], &["regret/GROUP"]].concat());
    }

    #[test]
    fn a_header_cut_short_is_written_again_and_other_columns_are_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        fs::write(&path, "elapsed_sec").unwrap();
        MetricsCsv::open(folder.path(), &groups()).unwrap();
        assert_eq!(read(folder.path()).0.len(), COLUMNS.len() + 2);
        for _ in 0..2 {
            fs::write(&path, "time,reward\n1,2\n").unwrap();
            MetricsCsv::open(folder.path(), &groups()).unwrap();
            assert_eq!(read(folder.path()).0.len(), COLUMNS.len() + 2);
        }
        for name in ["metrics.1.csv", "metrics.2.csv"] {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "time,reward\n1,2\n");
        }
    }
}
