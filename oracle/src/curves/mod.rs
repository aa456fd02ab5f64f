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
    curve.0
}

/// Values by how far the training was, ascending.
#[derive(Clone, Debug, Default, PartialEq)]
struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// Adds a value; what is said twice of an epoch counts as it was said last, and what comes after it again.
    fn add(&mut self, epoch: f64, value: f64) {
        let place = self.0.partition_point(|(known, _)| *known < epoch);
        match self.0.get_mut(place).filter(|(known, _)| *known == epoch) {
            Some((_, known)) => *known = value,
            None => self.0.insert(place, (epoch, value)),
        }
    }

    fn best(&self) -> Option<f64> {
        self.0.iter().map(|(_, value)| *value).reduce(f64::max)
    }

    /// The mean of what it has up to an epoch, if it got as far.
    fn mean_up_to(&self, epoch: f64) -> Option<f64> {
        self.0.last().filter(|(last, _)| *last >= epoch)?;
        let values = self.0.iter().take_while(|(known, _)| *known <= epoch).map(|(_, value)| *value);
        let (sum, n) = values.fold((0.0, 0u32), |(sum, n), value| (sum + value, n + 1));
        (n > 0).then(|| sum / f64::from(n))
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
        Curve(points.into_iter().map(|(at, value)| (at, self.sign() * value)).collect())
    }

    /// A training is known to have ended, in an earlier process or elsewhere: the others are compared with what its file has.
    pub fn has_ended(&self, name: &str) {
        if self.path(name).is_some_and(|path| path.exists()) && !self.ended().contains_key(name) {
            let curve = self.kept(name);
            self.ended().insert(name.into(), curve);
        }
    }

    /// The curve of a training that has ended, in the unit of the metric.
    pub fn of(&self, name: &str) -> Vec<(f64, f64)> {
        let ended = self.ended();
        let curve = ended.get(name).map_or(&[][..], |curve| &curve.0);
        curve.iter().map(|(at, value)| (*at, self.sign() * value)).collect()
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
        self.reported().curve.0.last().map(|(at, _)| *at)
    }

    /// The training has come to an end: if it has a value, the others are compared with it from now on. Of what failed, and of what
    /// reported nothing, no curve is left: one that breaks off at its best says nothing of how far others are to get.
    pub fn end(&self, has_value: bool) {
        let reported = self.reported();
        match (has_value && !reported.curve.0.is_empty(), self.curves.path(&self.name)) {
            (true, _) => drop(self.curves.ended().insert(self.name.clone(), reported.curve.clone())),
            (false, Some(path)) => drop(fs::remove_file(path)),
            (false, None) => {}
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
        if reported.file.is_none() {
            reported.file = self.curves.path(&self.name).and_then(|path| to_append(&path).ok());
        }
        if let Some(file) = &mut reported.file {
            let _ = writeln!(file, "{}", report.line(&self.curves.unit));
        }
        reported.curve.add(report.at, self.curves.sign() * value);
        // Stopped here it would have no value.
        if !self.curves.wanted.iter().all(|metric| report.metrics.contains_key(metric)) {
            return;
        }
        let Some(rule) = &self.curves.options.rule else { return };
        let ended = self.curves.ended();
        let others = ended.iter().filter(|(name, _)| **name != self.name).map(|(_, curve)| curve);
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
