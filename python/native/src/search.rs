//! A search that is asked and told.

use crate::{
    curves::Following,
    errors::{Error, failed, input, of_search, unlocked, wrong},
    ledger::{Kept, Ledger},
    past,
    space::Space,
};
use pyo3::prelude::*;
use serde_json::{Value, json};
use srnas_oracle::{
    costly::Answer,
    curves::{Report, RuleError},
};
use srnas_search::{
    AskTell, Asking, Ends, Goal, Limit, LiveError, MethodSpec, Next, Objective, check_method,
    report::{Row, SearchReport},
};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity, Training};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

pyo3::import_exception!(srnas.errors, SearchOver);

/// What searches several objectives or within limits where no method is named.
const SEVERAL: &str = "mobo";
/// A search whose budget was not said has this one, and doubles it whenever it is spent.
const FIRST_BUDGET: usize = 256;

/// Something to measure.
#[pyclass(frozen, module = "srnas._native")]
pub struct Asked {
    training: Training,
    /// The decisions that count, by name, JSON.
    #[pyo3(get)]
    architecture: String,
    /// The same in the space's notation.
    #[pyo3(get)]
    notation: String,
    /// How much of a full training.
    #[pyo3(get)]
    fidelity: f64,
    /// The same in the unit of the fidelities.
    #[pyo3(get)]
    amount: f64,
    /// Whether it was asked for before the search was interrupted.
    #[pyo3(get)]
    again: bool,
}

#[pymethods]
impl Asked {
    /// The index of each decision's choice.
    #[getter]
    fn choices(&self) -> Vec<u16> {
        self.training.choices.iter().map(|choice| u16::from(*choice)).collect()
    }
}

impl Asked {
    fn new(space: &SearchSpace, fidelities: &Fidelities, training: Training, again: bool) -> Self {
        Self {
            architecture: Value::Object(space.to_json(&training.choices)).to_string(),
            notation: space.format(&training.choices),
            fidelity: fidelities.cost(training.fidelity),
            amount: fidelities.amount(training.fidelity),
            training,
            again,
        }
    }
}

/// What works under the lock.
struct Inner {
    search: AskTell,
    ledger: Ledger,
    /// What was asked for before an interruption and not told.
    interrupted: Vec<Training>,
    /// What is asked for and not told.
    under_way: Vec<Training>,
    /// Whether a budget was said.
    bounded: bool,
}

/// A search. Threads may share it; a forked process may not.
#[pyclass(frozen, module = "srnas._native")]
pub struct Search {
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    goal: Goal,
    /// The method that was named, or is there for several objectives and limits.
    method: Option<MethodSpec>,
    following: Following,
    process: u32,
    /// Nothing once it is closed.
    inner: Mutex<Option<Inner>>,
}

#[pymethods]
impl Search {
    #[new]
    #[pyo3(signature = (space, objectives, require, *, method=None, fidelity=None, seed=1, budget=None, ledger=None, past=vec![], policy=None, stop_early=None))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of srnas.Search")]
    fn new(
        py: Python<'_>,
        space: &Bound<'_, Space>,
        objectives: Vec<(String, bool)>,
        require: Vec<String>,
        method: Option<String>,
        fidelity: Option<String>,
        seed: u64,
        budget: Option<usize>,
        ledger: Option<PathBuf>,
        past: Vec<PathBuf>,
        policy: Option<PathBuf>,
        stop_early: Option<String>,
    ) -> PyResult<Self> {
        let space = space.get();
        unlocked(py, move || {
            let objectives = objectives.iter().map(|(metric, minimise)| Objective::new(metric, *minimise));
            let goal = Goal::new(objectives.collect(), limits(&require)?).map_err(|e| match e {
                srnas_search::GoalError::Nothing => {
                    input("say which metric is searched: minimise=\"loss\" or maximise=\"accuracy\"")
                }
                other => wrong(&other),
            })?;
            let fidelities: Fidelities = match &fidelity {
                Some(text) => text.parse().map_err(|e| input(format!("fidelity={text}: {e}")))?,
                None => Fidelities::FULL,
            };
            if fidelities.asks_untrained() {
                let text = "a training of nothing is asked of programs (srnas search --oracle cmd:PROGRAM); leave the 0 out";
                return Err(input(format!("fidelity={fidelities}: {text}")));
            }
            let method = method_of(method.as_deref(), &goal)?;
            if let Some(method) = &method {
                let known = !past.is_empty();
                check_method(method, &space.space, &goal, fidelities.shorter(), known)
                    .map_err(|e| wrong(&e))?;
                if policy.is_some() {
                    return Err(input("policy= knows one objective without limits, and searches by itself"));
                }
            }
            let (guide, past) = past::known(&past, policy.as_deref(), &space.space, &goal, method.as_ref())?;
            let method = match method {
                Some(method) if past.is_known() => Some(method.knowing_the_past().map_err(|e| wrong(&e))?),
                method => method,
            };
            let rule = match &stop_early {
                Some(text) => Some(text.parse().map_err(|e: RuleError| input(format!("stop_early: {e}")))?),
                None => None,
            };
            let place = ledger;
            let (ledger, kept) = Ledger::open(place.as_deref(), space, &goal, &fidelities, seed)?;
            let following = Following::new(place.as_deref(), &space.space, &goal, &fidelities, rule)?;
            let with_value = kept.measured.iter().filter(|measured| goal.values(&measured.answer).is_ok());
            with_value.for_each(|measured| following.has_ended(&measured.training));
            let asking = Asking {
                space: space.space.clone(),
                fidelities: fidelities.clone(),
                resumes: false,
                goal: goal.clone(),
                guide,
                method: method.clone(),
                past,
                students: None,
                budget: budget.unwrap_or(FIRST_BUDGET).max(1),
                ends: Ends::default(),
                seed,
            };
            let inner = Inner::new(asking, ledger, kept, budget.is_some())?;
            let (space, process) = (space.space.clone(), std::process::id());
            Ok(Self { space, fidelities, goal, method, following, process, inner: Mutex::new(Some(inner)) })
        })
    }

    /// The next to measure; nothing before something that is under way is told.
    fn ask(&self, py: Python<'_>) -> PyResult<Option<Asked>> {
        self.with(py, |inner| {
            let Some(training) = inner.ask()? else { return Ok(None) };
            let again = inner.interrupted.contains(&training);
            Ok(Some(Asked::new(&self.space, &self.fidelities, training, again)))
        })
    }

    /// Metrics of what was asked for. Whether they were waited for, and why they are no value of what is searched, if they are not.
    fn tell(
        &self,
        py: Python<'_>,
        asked: &Bound<'_, Asked>,
        metrics: BTreeMap<String, f64>,
    ) -> PyResult<(bool, Option<String>)> {
        let training = &asked.get().training;
        self.with(py, |inner| {
            let answer = inner.search.asking().answer(metrics);
            let told = inner.tell(training, answer)?;
            if told.0 {
                self.following.ended(training, told.1.is_none());
            }
            Ok(told)
        })
    }

    /// What was asked for cannot be measured, and why. Whether that was waited for.
    fn infeasible(&self, py: Python<'_>, asked: &Bound<'_, Asked>, reason: String) -> PyResult<bool> {
        let training = &asked.get().training;
        self.with(py, |inner| {
            let told = inner.tell(training, Answer::Infeasible(reason))?;
            if told.0 {
                self.following.ended(training, false);
            }
            Ok(told.0)
        })
    }

    /// What is measured says how far it is, and what it measured there. Whether it is to be stopped.
    fn hear(
        &self,
        py: Python<'_>,
        asked: &Bound<'_, Asked>,
        at: f64,
        metrics: BTreeMap<String, f64>,
    ) -> PyResult<bool> {
        let asked = asked.get();
        self.with(py, |inner| {
            // What was told meanwhile reports nothing more.
            let waits = inner.under_way.iter().any(inner.same(&asked.training));
            Ok(waits && self.following.heard(&asked.training, asked.again, Report { at, metrics }))
        })
    }

    /// Nobody measures what was asked for any more: it costs nothing. Where it is to be taken up, it is asked for before anything else,
    /// else if the method asks for it again.
    fn give_up(&self, py: Python<'_>, asked: &Bound<'_, Asked>, take_up: bool) -> PyResult<()> {
        let training = &asked.get().training;
        self.with(py, |inner| {
            let Some(training) = inner.finished(training) else { return Ok(()) };
            self.following.left(&training, take_up);
            inner.search.give_up(&training);
            if take_up {
                inner.search.want([training.clone()]);
                inner.interrupted.push(training);
                return Ok(());
            }
            inner.ledger.given_up(&training).map_err(|e| failed(&e))
        })
    }

    /// What was measured elsewhere: metrics, or why there are none. Whether it is new.
    #[pyo3(signature = (asked, metrics, reason=None))]
    fn add(
        &self,
        py: Python<'_>,
        asked: &Bound<'_, Asked>,
        metrics: BTreeMap<String, f64>,
        reason: Option<String>,
    ) -> PyResult<bool> {
        let training = &asked.get().training;
        self.with(py, |inner| {
            let answer = match reason {
                Some(reason) => Answer::Infeasible(reason),
                None => inner.search.asking().answer(metrics),
            };
            let Inner { search, ledger, .. } = inner;
            search.add(training.clone(), answer, ledger).map_err(of_search)
        })
    }

    /// Somebody measures what was not asked for here.
    fn begun(&self, py: Python<'_>, asked: &Bound<'_, Asked>) -> PyResult<bool> {
        let training = &asked.get().training;
        self.with(py, |inner| {
            let is_new = inner.search.is_new(training);
            if is_new {
                inner.search.begun(training.clone());
                inner.under_way.push(training.clone());
                inner.ledger.asked(training).map_err(|e| failed(&e))?;
            }
            Ok(is_new)
        })
    }

    /// What is measured before anything else.
    fn want(&self, py: Python<'_>, asked: Vec<Bound<'_, Asked>>) -> PyResult<()> {
        let trainings: Vec<Training> = asked.iter().map(|asked| asked.get().training.clone()).collect();
        self.with(py, |inner| {
            inner.search.want(trainings);
            Ok(())
        })
    }

    /// An architecture as a text: JSON of its decisions, or the space's notation; and how much it is trained, in the unit of the
    /// fidelities.
    #[pyo3(signature = (architecture, amount=None))]
    fn parse(&self, architecture: &str, amount: Option<f64>) -> PyResult<Asked> {
        let choices = self.space.parse(architecture).map_err(|e| wrong(&e))?;
        let full = self.fidelities.amount(Fidelity::Full);
        let fidelity = match amount.filter(|amount| *amount != full) {
            None => Fidelity::Full,
            Some(amount) => Fidelity::Shorter(self.fidelities.of_amount(amount).ok_or_else(|| {
                input(format!("{amount} is none of the trainings there are ({})", self.fidelities))
            })?),
        };
        Ok(Asked::new(&self.space, &self.fidelities, Training { choices, fidelity }, false))
    }

    /// Full trainings to pay for in all from now on; none is no bound.
    #[pyo3(signature = (budget=None))]
    fn set_budget(&self, py: Python<'_>, budget: Option<usize>) -> PyResult<()> {
        self.with(py, |inner| {
            inner.bounded = budget.is_some();
            budget.map_or(Ok(()), |budget| inner.search.set_budget(budget.max(1)).map_err(of_search))
        })
    }

    /// What ends it before its budget does, from now on.
    #[pyo3(signature = (seconds=None, reached=vec![], no_gain=None))]
    fn set_ends(
        &self,
        py: Python<'_>,
        seconds: Option<f64>,
        reached: Vec<String>,
        no_gain: Option<usize>,
    ) -> PyResult<()> {
        let time = match seconds.map(Duration::try_from_secs_f64).transpose() {
            Ok(time) => time,
            Err(e) => return Err(input(format!("time_limit: {e}"))),
        };
        let ends = Ends { time, reached: limits(&reached)?, no_gain, ..Ends::default() };
        self.with(py, |inner| {
            inner.search.set_ends(ends);
            Ok(())
        })
    }

    /// Why nothing more is asked for, if that is so although the budget would pay for it.
    fn enough(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |inner| {
            inner.search.look();
            Ok(inner.search.enough().map(ToString::to_string))
        })
    }

    /// How many are measured and paid for, what they cost in full trainings, and how many are under way.
    fn counts(&self, py: Python<'_>) -> PyResult<(usize, f64, usize)> {
        self.with(py, |inner| Ok((inner.search.paid_for(), inner.search.spent(), inner.search.under_way())))
    }

    /// What was found, as `srnas search` says it at its end, and every measurement, JSON; with what each reported, or the best alone.
    #[pyo3(signature = (curves=false))]
    fn report(&self, py: Python<'_>, curves: bool) -> PyResult<String> {
        self.with(py, |inner| {
            let known = inner.search.known();
            let report = SearchReport::new(&self.space, &self.fidelities, &self.goal, known, &[]);
            let row = |(i, (row, measured)): (usize, (&Row, &srnas_search::Measured))| {
                let is_wanted = curves || report.best_row == Some(i);
                let curve = if is_wanted { self.following.curve(&measured.training) } else { Vec::new() };
                json!({
                    "row": row, "choices": measured.training.choices, "elsewhere": measured.is_elsewhere(), "curve": curve,
                })
            };
            let rows: Vec<Value> = report.rows.iter().zip(known).enumerate().map(row).collect();
            Ok(json!({ "summary": report, "best_row": report.best_row, "rows": rows }).to_string())
        })
    }

    /// How much of what is predicted over the space each decision explains for the first objective, the highest first.
    fn importance(&self, py: Python<'_>) -> PyResult<Vec<(String, f64)>> {
        self.with(py, |inner| {
            let found = inner.search.importance().map_err(|e| failed(&e))?;
            let decisions = self.space.decisions();
            Ok(found.main.iter().map(|(d, share)| (decisions[*d].name.clone(), *share)).collect())
        })
    }

    /// Has what has no value, and a reason that contains a text, measured again; how many these are.
    fn retry(&self, py: Python<'_>, reason: String) -> PyResult<usize> {
        self.with(py, |inner| inner.retry(&reason))
    }

    /// Lets go of the ledger.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        unlocked(py, || {
            drop(self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
            Ok(())
        })
    }

    /// Every metric that an answer must have.
    #[getter]
    fn metrics(&self) -> Vec<String> {
        self.goal.metrics()
    }

    /// What is searched for, in words.
    #[getter]
    fn goal(&self) -> String {
        self.goal.to_string()
    }

    /// The method that searches, if it is not the predictor.
    #[getter]
    fn method(&self) -> Option<String> {
        self.method.as_ref().map(ToString::to_string)
    }

    /// How long may be trained.
    #[getter]
    fn fidelities(&self) -> String {
        if self.fidelities.shorter() == 0 { String::new() } else { self.fidelities.to_string() }
    }
}

impl Search {
    /// Works on the search, without Python's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Inner) -> PyResult<T> + Send,
    ) -> PyResult<T> {
        if self.process != std::process::id() {
            return Err(Error::new_err(format!(
                "the search is of process {}, and this one was forked from it: ask and tell there",
                self.process
            )));
        }
        unlocked(py, || {
            let broken = |_| {
                Error::new_err(
                    "the search broke off in an error of srnas itself: make it again, from its ledger",
                )
            };
            let mut inner = self.inner.lock().map_err(broken)?;
            work(inner.as_mut().ok_or_else(|| Error::new_err("the search is closed"))?)
        })
    }
}

impl Inner {
    fn new(asking: Asking, ledger: Ledger, kept: Kept, bounded: bool) -> PyResult<Self> {
        let mut search = AskTell::new(asking).map_err(of_search)?;
        search.know(kept.measured).map_err(of_search)?;
        search.want(kept.asked.iter().cloned());
        Ok(Self { search, ledger, interrupted: kept.asked, under_way: Vec::new(), bounded })
    }

    fn ask(&mut self) -> PyResult<Option<Training>> {
        let Self { search, bounded, .. } = self;
        // Whoever said no budget is not stopped by one.
        while !*bounded && search.spent() + search.under_way() as f64 + 1.0 > search.asking().budget as f64 {
            search.set_budget(2 * search.asking().budget).map_err(of_search)?;
        }
        match search.ask().map_err(of_search)? {
            Next::Begin(training) => {
                self.under_way.push(training.clone());
                self.ledger.asked(&training).map_err(|e| failed(&e))?;
                Ok(Some(training))
            }
            Next::Wait => Ok(None),
            Next::Over => Err(SearchOver::new_err(self.why_over())),
        }
    }

    fn why_over(&self) -> String {
        match self.search.enough() {
            Some(why) => why.to_string(),
            None if self.search.is_spent() => {
                format!("the budget of {} is spent", self.search.asking().budget)
            }
            None if self.search.is_used_up() => "every architecture of the space is measured".into(),
            None => "nothing is left to measure that the rest of the budget pays for".into(),
        }
    }

    /// What is the same training, in whatever encoding it was named.
    fn same(&self, training: &Training) -> impl Fn(&Training) -> bool + use<> {
        let space = self.search.asking().space.clone();
        let (key, fidelity) = (space.canonical_key(&training.choices), training.fidelity);
        move |other| other.fidelity == fidelity && space.canonical_key(&other.choices) == key
    }

    /// A training is not under way any more; as it was asked for, if it was.
    fn finished(&mut self, training: &Training) -> Option<Training> {
        let place = self.under_way.iter().position(self.same(training))?;
        Some(self.under_way.swap_remove(place))
    }

    /// A training has ended. Whether it was under way, and why it has no value, if it has none.
    fn tell(&mut self, training: &Training, answer: Answer) -> PyResult<(bool, Option<String>)> {
        let same = self.same(training);
        let asked = match self.finished(training) {
            Some(asked) => asked,
            // What was asked for before an interruption is waited for, too.
            None => match self.interrupted.iter().find(|interrupted| same(interrupted)).cloned() {
                Some(interrupted) if self.search.is_new(&interrupted) => {
                    self.search.begun(interrupted.clone());
                    interrupted
                }
                _ => return Ok((false, None)),
            },
        };
        let told = self.search.tell(asked.clone(), answer, &mut self.ledger);
        if let Err(LiveError::Journal(_)) = &told {
            // Nothing has changed: it may be told again.
            self.under_way.push(asked);
        }
        let told = told.map_err(of_search)?;
        self.interrupted.retain(|interrupted| !same(interrupted));
        Ok((true, told.values.err()))
    }

    /// Begins anew with what has a value, and what failed for another reason; the rest is wanted.
    fn retry(&mut self, reason: &str) -> PyResult<usize> {
        let asking = self.search.asking().clone();
        let (failed_before, known): (Vec<_>, Vec<_>) =
            self.search.known().iter().cloned().partition(|measured| {
                asking.goal.values(&measured.answer).is_err_and(|said| said.contains(reason))
            });
        self.ledger.retry(reason).map_err(|e| failed(&e))?;
        let mut search = AskTell::new(asking).map_err(of_search)?;
        search.know(known).map_err(of_search)?;
        self.under_way.iter().for_each(|running| search.begun(running.clone()));
        search.want(failed_before.iter().map(|measured| measured.training.clone()));
        search.want(self.interrupted.iter().cloned());
        self.search = search;
        Ok(failed_before.len())
    }
}

/// Limits as texts.
fn limits(texts: &[String]) -> PyResult<Vec<Limit>> {
    texts.iter().map(|text| text.parse().map_err(|e: srnas_search::GoalError| wrong(&e))).collect()
}

/// The method that searches, if not the predictor: the one that is named, or where several objectives or limits need one.
fn method_of(named: Option<&str>, goal: &Goal) -> PyResult<Option<MethodSpec>> {
    let needed = !goal.is_single() || !goal.limits().is_empty();
    let name = named.or(needed.then_some(SEVERAL));
    name.map(|name| name.parse().map_err(|e: srnas_search::SpecError| wrong(&e))).transpose()
}
