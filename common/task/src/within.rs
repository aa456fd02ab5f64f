//! A task of some architectures of its space.

use super::{Shorter, Task, TaskError};
use srnas_space::SearchSpace;
use std::sync::Arc;

impl Task {
    /// The same task and its shorter trainings over another list of architectures of its space: best and median are theirs. What it
    /// has no value of stays without.
    ///
    /// # Errors
    /// As [`Task::objective`].
    pub fn within(&self, space: &Arc<SearchSpace>) -> Result<Self, TaskError> {
        let (d, size) = (space.len(), space.size().unwrap_or(0) as usize);
        let mut all = vec![0; d * size];
        all.chunks_exact_mut(d).zip(0..).for_each(|(choices, rank)| space.unrank(rank, choices));
        let values: Vec<f32> = self.values(&all);
        let shorter = self
            .shorter
            .iter()
            .map(|shorter| Ok(Shorter { task: Arc::new(shorter.task.within(space)?), cost: shorter.cost }));
        let shorter = shorter.collect::<Result<_, TaskError>>()?;
        // Its values are turned already, if less is better.
        Self::build(
            self.name.clone(),
            self.family.clone(),
            space.clone(),
            values.into(),
            self.count,
            self.minimise,
        )?
        .with_shorter(shorter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Count;
    use srnas_space::ListedBy;

    #[test]
    fn best_and_median_are_those_of_what_is_left() {
        let whole = SearchSpace::named("nb201").unwrap();
        let architecture = |rank: u64| {
            let mut choices = vec![0; 6];
            whole.unrank(rank, &mut choices);
            choices
        };
        let listed = |ranks: &[u64]| {
            let all: Vec<Vec<u8>> = ranks.iter().map(|&rank| architecture(rank)).collect();
            whole.listed(all.iter().map(Vec::as_slice), ListedBy::Encoding).unwrap()
        };
        let values: Arc<[f32]> =
            (0..15_625).map(|rank| if rank == 7 { f32::NAN } else { rank as f32 }).collect();
        let least = Task::minimising("t", "f", whole.clone(), values.clone(), Count::Strings).unwrap();
        let left = listed(&[4, 3, 2, 1, 0]);
        let least = least.within(&left).unwrap();
        assert_eq!(
            (least.shown(least.best()), least.shown(least.median()), least.minimises()),
            (0.0, 2.0, true)
        );
        let task = Task::new("t", "f", whole.clone(), values, Count::Strings).unwrap();
        let shorter = Shorter { task: Arc::new(task.clone()), cost: 0.5 };
        let task = task.with_shorter(vec![shorter]).unwrap();
        let within = task.within(&left).unwrap();
        assert_eq!((within.best(), within.median(), within.name()), (4.0, 2.0, "t"));
        assert_eq!((within.value(&architecture(4)), within.value(&architecture(5))), (Some(4.0), None));
        assert_eq!(within.shorter()[0].task.best(), 4.0);
        assert!(Arc::ptr_eq(within.space(), &left));
        // From one list to another.
        let again = within.within(&listed(&[2, 9, 1])).unwrap();
        assert_eq!(
            (again.best(), again.value(&architecture(9)), again.value_of_rank(2)),
            (2.0, None, Some(1.0))
        );
        // Nothing to find in one architecture alone, but it can stand beside another objective.
        let one = task.within(&listed(&[3])).unwrap();
        assert!(one.searchable().unwrap_err().to_string().contains("one of several objectives"));
    }
}
