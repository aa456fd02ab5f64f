//! What programs report while they train: a curve for each training, kept in a folder, and the rule by which one that is surely worse
//! than the others at the same epoch is stopped early.

use super::answer::point;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A longer line is no report.
const LONGEST: usize = 64 << 10;
/// Curves without which nothing is stopped, where nothing is said.
const LEAST: usize = 5;

/// By this name an answer says at which epoch its training was stopped early.
pub const STOPPED_AT: &str = "stopped_at";

/// The median rule: a training is stopped at an epoch where its best value so far is worse than the median, over those that got as
/// far, of the means of their values up to there (Golovin et al., Google Vizier, 2017, section 3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MedianRule {
    /// Nothing is stopped before this epoch.
    after: f64,
    /// Nor where fewer others got as far.
    of: usize,
}

impl Default for MedianRule {
    fn default() -> Self {
        Self { after: 0.0, of: LEAST }
    }
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{text}` is no rule to stop early: {reason}; write median, or median:after=3,of=5")]
pub struct RuleError {
    text: String,
    reason: String,
}

impl FromStr for MedianRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = |reason: String| RuleError { text: text.into(), reason };
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        if name != "median" {
            return Err(wrong("there is `median` alone".into()));
        }
        let mut rule = Self::default();
        for option in options.split(',').filter(|_| text.contains(':')) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let no_number = || wrong(format!("`{option}` has no number"));
            match key {
                "after" => {
                    let after: f64 = value.parse().map_err(|_| no_number())?;
                    rule.after = Some(after).filter(|after| after.is_finite()).ok_or_else(no_number)?;
                }
                "of" => {
                    let of: usize = value.parse().map_err(|_| no_number())?;
                    rule.of = Some(of).filter(|of| *of > 0).ok_or_else(no_number)?;
                }
                _ => return Err(wrong(format!("it has no `{key}`"))),
            }
        }
        Ok(rule)
    }
}

impl fmt::Display for MedianRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median:after={},of={}", self.after, self.of)
    }
}

impl From<MedianRule> for String {
    fn from(rule: MedianRule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for MedianRule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl MedianRule {
    /// Whether a training with this curve is stopped now; of each value, more is better.
    fn stops<'c>(&self, own: &Curve, others: impl Iterator<Item = &'c Curve>) -> bool {
        let Some((now, best)) = own.0.last().map(|(now, _)| *now).zip(own.best()) else { return false };
        if now < self.after {
            return false;
        }
        let mut means: Vec<f64> = others.filter_map(|other| other.mean_up_to(now)).collect();
        if means.len() < self.of {
            return false;
        }
        means.sort_by(f64::total_cmp);
        let middle = means.len() / 2;
        let median = match means.len() % 2 {
            0 => 0.5 * means[middle - 1] + 0.5 * means[middle],
            _ => means[middle],
        };
        best < median
    }
}

/// Values by epoch, ascending; of each, more is better.
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
    /// Where curves are kept, a file each.
    pub folder: PathBuf,
    /// Whether less of the metric that is searched is better.
    pub minimise: bool,
    /// By which rule a training is stopped early, if by one.
    pub rule: Option<MedianRule>,
}

/// The curves of all trainings of a search.
#[derive(Debug)]
pub(super) struct Curves {
    options: CurveOptions,
    /// The metric of which they are.
    metric: String,
    /// What a report must have to stand for an answer: every metric that is searched.
    wanted: Vec<String>,
    /// What the amount of training is called, beside `epoch` and `step`.
    unit: String,
    /// Those of trainings that have ended, by the names of their folders.
    ended: Mutex<HashMap<String, Curve>>,
}

/// What one training has reported so far.
#[derive(Debug, Default)]
struct Reported {
    curve: Curve,
    /// The newest report with a value: its epoch, and everything in it.
    last: Option<(f64, BTreeMap<String, f64>)>,
}

/// Hears what one training reports.
pub(super) struct Follower {
    curves: Arc<Curves>,
    name: String,
    reported: Arc<Mutex<Reported>>,
    early: Arc<AtomicBool>,
    file: Option<fs::File>,
    line: Vec<u8>,
}

/// A training that is followed.
pub(super) struct Followed {
    name: String,
    reported: Arc<Mutex<Reported>>,
    /// Set when it is to be stopped.
    pub early: Arc<AtomicBool>,
}

impl Curves {
    /// With the curves that are in the folder, but for those of trainings that have not ended.
    ///
    /// # Errors
    /// A folder that cannot be made or read.
    pub fn open(
        options: CurveOptions,
        metric: String,
        wanted: Vec<String>,
        unit: String,
        has_ended: impl Fn(&str) -> bool,
    ) -> io::Result<Self> {
        fs::create_dir_all(&options.folder)?;
        let curves = Self { options, metric, wanted, unit, ended: Mutex::default() };
        for entry in fs::read_dir(&curves.options.folder)? {
            let path = entry?.path();
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if path.extension().is_some_and(|ending| ending == "jsonl") && has_ended(&name) {
                let curve = curves.read(&path);
                curves.ended().insert(name, curve);
            }
        }
        Ok(curves)
    }

    fn ended(&self) -> MutexGuard<'_, HashMap<String, Curve>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.folder.join(format!("{name}.jsonl"))
    }

    fn read(&self, path: &Path) -> Curve {
        let mut curve = Curve::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            if let Some((epoch, value, _)) = self.report(line) {
                curve.add(epoch, value);
            }
        }
        curve
    }

    /// The epoch in a line, the value, of which more is better, and everything in it; nothing where it is no report.
    fn report(&self, line: &str) -> Option<(f64, f64, BTreeMap<String, f64>)> {
        let metrics = point(line)?;
        let names = [self.unit.as_str(), "epoch", "step"];
        let epoch = names.into_iter().find_map(|name| metrics.get(name).copied())?;
        let value = *metrics.get(&self.metric)?;
        let value = if self.options.minimise { -value } else { value };
        (epoch.is_finite() && value.is_finite()).then_some((epoch, value, metrics))
    }

    /// Follows a training that begins, or goes on after an interruption.
    pub fn follow(self: &Arc<Self>, name: &str, goes_on: bool) -> (Follower, Followed) {
        self.ended().remove(name);
        let path = self.path(name);
        let curve = if goes_on { self.read(&path) } else { Curve::default() };
        let file = fs::File::options().append(true).create(true).open(&path).ok();
        if let Some(file) = file.as_ref().filter(|_| !goes_on) {
            let _ = file.set_len(0);
        }
        let reported = Arc::new(Mutex::new(Reported { curve, last: None }));
        let early = Arc::new(AtomicBool::new(false));
        let follower = Follower {
            curves: self.clone(),
            name: name.into(),
            reported: reported.clone(),
            early: early.clone(),
            file,
            line: Vec::new(),
        };
        (follower, Followed { name: name.into(), reported, early })
    }

    /// A training has come to an end: if it has a value, the others are compared with it from now on. Of what failed, and of what
    /// reported nothing, no curve is left: one that breaks off at its best says nothing of how far others are to get.
    pub fn end(&self, followed: &Followed, has_value: bool) {
        let reported = followed.reported.lock().unwrap_or_else(PoisonError::into_inner);
        match has_value && !reported.curve.0.is_empty() {
            true => drop(self.ended().insert(followed.name.clone(), reported.curve.clone())),
            false => drop(fs::remove_file(self.path(&followed.name))),
        }
    }
}

impl Followed {
    /// What it reported last, and when.
    pub fn last(&self) -> Option<(f64, BTreeMap<String, f64>)> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

impl Follower {
    /// Takes in what the program says.
    pub fn take(&mut self, block: &[u8]) {
        for &byte in block {
            match byte {
                b'\n' => {
                    self.hear();
                    self.line.clear();
                }
                _ if self.line.len() <= LONGEST => self.line.push(byte),
                _ => {}
            }
        }
    }

    /// A whole line.
    fn hear(&mut self) {
        // What it says while it is being stopped comes too late.
        if self.early.load(Ordering::Relaxed) {
            return;
        }
        let Ok(line) = std::str::from_utf8(&self.line) else { return };
        let Some((epoch, value, metrics)) = self.curves.report(line) else { return };
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{}", line.trim());
        }
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.curve.add(epoch, value);
        // Stopped here it would have no value.
        let is_whole = self.curves.wanted.iter().all(|metric| metrics.contains_key(metric));
        reported.last = Some((epoch, metrics));
        if !is_whole {
            return;
        }
        let Some(rule) = &self.curves.options.rule else { return };
        let ended = self.curves.ended();
        let others = ended.iter().filter(|(name, _)| **name != self.name).map(|(_, curve)| curve);
        if rule.stops(&reported.curve, others) {
            self.early.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[f64]) -> Curve {
        Curve(values.iter().enumerate().map(|(i, value)| (i as f64 + 1.0, *value)).collect())
    }

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        let rule: MedianRule = "median".parse().unwrap();
        assert_eq!((rule, rule.to_string().parse()), (MedianRule::default(), Ok(rule)));
        assert_eq!("median:of=2,after=3".parse(), Ok(MedianRule { after: 3.0, of: 2 }));
        for (text, says) in [
            ("", "there is `median` alone"),
            ("mean", "there is `median` alone"),
            ("median:", "it has no ``"),
            ("median:of=0", "`of=0` has no number"),
            ("median:after=soon", "`after=soon` has no number"),
            ("median:after=nan", "`after=nan` has no number"),
            ("median:before=3", "it has no `before`"),
        ] {
            let error = text.parse::<MedianRule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_worse_than_the_median_of_the_others_means_is_stopped() {
        let rule = MedianRule { after: 2.0, of: 3 };
        let others = [curve(&[1.0, 3.0]), curve(&[2.0, 4.0, 9.0]), curve(&[0.0, 2.0])];
        let stops = |values: &[f64], others: &[Curve]| rule.stops(&curve(values), others.iter());
        // Their means up to epoch 2 are 2, 3 and 1.
        assert!(stops(&[0.0, 1.9], &others));
        assert!(!stops(&[0.0, 2.0], &others), "no worse");
        assert!(!stops(&[2.5, 0.0], &others), "its best counts");
        assert!(!stops(&[0.0], &others), "too early");
        assert!(!stops(&[0.0, 0.0, 0.0], &others), "one of the three got as far");
        assert!(!stops(&[0.0, 0.0], &others[..2]), "too few");
        assert!(!stops(&[], &others));
        let four = [&others[..], &[curve(&[4.0, 4.0])]].concat();
        // 1, 2, 3, 4.
        assert!(stops(&[2.4, 2.4], &four) && !stops(&[2.6, 2.6], &four));
    }

    #[test]
    fn reports_are_kept_heard_again_and_compared_with_those_that_ended() {
        let folder = tempfile::tempdir().unwrap();
        let options = CurveOptions {
            folder: folder.path().join("curves"),
            minimise: true,
            rule: Some(MedianRule { after: 0.0, of: 1 }),
        };
        let open = |ended: &[&str]| {
            let has_ended = |name: &str| ended.contains(&name);
            Arc::new(
                Curves::open(options.clone(), "loss".into(), vec!["loss".into()], "epochs".into(), has_ended)
                    .unwrap(),
            )
        };
        let curves = open(&[]);
        let (mut follower, first) = curves.follow("one", false);
        follower.take(b"words\n{\"epoch\": 1, \"lo");
        follower.take(b"ss\": 0.5, \"acc\": 3}\n{\"epoch\": 2, \"loss\": NaN}\n{\"loss\": 0.1}\n{\"epochs\": 2, \"loss\": 0.25}\n{\"epoch\": 3, \"loss\": 0.0}");
        assert!(!first.early.load(Ordering::Relaxed), "nobody to compare with");
        let (epoch, last) = first.last().unwrap();
        curves.end(&first, true);
        assert_eq!((epoch, last["loss"]), (2.0, 0.25), "half a line and no number are no report");
        let text = fs::read_to_string(options.folder.join("one.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        // Another process knows it; its own curve it is not compared with.
        let curves = open(&["one"]);
        let (mut follower, second) = curves.follow("two", false);
        follower.take(b"{\"step\": 1, \"loss\": 0.4}\n");
        assert!(!second.early.load(Ordering::Relaxed));
        let (mut again, alone) = curves.follow("one", true);
        again.take(b"{\"epoch\": 3, \"loss\": 99}\n");
        assert!(!alone.early.load(Ordering::Relaxed));
        assert!(alone.last().is_some());
        curves.end(&alone, true);
        // The mean of 0.5 and 0.25 is better than 0.4.
        follower.take(b"{\"step\": 2, \"loss\": 0.45}\n");
        assert!(second.early.load(Ordering::Relaxed));
        // What reports nothing leaves nothing.
        let (_, silent) = curves.follow("silent", false);
        assert!(silent.last().is_none());
        curves.end(&silent, true);
        assert_eq!(fs::read_dir(&options.folder).unwrap().count(), 2);
    }
}
