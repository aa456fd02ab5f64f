//! A greedy portfolio: few architectures of which one or the other is good for each past task.
//!
//! What adds most to the mean over the past tasks of the best so far comes next (greedy submodular maximisation; as first configurations of
//! a new task: Feurer et al., Auto-sklearn 2.0, JMLR 2022).

use super::{Form, Prior};
use srnas_space::SearchSpace;
use std::collections::HashSet;

/// Where there is no table, candidates are so many of the best of each past task.
const DEPTH: usize = 50;
/// What a task is worth while the portfolio has nothing for it: the least that [`srnas_task::Task::prior_value`] is.
const NOTHING: f32 = -3.0;

impl Prior {
    /// The first `n` architectures of the greedy portfolio over all its tasks, the first one first; fewer in a smaller space, none where it
    /// has no tasks.
    pub fn portfolio(&self, space: &SearchSpace, n: usize) -> Vec<Vec<u8>> {
        let (candidates, values) = self.candidates(space);
        let tasks = self.tasks().len();
        if tasks == 0 || candidates.is_empty() {
            return Vec::new();
        }
        let mut best = vec![NOTHING; tasks];
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < n {
            // What adds nothing any more is chosen by its mean.
            let worth = |row: &[f32]| {
                let gain: f32 = row.iter().zip(&best).map(|(value, best)| (value - best).max(0.0)).sum();
                (gain, row.iter().sum::<f32>())
            };
            let open = values.chunks_exact(tasks).enumerate().filter(|(place, _)| !chosen.contains(place));
            let next = open.map(|(place, row)| (worth(row), place, row)).reduce(|a, b| {
                let better = b.0.0.total_cmp(&a.0.0).then(b.0.1.total_cmp(&a.0.1)).is_gt();
                if better { b } else { a }
            });
            let Some((_, place, row)) = next else { break };
            best.iter_mut().zip(row).for_each(|(best, value)| *best = best.max(*value));
            chosen.push(place);
        }
        chosen.into_iter().map(|place| candidates[place].clone()).collect()
    }

    /// What may be chosen, each class once, and what it is worth: f32 [candidates, tasks].
    fn candidates(&self, space: &SearchSpace) -> (Vec<Vec<u8>>, Vec<f32>) {
        let tasks = self.tasks().len();
        let (mut candidates, mut values, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        if self.is_tabulated() {
            let mut choices = vec![0; space.len()];
            for rank in 0..self.encodings() {
                space.unrank(rank as u64, &mut choices);
                if space.is_valid(&choices) && seen.insert(space.canonical_key(&choices)) {
                    candidates.push(choices.clone());
                    values.extend((0..tasks).map(|task| self.of_task(task)[rank]));
                }
            }
            return (candidates, values);
        }
        let (mut form, mut row) = (Form::new(space), Vec::new());
        for choices in (0..tasks).flat_map(|task| self.best(space, task, DEPTH)) {
            if seen.insert(space.canonical_key(&choices)) {
                let at = values.len();
                values.resize(at + tasks, 0.0);
                form.assign(space, &choices);
                self.expected_at(&form, &mut row, |task, value| values[at + task] = value);
                for task in (0..tasks).filter(|&task| self.has_table(task)) {
                    values[at + task] = self.of_task(task)[space.rank(&choices) as usize];
                }
                candidates.push(choices);
            }
        }
        (candidates, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Decision};

    fn space() -> SearchSpace {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b"]);
        Conditional::space("made-up", (0..2).map(decision).collect(), vec![]).unwrap()
    }

    fn prior(tables: &[[f32; 4]]) -> Prior {
        let names: Vec<String> = (0..tables.len()).map(|t| format!("t{t}")).collect();
        Prior::new(names.clone(), names, 4, tables.concat()).unwrap()
    }

    #[test]
    fn each_next_one_adds_most_to_what_is_best_so_far() {
        let space = space();
        let ranks = |tables: &[[f32; 4]], n| {
            prior(tables).portfolio(&space, n).iter().map(|c| space.rank(c)).collect::<Vec<_>>()
        };
        // The best compromise first, then what is best for the second task, which the first one is worst for.
        let tables = [[1.0, 0.9, -1.0, 0.0], [1.0, 0.9, 0.0, 0.0], [-3.0, 0.0, 1.0, 0.0]];
        assert_eq!(ranks(&tables, 3), [1, 2, 0]);
        // Nothing adds any more: the rest by its mean; no more than there are.
        assert_eq!(ranks(&[[0.2, 1.0, 0.5, 0.1]], 9), [1, 2, 0, 3]);
        assert_eq!(ranks(&[[0.0; 4]], 2).len(), 2);
        assert!(ranks(&[], 3).is_empty() && ranks(&tables, 0).is_empty());
    }
}
