//! A task of some architectures of its space.

use super::{Shorter, Task, TaskError, Values};
use srnas_space::SearchSpace;
use std::sync::Arc;

impl Task {
    /// The same task and its shorter trainings, of the architectures that are valid in a space of the same decisions: best and
    /// median are theirs.
    ///
    /// # Errors
    /// As [`Task::objective`].
    pub fn within(&self, space: &Arc<SearchSpace>) -> Result<Self, TaskError> {
        let mut choices = vec![0; space.len()];
        let mut left = |rank: u64, value: f32| {
            space.unrank(rank, &mut choices);
            if space.is_valid(&choices) { value } else { f32::NAN }
        };
        let values = match &self.values {
            Values::Dense(v) => Values::Dense(v.iter().zip(0..).map(|(&v, rank)| left(rank, v)).collect()),
            Values::Sparse(v) => {
                Values::Sparse(Arc::new(v.iter().map(|(&rank, &v)| (rank, left(rank, v))).collect()))
            }
        };
        let shorter = self
            .shorter
            .iter()
            .map(|shorter| Ok(Shorter { task: Arc::new(shorter.task.within(space)?), cost: shorter.cost }));
        let shorter = shorter.collect::<Result<_, TaskError>>()?;
        // Its values are turned already, if less is better.
        Self::build(self.name.clone(), self.family.clone(), space.clone(), values, self.count, self.minimise)?
            .with_shorter(shorter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Count;

    #[test]
    fn best_and_median_are_those_of_what_is_left() {
        let whole = SearchSpace::named("nb201").unwrap();
        let values: Arc<[f32]> =
            (0..15_625).map(|rank| if rank == 7 { f32::NAN } else { rank as f32 }).collect();
        for values in [
            Values::Dense(values.clone()),
            Values::Sparse(Arc::new(values.iter().zip(0..).map(|(&v, rank)| (rank, v)).collect())),
        ] {
            let least = Task::minimising("t", "f", whole.clone(), values.clone(), Count::Strings).unwrap();
            let least = least.within(&whole.restricted(|rank| rank < 5).unwrap()).unwrap();
            assert_eq!(
                (least.shown(least.best()), least.shown(least.median()), least.minimises()),
                (0.0, 2.0, true)
            );
            let task = Task::new("t", "f", whole.clone(), values, Count::Strings).unwrap();
            let shorter = Shorter { task: Arc::new(task.clone()), cost: 0.5 };
            let task = task.with_shorter(vec![shorter]).unwrap();
            let left = whole.restricted(|rank| rank < 5).unwrap();
            let within = task.within(&left).unwrap();
            assert_eq!((within.best(), within.median(), within.name()), (4.0, 2.0, "t"));
            assert_eq!((within.value_of_rank(4), within.value_of_rank(5)), (Some(4.0), None));
            assert_eq!(within.shorter()[0].task.best(), 4.0);
            assert!(Arc::ptr_eq(within.space(), &left));
            // Nothing to find in one architecture alone, but it can stand beside another objective.
            let one = task.within(&whole.restricted(|rank| rank == 3).unwrap()).unwrap();
            assert!(one.searchable().unwrap_err().to_string().contains("one of several objectives"));
        }
    }
}
