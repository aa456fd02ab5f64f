//! What is known of a past task where no table of it can be made: some measurements, half of them anywhere and half near the best.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_task::Task;
use std::collections::HashSet;

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
    /// So many measurements of each past task are enough to say where it is good.
    pub const ENOUGH: usize = 400;

    /// At most `n` measurements of a task, each architecture once; fewer where its space has fewer. The same task has the same.
    pub fn of_task(task: &Task, n: usize) -> Self {
        let (space, mut rng) = (task.space(), ChaCha8Rng::seed_from_u64(n as u64));
        let (d, mut seen) = (space.len(), HashSet::new());
        let mut known: Vec<(Vec<u8>, f32)> = Vec::with_capacity(n);
        let mut choices = vec![0; d];
        while known.len() < n {
            let parents = best(&known, if known.is_empty() { 0 } else { PARENTS });
            let wanted = if parents.is_empty() { n.div_ceil(2) } else { GENERATION.min(n - known.len()) };
            let mut new = Vec::with_capacity(wanted * d);
            // A small space has no more at some point.
            for _ in 0..TRIES * wanted {
                match parents.len() {
                    0 => space.sample(&mut rng, &mut choices),
                    some => {
                        choices.copy_from_slice(parents[rng.random_range(0..some)]);
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
            let values = task.values(&new);
            let before = known.len();
            let pairs = new.chunks_exact(d).map(<[u8]>::to_vec).zip(values);
            known.extend(pairs.filter(|(_, value)| value.is_finite()));
            if known.len() == before {
                break;
            }
        }
        let (choices, values): (Vec<Vec<u8>>, Vec<f32>) = known.into_iter().unzip();
        Self { task: task.name().into(), family: task.family().into(), choices: choices.concat(), values }
    }

    /// The measurements, `decisions` a piece.
    pub fn measured(&self, decisions: usize) -> Vec<(&[u8], f32)> {
        self.choices.chunks_exact(decisions).zip(self.values.iter().copied()).collect()
    }

    /// The best `most` of them, the best first.
    pub fn best(&self, decisions: usize, most: usize) -> Vec<Vec<u8>> {
        best(&self.measured(decisions), most).into_iter().map(<[u8]>::to_vec).collect()
    }
}

/// The `most` best architectures, the best first.
fn best<A: AsRef<[u8]>>(known: &[(A, f32)], most: usize) -> Vec<&[u8]> {
    let mut all: Vec<&(A, f32)> = known.iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.into_iter().take(most).map(|(choices, _)| choices.as_ref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::SearchSpace;
    use srnas_task::{Count, Function};
    use std::sync::Arc;

    #[derive(Debug)]
    struct Sum;

    impl Function for Sum {
        fn value(&self, choices: &[u8]) -> f32 {
            choices.iter().map(|&c| f32::from(c)).sum()
        }
    }

    #[test]
    fn the_second_half_is_better_than_chance_and_nothing_is_there_twice() {
        let space = SearchSpace::named("darts").unwrap();
        let task = Task::of_function("t", "f", space.clone(), Arc::new(Sum), &[0.0, 1.0], false).unwrap();
        let observed = Observed::of_task(&task, 400);
        assert_eq!((observed.values.len(), observed.choices.len()), (400, 400 * 22));
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean(&observed.values[200..]) > mean(&observed.values[..200]) + 10.0);
        let distinct: HashSet<&[u8]> = observed.choices.chunks_exact(22).collect();
        assert_eq!(distinct.len(), 400);
        assert_eq!(observed, Observed::of_task(&task, 400));
        let best = observed.best(22, 3);
        assert_eq!(task.value(&best[0]), observed.values.iter().copied().reduce(f32::max));
    }

    #[test]
    fn of_a_small_table_there_is_no_more_than_it_has() {
        let space = SearchSpace::named("nb201").unwrap();
        let values: Vec<f32> =
            (0..15_625).map(|rank| if rank < 30 { rank as f32 } else { f32::NAN }).collect();
        let task = Task::new("t", "f", space, values, Count::Strings).unwrap();
        assert!(Observed::of_task(&task, 100).values.len() < 30);
    }
}
