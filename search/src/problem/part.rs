//! A part of what a benchmark lists: what keeps limits that are known without training, and what a teacher may become.

use super::{Problem, ProblemError, Within, check_together, equal, limit_names, listed, named, valid};
use crate::{goal::KnownLimit, known::Why, pareto::Front};
use srnas_environment::compress::{Costs, Earns, Judge, Students, is_within};
use srnas_oracle::{catalog::Catalog, compress, tasks::resolve_objectives};
use srnas_space::{SearchSpace, wrn};
use srnas_task::{Count, Task, TaskError, TaskName};
use std::sync::Arc;

impl Problem {
    /// The same among the architectures that keep limits on what is known without training, such as what they cost, and are within a
    /// teacher, unless a limit lets them have more than it: nothing else is asked for, so that every method searches within them. `teacher`
    /// is as [`compress::teacher`] reads it; in a space that has teachers it is the largest network where none is given.
    ///
    /// # Errors
    /// See [`ProblemError`].
    pub fn among(
        self,
        catalog: &Catalog,
        limits: &[KnownLimit],
        teacher: Option<&str>,
        count: Count,
    ) -> Result<Self, ProblemError> {
        let whole = self.searched[0].space().whole().unwrap_or(self.searched[0].space()).clone();
        let largest = wrn::Teacher::of(&whole).and_then(|largest| largest.choices(&largest.network()).ok());
        let teacher = match teacher {
            Some(text) => Some(compress::teacher(&whole, text).map_err(ProblemError::Teacher)?),
            None => largest.clone(),
        };
        let is_table = self.searched[0].tabulated().is_some();
        if limits.is_empty() && teacher == largest && (teacher.is_none() || !is_table) {
            return Ok(self);
        }
        if !is_table {
            return Err(ProblemError::NoTable(self.name));
        }
        let first: TaskName = self.searched[0].name().parse()?;
        let names = limit_names(&first, limits.iter().map(KnownLimit::metric))?;
        let metrics = match names.is_empty() {
            true => Vec::new(),
            false => resolve_objectives(catalog, &names, count)?,
        };
        let mut known = Vec::with_capacity(limits.len());
        for (limit, metric) in limits.iter().zip(&metrics) {
            let has = teacher.as_ref().and_then(|teacher| Some(metric.shown(metric.value(teacher)?)));
            let wanted = || ProblemError::NoTeacher(limit.to_string());
            known.push(Within { limit: limit.limit(has).ok_or_else(wanted)?, metric: metric.clone() });
        }
        check_together(&first, known.iter().map(|within| within.limit.clone()).collect())?;
        let judge = teacher.as_ref().map(|teacher| {
            let lipschitz = compress::lipschitz(catalog, &first, count);
            Judge::new(teacher, Some(&self.searched[0]), lipschitz, Earns::default())
        });
        let teacher_of_part = teacher.as_deref().filter(|_| teacher != largest);
        let grows = limits.iter().any(KnownLimit::is_beyond_the_teacher);
        let within = Part { limits: &known, teacher: teacher_of_part.filter(|_| !grows) };
        let name = match teacher_of_part {
            Some(teacher) => named(format!("{} of {}", self.name, whole.format(teacher)), &known),
            None => named(&self.name, &known),
        };
        let searched = keeping(&self.searched, &within, || name.clone())?;
        let mut counted: Vec<Arc<Task>> = self.signals.iter().cloned().chain([self.report]).collect();
        counted = keeping(&counted, &within, || name.clone())?;
        let report = counted.pop().expect("it was put there");
        let front = match self.front {
            None => {
                for task in [&counted[0], &report] {
                    task.searchable().map_err(|_| equal(name.clone(), task))?;
                }
                None
            }
            Some(_) => {
                let points = |rank| counted.iter().map(|task| task.value_of_rank(rank)).collect();
                let size = counted[0].tabulated().unwrap_or(0);
                Front::new(&(0..size).filter_map(points).collect::<Vec<_>>())
            }
        };
        let students = match (&teacher, judge) {
            (Some(teacher), Some(judge)) => {
                let (space, first) = (searched[0].space(), known.first());
                let costs = first.map_or(Costs::Published, |within| Costs::Metric(within.metric.clone()));
                Students::new(space, teacher, costs, judge)
            }
            _ => None,
        };
        let shorter = if self.shorter.is_empty() { self.shorter } else { searched[0].shorter().clone() };
        let asked = !known.is_empty() || within.teacher.is_some();
        let why = if asked && searched[0].space().whole().is_some() { Why::KeepTheLimits } else { self.why };
        let (searched, signals) = (searched.into(), counted.into());
        Ok(Self { name, report, searched, signals, front, shorter, why, students, ..self })
    }

    /// What a teacher may become, where the space has teachers.
    pub(crate) fn students(&self) -> Option<&Students> {
        self.students.as_ref()
    }
}

/// A part of a space: what keeps every limit and, where there is a teacher, is within it.
pub(super) struct Part<'a> {
    pub limits: &'a [Within],
    pub teacher: Option<&'a [u8]>,
}

impl Part<'_> {
    fn has(&self, space: &SearchSpace, choices: &[u8]) -> bool {
        let network = |choices| wrn::WideResNet::of(space, choices);
        let is_student = |teacher| {
            network(choices).zip(network(teacher)).is_some_and(|(own, most)| is_within(&own, &most))
        };
        self.teacher.is_none_or(is_student)
            && self.limits.iter().all(|within| within.slack(choices) >= Some(0.0))
    }
}

/// Tasks on one list over what of it is in a part.
pub(super) fn keeping(
    tasks: &[Arc<Task>],
    part: &Part,
    name: impl Fn() -> String,
) -> Result<Vec<Arc<Task>>, ProblemError> {
    let (space, limits) = (tasks[0].space(), part.limits);
    let keeps = |rank| {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        part.has(space, &choices)
    };
    if valid(space).all(keeps) {
        return Ok(tasks.to_vec());
    }
    let kept = listed(space, keeps);
    let Some(kept) = kept else {
        let loosest = |within: &Within| {
            let best = match within.limit.at_most == within.metric.minimises() {
                true => within.metric.best(),
                false => within.metric.worst(),
            };
            // In as many digits as tell it from others of a table.
            let bound = (within.metric.shown(best) as f32).to_string();
            format!("{} {} {bound}", within.limit.metric, if within.limit.at_most { "<=" } else { ">=" })
        };
        let loosest = limits.iter().map(loosest).collect::<Vec<_>>().join(", ");
        return Err(ProblemError::Beyond(name(), loosest));
    };
    let counted = tasks.iter().map(|task| Ok(Arc::new(task.within(&kept)?)));
    Ok(counted.collect::<Result<Vec<_>, TaskError>>()?)
}
