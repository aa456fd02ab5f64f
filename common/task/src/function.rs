//! Tasks that answer by a function: a network that knows what any architecture is worth, in a space of which no table can be made.

use super::{Count, Task, TaskError, Values, beyond_search};
use srnas_basics::statistics;
use srnas_space::{Choices, SearchSpace};
use std::{fmt, sync::Arc};

/// What an architecture is worth, as its metric has it. The same question has the same answer, whoever asks and when.
pub trait Function: Send + Sync + fmt::Debug {
    /// The value of a valid architecture.
    fn value(&self, choices: &Choices) -> f32;

    /// The values of several, u8 [architectures, decisions], one after the other: equal to those of each alone.
    fn values(&self, architectures: &[u8], decisions: usize) -> Vec<f32> {
        architectures.chunks_exact(decisions).map(|choices| self.value(choices)).collect()
    }
}

impl Task {
    /// A task whose values a function gives. Best, median and worst are those of `known` values, as the metric has them: of a function on
    /// a large space nobody knows more, and a search may find better than the best known.
    ///
    /// # Errors
    /// Refuses known values of which none is finite, or that a search cannot hold.
    pub fn of_function(
        name: impl Into<String>,
        family: impl Into<String>,
        space: Arc<SearchSpace>,
        function: Arc<dyn Function>,
        known: &[f32],
        minimise: bool,
    ) -> Result<Self, TaskError> {
        let (name, family) = (name.into(), family.into());
        let turned = known.iter().map(|v| if minimise { 0.0 - v } else { *v });
        let (best, median, worst) = extent(&name, turned.collect())?;
        let function = if minimise { Arc::new(Turned(function)) as Arc<dyn Function> } else { function };
        Ok(Self {
            name,
            family,
            space,
            values: Values::Function(function, known.iter().filter(|v| v.is_finite()).count()),
            // Other encodings of a class may have another value, and nobody can count them.
            count: Count::Classes,
            best,
            median,
            worst,
            shorter: Arc::from([]),
            minimise,
        })
    }
}

/// Best, median and worst of the values that are finite, of which there must be one.
pub(super) fn extent(name: &str, mut values: Vec<f32>) -> Result<(f32, f32, f32), TaskError> {
    let error = |reason: String| TaskError { name: name.into(), reason };
    values.retain(|v| v.is_finite());
    if values.is_empty() {
        return Err(error("none of its values is known".into()));
    }
    let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let worst = values.iter().copied().fold(f32::INFINITY, f32::min);
    let median = statistics::median(&mut values);
    if let Some((value, reason)) = values.iter().find_map(|&v| Some((v, beyond_search(v.into())?))) {
        return Err(error(format!("it has the value {value:e}, which {reason}")));
    }
    Ok((best, median, worst))
}

/// What is minimised, turned.
#[derive(Debug)]
struct Turned(Arc<dyn Function>);

impl Function for Turned {
    fn value(&self, choices: &Choices) -> f32 {
        0.0 - self.0.value(choices)
    }

    fn values(&self, architectures: &[u8], decisions: usize) -> Vec<f32> {
        let mut values = self.0.values(architectures, decisions);
        values.iter_mut().for_each(|v| *v = 0.0 - *v);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fidelity;

    /// The sum of the choices.
    #[derive(Debug)]
    struct Sum;

    impl Function for Sum {
        fn value(&self, choices: &Choices) -> f32 {
            choices.iter().map(|&c| f32::from(c)).sum()
        }
    }

    fn task(known: &[f32], minimise: bool) -> Result<Task, TaskError> {
        let space = SearchSpace::named("darts").unwrap();
        Task::of_function("t", "f", space, Arc::new(Sum), known, minimise)
    }

    #[test]
    fn any_architecture_of_a_space_that_is_no_table_has_a_value() {
        let mut choices = vec![0; 22];
        choices[21] = 6;
        let most = task(&[1.0, 3.0, 2.0], false).unwrap();
        assert_eq!((most.best(), most.median(), most.worst()), (3.0, 2.0, 1.0));
        assert_eq!((most.value(&choices), most.tabulated()), (Some(6.0), None));
        // Better than the best known is less than no regret.
        assert_eq!(most.normalised_regret(6.0), -3.0);
        assert!(most.measurable().has(Fidelity::Full, u64::MAX));
        let least = task(&[1.0, 3.0, 2.0], true).unwrap();
        assert_eq!((least.value(&choices), least.shown(least.best())), (Some(-6.0), 1.0));
        assert_eq!(least.values(&[&choices[..], &[0; 22]].concat()), [-6.0, 0.0]);
    }

    #[test]
    fn nothing_known_or_all_equal_is_refused_where_it_must_be() {
        assert!(task(&[], false).unwrap_err().to_string().contains("none of its values"));
        assert!(task(&[f32::NAN], false).is_err());
        assert!(task(&[2.0, 2.0], false).unwrap().searchable().is_err());
        assert!(task(&[1.0, 1e30], false).unwrap_err().to_string().contains("1e30"));
    }

    #[test]
    fn some_architectures_of_it_are_a_table() {
        let task = task(&[1.0, 3.0], false).unwrap();
        let (a, b) = (vec![0; 22], vec![1; 22]);
        let listed = task.space().listed([&a[..], &b[..]], srnas_space::ListedBy::Class).unwrap();
        let some = task.within(&listed).unwrap();
        assert_eq!((some.best(), some.value(&a), some.value(&[2; 22])), (22.0, Some(0.0), None));
        assert_eq!(some.tabulated(), Some(2));
    }
}
