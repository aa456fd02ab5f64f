//! A task of one benchmark seen from the space of another: decisions and choices are matched by their names.

use super::{Count, Task, TaskError};
use srnas_space::{Choices, SearchSpace};
use std::sync::Arc;

/// Largest space onto which a task is matched, in encodings: its values there are a table.
const LARGEST: u64 = 1 << 16;

/// Why a task says nothing of another space.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{task} is on {own} and says nothing of {other}: {reason}")]
pub struct UnmatchedError {
    task: String,
    own: String,
    other: String,
    reason: String,
}

impl Task {
    /// The same task on another space: an architecture is worth what the one with the choices of the same names is worth. Every decision
    /// must have its like there; decisions that this task does not know are without meaning to it, and where a choice has no like, there is
    /// no value. Its shorter trainings stay behind.
    ///
    /// # Errors
    /// Says what has no like.
    pub fn matched(&self, other: &Arc<SearchSpace>) -> Result<Self, UnmatchedError> {
        let refused = |reason: String| UnmatchedError {
            task: self.name.clone(),
            own: self.space.name().into(),
            other: other.name().into(),
            reason,
        };
        let own = self.space.decisions();
        // By own decision: the place of its like, and by the like's choice the own choice.
        let mut likes: Vec<(usize, Vec<Option<u8>>)> = Vec::with_capacity(own.len());
        for decision in own {
            let place = other.decisions().iter().position(|like| like.name == decision.name);
            let place = place.ok_or_else(|| refused(format!("that has no decision `{}`", decision.name)))?;
            let known = |name: &String| decision.choices.iter().position(|own| own == name).map(|c| c as u8);
            let choices: Vec<Option<u8>> = other.decisions()[place].choices.iter().map(known).collect();
            if choices.iter().all(Option::is_none) {
                return Err(refused(format!(
                    "no choice of decision `{}` has the name of one there",
                    decision.name
                )));
            }
            likes.push((place, choices));
        }
        let size = other.size().filter(|&size| size <= LARGEST);
        let size = size.ok_or_else(|| refused("that is too large for a table".into()))?;
        let (mut choices, mut likeness) = (vec![0; other.len()], vec![0; own.len()]);
        let mut value = |rank: u64| {
            other.unrank(rank, &mut choices);
            for ((place, likes), own) in likes.iter().zip(&mut likeness) {
                *own = likes[usize::from(choices[*place])]?;
            }
            let valid = other.is_valid(&choices) && self.space.is_valid(&likeness);
            valid.then(|| self.shown_value(&likeness)).flatten()
        };
        let values: Vec<f32> = (0..size).map(|rank| value(rank).unwrap_or(f32::NAN)).collect();
        let build = |values| match self.minimise {
            true => Self::minimising(&self.name, &self.family, other.clone(), values, Count::Strings),
            false => Self::objective(&self.name, &self.family, other.clone(), values, Count::Strings),
        };
        let task = build(values).and_then(|task| task.searchable().map(|()| task));
        task.map_err(|error: TaskError| refused(error.reason))
    }

    /// A value as the metric has it.
    fn shown_value(&self, choices: &Choices) -> Option<f32> {
        self.value(choices).map(|value| self.shown(value) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Decision};

    fn space(name: &str, decisions: &[(&str, &[&str])]) -> Arc<SearchSpace> {
        let decisions = decisions.iter().map(|(name, choices)| Decision::new(*name, choices)).collect();
        Arc::new(Conditional::space(name, decisions, vec![]).unwrap())
    }

    #[test]
    fn choices_of_one_name_are_one_choice_wherever_they_stand() {
        let own = space("own", &[("a", &["x", "y", "z"]), ("b", &["x", "y"])]);
        let other = space("other", &[("b", &["y", "x", "w"]), ("c", &["1", "2"]), ("a", &["z", "x"])]);
        let values: Vec<f32> = (0..6).map(|rank| rank as f32).collect();
        let task = Task::new("t/d/m", "m", own.clone(), values.clone(), Count::Strings).unwrap();
        let seen = task.matched(&other).unwrap();
        // b = x, c = 2, a = z: own choices z and x.
        assert_eq!((seen.value(&[1, 1, 0]), seen.value(&[1, 0, 0])), (Some(4.0), Some(4.0)));
        assert_eq!((seen.value(&[0, 0, 1]), seen.value(&[2, 0, 0])), (Some(1.0), None));
        assert_eq!((seen.name(), seen.family(), seen.best()), ("t/d/m", "m", 5.0));
        let least = Task::minimising("t/d/m", "m", own, values, Count::Strings).unwrap();
        let least = least.matched(&other).unwrap();
        assert_eq!((least.shown(least.best()), least.minimises()), (0.0, true));
    }

    #[test]
    fn what_has_no_like_is_named() {
        let own = space("own", &[("a", &["x", "y"]), ("b", &["x", "y"])]);
        let task = Task::new("t", "f", own, vec![0.0, 1.0, 2.0, 3.0], Count::Strings).unwrap();
        let refused = |other: &Arc<SearchSpace>| task.matched(other).unwrap_err().to_string();
        assert!(refused(&space("o", &[("a", &["x"])])).contains("no decision `b`"));
        assert!(refused(&space("o", &[("a", &["x"]), ("b", &["p"])])).contains("no choice of decision `b`"));
        // One like alone is nothing to choose from.
        assert!(refused(&space("o", &[("a", &["x"]), ("b", &["x"])])).contains("nothing can be found"));
        assert!(refused(&SearchSpace::named("darts").unwrap()).contains("no decision `a`"));
    }
}
