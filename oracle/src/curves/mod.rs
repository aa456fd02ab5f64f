//! Curves: what trainings report as they go, each kept in a file, and the rule by which one that is surely worse than the others at
//! the same epoch is stopped early.

mod rule;

pub use rule::{MedianRule, RuleError};

use crate::command::point;
use srnas_task::{Fidelities, Fidelity};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A curve has so many points at most: of a training that reports more often the rest is not heard.
const MOST_POINTS: usize = 20_000;

/// By this name an answer says at which epoch its training was stopped early.
pub const STOPPED_AT: &str = "stopped_at";

/// What a training says as it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How far it is: its epoch, step, or whatever the amount of training is counted in.
    pub at: f64,
    /// What it measured there, by name.
    pub metrics: BTreeMap<String, f64>,
}

impl Report {
    /// That in a line, a JSON object that has a metric and how far the training is: in the unit of the fidelities, or as `epoch` or
    /// `step`. Nothing where it is no report.
    pub fn read(line: &str, unit: &str, metric: &str) -> Option<Self> {
        let metrics = point(line)?;
        let at = [unit, "epoch", "step"].into_iter().find_map(|name| metrics.get(name).copied())?;
        let report = Self { at, metrics };
        report.value(metric).is_some().then_some(report)
    }

    /// A metric of it; none where that, or how far it is, is no number.
    fn value(&self, metric: &str) -> Option<f64> {
        self.metrics.get(metric).copied().filter(|value| value.is_finite() && self.at.is_finite())
    }

    /// Whether it could stand for an answer: every metric that is searched is a number.
    pub fn is_whole(&self, wanted: &[String]) -> bool {
        wanted.iter().all(|metric| self.value(metric).is_some())
    }

    /// The line that [`Self::read`] reads.
    fn line(&self, unit: &str) -> String {
        let finite = self.metrics.iter().filter(|(_, value)| value.is_finite());
        let mut said: BTreeMap<&str, f64> = finite.map(|(name, value)| (name.as_str(), *value)).collect();
        let names = [unit, "epoch", "step"];
        if names.into_iter().find_map(|name| said.get(name)) != Some(&self.at) {
            said.insert(if unit.is_empty() { "epoch" } else { unit }, self.at);
        }
        serde_json::json!(said).to_string()
    }
}

/// Whoever hears what one training reports.
pub trait Hear: Send + Sync {
    /// The training begins, or goes on after an interruption: then what it reported before still holds.
    fn begins(&self, goes_on: bool);

    /// It reports.
    fn hears(&self, report: Report);

    /// Whether it is to be stopped.
    fn stops(&self) -> bool;
}

/// By what the files of a training are called: that of its curve, and the folder in which a program trains.
pub fn file_name(fidelities: &Fidelities, key: u64, fidelity: Fidelity) -> String {
    match fidelities.shorter() {
        0 => format!("{key:016x}"),
        _ => format!("{key:016x}-{}{}", fidelities.unit(), fidelities.amount(fidelity)),
    }
}

/// What says in a name of [`file_name`] how long is trained.
fn length(name: &str) -> Option<&str> {
    name.split_once('-').map(|(_, length)| length)
}

/// The file of a training's curve in a folder of them.
pub fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.jsonl"))
}

/// How far a training was and the metric there, in ascending order, as a file has them; nothing where there is none.
pub fn read(path: &Path, unit: &str, metric: &str) -> Vec<(f64, f64)> {
    let mut curve = Curve::default();
    for line in fs::read_to_string(path).unwrap_or_default().lines() {
        if let Some(report) = Report::read(line, unit, metric) {
            curve.add(report.at, report.metrics[metric]);
        }
    }
    curve.times(1.0)
}

/// Values by how far the training was, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
struct Curve(Vec<Point>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: f64,
    value: f64,
    /// The highest of the values up to here, and their sum.
    best: f64,
    sum: f64,
}

impl Curve {
    /// Adds a value; what is said twice of an epoch counts as it was said last. Whether there was room for it.
    fn add(&mut self, at: f64, value: f64) -> bool {
        let place = self.0.partition_point(|known| known.at < at);
        let point = Point { at, value, best: value, sum: value };
        if self.0.get(place).is_some_and(|known| known.at == at) {
            self.0[place] = point;
        } else if self.0.len() < MOST_POINTS {
            self.0.insert(place, point);
        } else {
            return false;
        }
        let before = place.checked_sub(1).map(|before| self.0[before]);
        let (mut best, mut sum) = before.map_or((f64::NEG_INFINITY, 0.0), |before| (before.best, before.sum));
        for point in &mut self.0[place..] {
            (best, sum) = (best.max(point.value), sum + point.value);
            (point.best, point.sum) = (best, sum);
        }
        true
    }

    fn of(points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut curve = Self::default();
        for (at, value) in points {
            curve.add(at, value);
        }
        curve
    }

    /// How far it is, and the best so far.
    fn last(&self) -> Option<(f64, f64)> {
        self.0.last().map(|point| (point.at, point.best))
    }

    /// The mean of what it has up to an epoch, if it got as far.
    fn mean_up_to(&self, epoch: f64) -> Option<f64> {
        self.0.last().filter(|last| last.at >= epoch)?;
        let n = self.0.partition_point(|point| point.at <= epoch);
        Some(self.0[n.checked_sub(1)?].sum / n as f64)
    }

    /// Each value times a sign.
    fn times(&self, sign: f64) -> Vec<(f64, f64)> {
        self.0.iter().map(|point| (point.at, sign * point.value)).collect()
    }
}

/// How reports are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveOptions {
    /// Where curves are kept, a file each; nothing is kept where there is no folder.
    pub folder: Option<PathBuf>,
    /// Whether less of the metric that is searched is better.
    pub minimise: bool,
    /// By which rule a training is stopped early, if by one.
    pub rule: Option<MedianRule>,
}

/// The curves of all trainings of a search.
#[derive(Debug)]
pub struct Curves {
    options: CurveOptions,
    /// What a report must have to stand for an answer: every metric that is searched. The curves are of the first.
    wanted: Vec<String>,
    /// What the amount of training is called, beside `epoch` and `step`.
    unit: String,
    /// Those of trainings that have ended, by their names; of each value, more is better.
    ended: Mutex<HashMap<String, Curve>>,
}

impl Curves {
    /// With the curves that are in the folder, of those trainings that have ended.
    ///
    /// # Errors
    /// A folder that cannot be read. Where there is none, the first report makes it.
    pub fn open(
        options: CurveOptions,
        wanted: Vec<String>,
        unit: String,
        has_ended: impl Fn(&str) -> bool,
    ) -> io::Result<Self> {
        let curves = Self { options, wanted, unit, ended: Mutex::default() };
        let Some(folder) = curves.options.folder.as_ref().filter(|folder| folder.exists()) else {
            return Ok(curves);
        };
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if path.extension().is_some_and(|ending| ending == "jsonl") && has_ended(&name) {
                let curve = curves.kept(&name);
                curves.ended().insert(name, curve);
            }
        }
        Ok(curves)
    }

    fn ended(&self) -> MutexGuard<'_, HashMap<String, Curve>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self) -> &str {
        self.wanted.first().map_or("", String::as_str)
    }

    /// The sign with which more is better.
    fn sign(&self) -> f64 {
        if self.options.minimise { -1.0 } else { 1.0 }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.options.folder.as_ref().map(|folder| path(folder, name))
    }

    /// What its file has, of which more is better.
    fn kept(&self, name: &str) -> Curve {
        let points = self.path(name).map_or_else(Vec::new, |path| read(&path, &self.unit, self.metric()));
        Curve::of(points.into_iter().map(|(at, value)| (at, self.sign() * value)))
    }

    /// A training is known to have ended, in an earlier process or elsewhere: the others are compared with what its file has.
    pub fn has_ended(&self, name: &str) {
        if !self.ended().contains_key(name) && self.path(name).is_some_and(|path| path.exists()) {
            let curve = self.kept(name);
            self.ended().insert(name.into(), curve);
        }
    }

    /// A training that nobody follows has come to no value, or is given up: nothing is left of what it reported before.
    pub fn forget(&self, name: &str) {
        self.ended().remove(name);
        if let Some(path) = self.path(name) {
            let _ = fs::remove_file(path);
        }
    }

    /// The curve of a training that has ended, in the unit of the metric.
    pub fn of(&self, name: &str) -> Vec<(f64, f64)> {
        self.ended().get(name).map_or_else(Vec::new, |curve| curve.times(self.sign()))
    }

    /// Follows a training.
    pub fn follow(self: &Arc<Self>, name: &str) -> Followed {
        Followed {
            curves: self.clone(),
            name: name.into(),
            reported: Mutex::default(),
            early: AtomicBool::new(false),
        }
    }
}

/// A training that is followed.
#[derive(Debug)]
pub struct Followed {
    curves: Arc<Curves>,
    name: String,
    reported: Mutex<Reported>,
    /// Set when it is to be stopped, for good.
    early: AtomicBool,
}

/// What a training has reported so far.
#[derive(Debug, Default)]
struct Reported {
    curve: Curve,
    file: Option<fs::File>,
}

impl Followed {
    fn reported(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it was when it reported last.
    pub fn last(&self) -> Option<f64> {
        self.reported().curve.last().map(|(at, _)| at)
    }

    /// The training has come to an end: if it has a value, the others are compared with it from now on. Of what failed, and of what
    /// reported nothing, no curve is left: one that breaks off at its best says nothing of how far others are to get.
    pub fn end(&self, has_value: bool) {
        let reported = self.reported();
        match has_value && !reported.curve.0.is_empty() {
            true => drop(self.curves.ended().insert(self.name.clone(), reported.curve.clone())),
            false => self.curves.forget(&self.name),
        }
    }
}

/// A file to write after what it has, in a folder that may have to be made.
fn to_append(path: &Path) -> io::Result<fs::File> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::File::options().append(true).create(true).open(path)
}

impl Hear for Followed {
    fn begins(&self, goes_on: bool) {
        self.curves.ended().remove(&self.name);
        let curve = if goes_on { self.curves.kept(&self.name) } else { Curve::default() };
        if let Some(path) = self.curves.path(&self.name).filter(|_| !goes_on) {
            let _ = fs::remove_file(path);
        }
        self.early.store(false, Ordering::Relaxed);
        *self.reported() = Reported { curve, file: None };
    }

    fn hears(&self, report: Report) {
        let Some(value) = report.value(self.curves.metric()) else { return };
        let mut reported = self.reported();
        if !reported.curve.add(report.at, self.curves.sign() * value) {
            return;
        }
        if reported.file.is_none() {
            reported.file = self.curves.path(&self.name).and_then(|path| to_append(&path).ok());
        }
        if let Some(file) = &mut reported.file {
            let _ = writeln!(file, "{}", report.line(&self.curves.unit));
        }
        // Stopped here it would have no value.
        if !report.is_whole(&self.curves.wanted) {
            return;
        }
        let Some(rule) = &self.curves.options.rule else { return };
        let ended = self.curves.ended();
        // Those that were to be trained as long.
        let as_long = |name: &&String| length(name) == length(&self.name) && **name != self.name;
        let others = ended.iter().filter(|(name, _)| as_long(name)).map(|(_, curve)| curve);
        if rule.stops(&reported.curve, others) {
            self.early.store(true, Ordering::Relaxed);
        }
    }

    fn stops(&self) -> bool {
        self.early.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Report {
        Report::read(line, "epochs", "loss").unwrap()
    }

    #[test]
    fn a_report_has_the_metric_and_how_far_it_is() {
        for line in [
            "words",
            "{\"epoch\": 2, \"loss\": NaN}",
            "{\"loss\": 0.1}",
            "{\"epoch\": 1}",
            "[1]",
            "{\"epoch\": 3, \"lo",
        ] {
            assert_eq!(Report::read(line, "epochs", "loss"), None, "{line}");
        }
        let report = said("{\"step\": 90, \"epoch\": 3, \"loss\": 0.5, \"other\": NaN}");
        assert_eq!(report.at, 3.0);
        assert!(
            report.is_whole(&["loss".into(), "step".into()])
                && !report.is_whole(&["loss".into(), "other".into()])
        );
        let again = said(&report.line("epochs"));
        assert_eq!((again.at, again.metrics["loss"], again.metrics.get("other")), (3.0, 0.5, None));
        // Said otherwise than in a line.
        let report = Report { at: 7.0, metrics: [("loss".to_string(), 0.25)].into() };
        assert_eq!(
            (report.line(""), report.line("epochs")),
            ("{\"epoch\":7.0,\"loss\":0.25}".into(), "{\"epochs\":7.0,\"loss\":0.25}".into())
        );
    }

    #[test]
    fn reports_are_kept_heard_again_and_compared_with_those_that_ended() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("curves");
        let options = CurveOptions {
            folder: Some(folder.clone()),
            minimise: true,
            rule: Some(MedianRule::after(0.0, 1)),
        };
        let open = |ended: &[&str]| {
            let has_ended = |name: &str| ended.contains(&name);
            Arc::new(Curves::open(options.clone(), vec!["loss".into()], "epochs".into(), has_ended).unwrap())
        };
        let begin = |curves: &Arc<Curves>, name: &str, goes_on: bool| {
            let followed = curves.follow(name);
            followed.begins(goes_on);
            followed
        };
        let curves = open(&[]);
        let first = begin(&curves, "one", false);
        first.hears(said("{\"epoch\": 1, \"loss\": 0.5, \"acc\": 3}"));
        first.hears(said("{\"epochs\": 2, \"loss\": 0.25}"));
        assert!(!first.stops(), "nobody to compare with");
        first.end(true);
        assert_eq!(curves.of("one"), [(1.0, 0.5), (2.0, 0.25)]);
        let text = fs::read_to_string(path(&folder, "one")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(read(&path(&folder, "one"), "epochs", "acc"), [(1.0, 3.0)]);
        // Another process knows it; its own curve it is not compared with.
        let curves = open(&["one"]);
        let second = begin(&curves, "two", false);
        second.hears(said("{\"step\": 1, \"loss\": 0.4}"));
        assert!(!second.stops());
        let alone = begin(&curves, "one", true);
        assert_eq!((alone.last(), second.last()), (Some(2.0), Some(1.0)));
        alone.hears(said("{\"epoch\": 3, \"loss\": 99}"));
        assert!(!alone.stops());
        alone.end(true);
        // The mean of 0.5 and 0.25 is better than 0.4.
        second.hears(said("{\"step\": 2, \"loss\": 0.45}"));
        assert!(second.stops());
        // It may say more before it hears of it.
        second.hears(said("{\"step\": 3, \"loss\": 0.1}"));
        assert!(second.stops() && second.last() == Some(3.0));
        // What reports nothing leaves nothing.
        begin(&curves, "silent", false).end(true);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        // Begun anew it is another one.
        second.begins(false);
        assert!(!second.stops());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        // What ended elsewhere is known when somebody says so.
        let curves = open(&[]);
        assert_eq!(curves.of("one"), []);
        curves.has_ended("one");
        curves.has_ended("silent");
        assert_eq!((curves.of("one").len(), curves.of("silent").len()), (3, 0));
    }

    #[test]
    fn a_curve_knows_its_best_and_its_means_in_whatever_order_it_is_told() {
        let mut curve = Curve::of([(3.0, 1.0), (1.0, 5.0), (2.0, 3.0)]);
        assert_eq!(
            (curve.last(), curve.mean_up_to(2.0), curve.mean_up_to(3.0)),
            (Some((3.0, 5.0)), Some(4.0), Some(3.0))
        );
        assert_eq!((curve.mean_up_to(0.5), curve.mean_up_to(4.0)), (None, None));
        assert!(curve.add(1.0, 0.0));
        assert_eq!((curve.last(), curve.mean_up_to(3.0)), (Some((3.0, 3.0)), Some(4.0 / 3.0)));
        let mut long = Curve::of((0..MOST_POINTS).map(|at| (at as f64, 1.0)));
        assert!(!long.add(-1.0, 2.0) && long.add(5.0, 2.0) && long.0.len() == MOST_POINTS);
    }

    #[test]
    fn trainings_are_compared_with_those_that_are_as_long_and_where_they_could_end() {
        let options = CurveOptions { folder: None, minimise: false, rule: Some(MedianRule::after(0.0, 1)) };
        let wanted = vec!["acc".into(), "ms".into()];
        let curves = Arc::new(Curves::open(options, wanted, String::new(), |_| true).unwrap());
        let say = |name: &str, metrics: &[(&str, f64)]| {
            let followed = curves.follow(name);
            let metrics = metrics.iter().map(|(name, value)| ((*name).to_string(), *value)).collect();
            followed.hears(Report { at: 1.0, metrics });
            followed
        };
        say("a-epochs3", &[("acc", 9.0), ("ms", 1.0)]).end(true);
        assert!(!say("b", &[("acc", 1.0), ("ms", 1.0)]).stops(), "another length");
        assert!(!say("b-epochs3", &[("acc", 1.0), ("ms", f64::NAN)]).stops(), "it would have no value");
        assert!(!say("b-epochs3", &[("acc", 1.0)]).stops());
        assert!(say("b-epochs3", &[("acc", 1.0), ("ms", 1.0)]).stops());
    }

    #[test]
    fn without_a_folder_nothing_is_kept_and_all_is_heard() {
        let options = CurveOptions { folder: None, minimise: false, rule: Some(MedianRule::after(0.0, 1)) };
        let curves = Arc::new(Curves::open(options, vec!["loss".into()], String::new(), |_| true).unwrap());
        let (good, bad) = (curves.follow("good"), curves.follow("bad"));
        good.begins(false);
        good.hears(said("{\"epoch\": 1, \"loss\": 3}"));
        good.end(true);
        curves.has_ended("good");
        bad.begins(false);
        bad.hears(said("{\"epoch\": 1, \"loss\": 2}"));
        assert!(bad.stops());
        bad.end(false);
        assert_eq!((curves.of("good"), curves.of("bad")), (vec![(1.0, 3.0)], vec![]));
    }
}
