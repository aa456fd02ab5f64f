//! What is known of a past task where no table of it can be made: some measurements, half of them anywhere and half near the best.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_space::SearchSpace;
use srnas_task::Task;
use std::{collections::HashSet, sync::Arc};

/// Some measurements of a past task.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Name of the task.
    pub task: String,
    /// Its family.
    pub family: String,
    /// Architectures: u8 [architectures, decisions].
    pub choices: Vec<u8>,
    /// What they are worth, more is better: f32 [architectures].
    pub values: Vec<f32>,
}

/// The second half are edits of one of so many that are the best so far.
const PARENTS: usize = 10;
/// Edits are measured so many at a time.
const GENERATION: usize = 20;
/// So many draws for each architecture that is wanted.
const TRIES: usize = 20;

impl Observed {
    /// No more are taken: what is expected of them takes their square of memory.
    pub const MOST: usize = 4_000;
    /// So many measurements of each past task are enough to say where it is good.
    pub const ENOUGH: usize = 400;

    /// At most `n` architectures (and [`Self::MOST`]) of a space with the values of each task, so far as it has some: half of them drawn anywhere, half of them
    /// edits of what is best so far in one task after the other. The same tasks have the same. What is measured of one is measured of
    /// all, for that is what makes looking at them cheap.
    pub fn of_tasks(space: &SearchSpace, tasks: &[Arc<Task>], n: usize) -> Vec<Self> {
        let n = n.min(Self::MOST);
        let (d, mut rng, mut seen) = (space.len(), ChaCha8Rng::seed_from_u64(n as u64), HashSet::new());
        let mut all: Vec<Self> = tasks.iter().map(|task| Self::nothing(task)).collect();
        let (mut choices, mut known, mut turn) = (vec![0; d], 0, 0);
        // A small space has no more at some point.
        let mut fruitless = 0;
        while known < n && fruitless <= tasks.len() && !tasks.is_empty() {
            let parents = if known == 0 { Vec::new() } else { all[turn % tasks.len()].best(d, PARENTS) };
            let wanted = if known == 0 { n.div_ceil(2) } else { GENERATION.min(n - known) };
            let mut new = Vec::with_capacity(wanted * d);
            for _ in 0..TRIES * wanted {
                match parents.len() {
                    0 => space.sample(&mut rng, &mut choices),
                    some => {
                        choices.copy_from_slice(&parents[rng.random_range(0..some)]);
                        let decision = rng.random_range(0..d);
                        choices[decision] = rng.random_range(0..space.arity(decision));
                    }
                }
                if space.is_valid(&choices) && seen.insert(space.canonical_key(&choices)) {
                    new.extend_from_slice(&choices);
                    if new.len() == wanted * d {
                        break;
                    }
                }
            }
            let before = known;
            for (observed, task) in all.iter_mut().zip(tasks) {
                observed.take_in(&new, &task.values(&new), d);
            }
            known = all.iter().map(|observed| observed.values.len()).max().unwrap_or(0);
            (turn, fruitless) = (turn + 1, if known > before { 0 } else { fruitless + 1 });
        }
        all
    }

    fn nothing(task: &Task) -> Self {
        let (choices, values) = (Vec::new(), Vec::new());
        Self { task: task.name().into(), family: task.family().into(), choices, values }
    }

    /// What is NaN is not known.
    fn take_in(&mut self, architectures: &[u8], values: &[f32], decisions: usize) {
        for (choices, value) in
            architectures.chunks_exact(decisions).zip(values).filter(|(_, v)| v.is_finite())
        {
            self.choices.extend_from_slice(choices);
            self.values.push(*value);
        }
    }

    /// The best `most` of them, the best first.
    pub fn best(&self, decisions: usize, most: usize) -> Vec<Vec<u8>> {
        let mut all: Vec<(&[u8], f32)> =
            self.choices.chunks_exact(decisions).zip(self.values.iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.into_iter().take(most).map(|(choices, _)| choices.to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_task::{Count, Function};

    /// The sum of the choices, or its negative.
    #[derive(Debug)]
    struct Sum(f32);

    impl Function for Sum {
        fn value(&self, choices: &[u8]) -> f32 {
            self.0 * choices.iter().map(|&c| f32::from(c)).sum::<f32>()
        }
    }

    #[test]
    fn the_second_half_is_better_than_chance_in_each_task_and_nothing_is_there_twice() {
        let space = SearchSpace::named("darts").unwrap();
        let task = |sign| {
            let function = Arc::new(Sum(sign));
            Arc::new(Task::of_function("t", "f", space.clone(), function, &[0.0, 1.0], false).unwrap())
        };
        let tasks = [task(1.0), task(-1.0)];
        let observed = Observed::of_tasks(&space, &tasks, 400);
        let [most, least] = &observed[..] else { panic!("one for each task") };
        assert_eq!((most.values.len(), most.choices.len()), (400, 400 * 22));
        assert_eq!(most.choices, least.choices);
        let best = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for one in [most, least] {
            assert!(best(&one.values[200..]) > best(&one.values[..200]) + 8.0);
        }
        let distinct: HashSet<&[u8]> = most.choices.chunks_exact(22).collect();
        assert_eq!(distinct.len(), 400);
        assert_eq!(observed, Observed::of_tasks(&space, &tasks, 400));
        assert_eq!(tasks[0].value(&most.best(22, 3)[0]), Some(best(&most.values)));
    }

    #[test]
    fn of_a_table_there_is_no_more_than_it_has() {
        let space = SearchSpace::named("nb201").unwrap();
        let values: Vec<f32> =
            (0..15_625).map(|rank| if rank < 30 { rank as f32 } else { f32::NAN }).collect();
        let task = Arc::new(Task::new("t", "f", space.clone(), values, Count::Strings).unwrap());
        let observed = Observed::of_tasks(&space, &[task], 100);
        assert!(observed[0].values.len() <= 30);
        assert!(Observed::of_tasks(&space, &[], 100).is_empty());
    }
}
