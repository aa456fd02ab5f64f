//! Architectures made decision by decision, in their order: what can be told of one from its first decisions. A decision that does
//! not count is skipped and has its first choice; a choice after which nothing is valid is not offered. Where neither can be told
//! every choice is, and what comes of it may be invalid.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_space::{Choices, SearchSpace};
use std::sync::Arc;

/// Pairs of encodings with the same beginning by which it is seen what a beginning settles.
const PAIRS: usize = 256;
/// Valid ones among them, where what is valid is looked at.
const VALID: usize = 64;
/// Ways to go on by which a beginning is judged.
const COMPLETIONS: usize = 8;
/// Spaces with at most so many encodings are listed where something in them is invalid.
const LISTED: u64 = 1 << 16;
/// The same where the space is a list already.
const LONGEST: u64 = 1 << 22;
/// Draws of an invalid architecture before a random one is taken.
const TRIES: usize = 200;

/// A decision that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub decision: usize,
    /// Whether each choice can be made.
    pub allowed: Vec<bool>,
}

/// A decision and what was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub step: Step,
    pub choice: u8,
}

/// What the beginnings of encodings say.
pub struct Prefixes {
    space: Arc<SearchSpace>,
    /// By decision: whether those before it say whether it counts.
    told: Vec<bool>,
    /// From this decision on, those up to it say whether an encoding is valid.
    settled: usize,
    completions: Vec<Vec<u8>>,
    /// What is valid, in lexicographic order, where that is known and not everything.
    valid: Option<Vec<Vec<u8>>>,
}

impl Prefixes {
    pub fn new(space: &Arc<SearchSpace>) -> Self {
        // A fixed seed: what is told of a space is the same for every search of it.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let d = space.len();
        let mut drawn = |n| -> Vec<Vec<u8>> {
            let draw = |_| (0..d).map(|i| rng.random_range(0..space.arity(i))).collect();
            (0..n).map(draw).collect()
        };
        let (beginnings, ends) = (drawn(PAIRS), drawn(PAIRS));
        let mut completions = drawn(COMPLETIONS - 1);
        completions.push(vec![0; d]);
        let joined = |pair: usize, from: usize| [&beginnings[pair][..from], &ends[pair][from..]].concat();
        let is_told = |decision: usize| {
            (0..PAIRS).all(|pair| {
                let inactive = |choices: &Choices| space.is_inactive(choices, decision);
                inactive(&beginnings[pair]) == inactive(&joined(pair, decision))
            })
        };
        let told = (0..d).map(is_told).collect();
        let valid = listed(space);
        // Where little is valid, what ends otherwise than something valid is valid only if its beginning says so.
        let settled = if valid.is_some() { d } else { settled(space, &ends, &mut rng) };
        Self { told, settled, completions, valid, space: space.clone() }
    }

    /// Which choices can come next. All where none can: the beginning was wrong already.
    fn allowed(&self, prefix: &[u8]) -> Vec<bool> {
        let decision = prefix.len();
        let mut allowed: Vec<bool> = match &self.valid {
            Some(valid) => {
                let from = valid.partition_point(|row| row[..decision] < *prefix);
                let rows = &valid[from..];
                let rows = &rows[..rows.partition_point(|row| row[..decision] == *prefix)];
                let has = |c| {
                    let at = rows.partition_point(|row| row[decision] < c);
                    rows.get(at).is_some_and(|row| row[decision] == c)
                };
                (0..self.space.arity(decision)).map(has).collect()
            }
            None if decision >= self.settled => {
                let mut choices = vec![0; self.space.len()];
                choices[..decision].copy_from_slice(prefix);
                let mut is_valid = |c| {
                    choices[decision] = c;
                    self.completions.iter().any(|rest| {
                        choices[decision + 1..].copy_from_slice(&rest[decision + 1..]);
                        self.space.is_valid(&choices)
                    })
                };
                (0..self.space.arity(decision)).map(&mut is_valid).collect()
            }
            None => vec![true; self.space.arity(decision).into()],
        };
        if !allowed.contains(&true) {
            allowed.fill(true);
        }
        allowed
    }

    /// The decision after these; none where it is skipped, with the choice that it has then.
    pub fn next(&self, prefix: &[u8]) -> Result<Step, u8> {
        let (decision, allowed) = (prefix.len(), self.allowed(prefix));
        let mut open = (0..).zip(&allowed).filter(|(_, allowed)| **allowed).map(|(choice, _)| choice);
        let first = open.next().unwrap_or(0);
        let alone = open.next().is_none();
        if alone || (first == 0 && self.told[decision] && self.is_inactive(prefix)) {
            return Err(first);
        }
        Ok(Step { decision, allowed })
    }

    fn is_inactive(&self, prefix: &[u8]) -> bool {
        let mut choices = vec![0; self.space.len()];
        choices[..prefix.len()].copy_from_slice(prefix);
        self.space.is_inactive(&choices, prefix.len())
    }

    /// Goes on from a beginning to an encoding, which may be invalid.
    pub fn complete(&self, mut prefix: Vec<u8>, mut choose: impl FnMut(&[u8], &Step) -> u8) -> Vec<u8> {
        while prefix.len() < self.space.len() {
            let choice = match self.next(&prefix) {
                Ok(step) => choose(&prefix, &step),
                Err(forced) => forced,
            };
            prefix.push(choice);
        }
        prefix
    }

    /// The decisions that lead to an encoding: those that are not skipped, with what was chosen. Also returns the encoding that they
    /// alone make, whose skipped decisions have their first choice.
    pub fn path(&self, choices: &Choices) -> (Vec<Made>, Vec<u8>) {
        let mut path = Vec::new();
        let made = self.complete(Vec::with_capacity(choices.len()), |prefix, step| {
            let choice = choices[prefix.len()];
            let mut step = step.clone();
            step.allowed[usize::from(choice)] = true;
            path.push(Made { step, choice });
            choice
        });
        (path, made)
    }

    /// A valid encoding: it is drawn until one is; a random architecture where hardly one is.
    pub fn valid(&self, rng: &mut ChaCha8Rng, draw: impl Fn(&mut ChaCha8Rng) -> Vec<u8>) -> Vec<u8> {
        for _ in 0..TRIES {
            let choices = draw(rng);
            if self.space.is_valid(&choices) {
                return choices;
            }
        }
        let mut choices = vec![0; self.space.len()];
        self.space.sample(rng, &mut choices);
        choices
    }
}

/// The decision from which on those up to it say whether an encoding is valid.
fn settled(space: &SearchSpace, ends: &[Vec<u8>], rng: &mut impl Rng) -> usize {
    let d = space.len();
    let mut valid = vec![vec![0; d]; VALID];
    valid.iter_mut().for_each(|choices| space.sample(rng, choices));
    let settles = |decision: &usize| {
        ends.iter()
            .zip(valid.iter().cycle())
            .all(|(end, valid)| space.is_valid(&[&valid[..=*decision], &end[decision + 1..]].concat()))
    };
    (0..d).rev().take_while(settles).last().unwrap_or(d)
}

/// All that is valid, in order, where it can be listed and is not everything.
fn listed(space: &SearchSpace) -> Option<Vec<Vec<u8>>> {
    let is_list = space.whole().is_some();
    let size = space.size().filter(|&size| size <= if is_list { LONGEST } else { LISTED })?;
    let of = |rank| {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        choices
    };
    let mut valid: Vec<Vec<u8>> = (0..size).map(of).filter(|choices| space.is_valid(choices)).collect();
    valid.sort_unstable();
    (is_list || (valid.len() as u64) < size).then_some(valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Condition, Conditional, Constraint, Custom, Decision};

    fn decisions(n: usize) -> Vec<Decision> {
        (0..n).map(|d| Decision::new(format!("d{d}"), &["a", "b", "c"])).collect()
    }

    /// How many decisions are asked of a random walk, at least and at most, and the share of what comes of it that is valid.
    fn walked(space: SearchSpace) -> (usize, usize, f64) {
        let space = Arc::new(space);
        let (prefixes, mut rng) = (Prefixes::new(&space), ChaCha8Rng::seed_from_u64(5));
        let (mut least, mut most, mut valid) = (usize::MAX, 0, 0);
        for _ in 0..400 {
            let mut asked = 0;
            let made = prefixes.complete(vec![], |prefix, step| {
                asked += 1;
                assert_eq!(prefix.len(), step.decision);
                let open: Vec<u8> = (0..3).filter(|&c| step.allowed[usize::from(c)]).collect();
                assert!(open.len() > 1);
                open[rng.random_range(0..open.len())]
            });
            valid += usize::from(space.is_valid(&made));
            (least, most) = (least.min(asked), most.max(asked));
            let (path, again) = prefixes.path(&made);
            assert_eq!((path.len(), again), (asked, made));
        }
        (least, most, valid as f64 / 400.0)
    }

    fn forbid(pattern: &[usize]) -> Constraint {
        Constraint::Forbid(pattern.iter().map(|&d| (d, vec![0, 1])).collect())
    }

    #[test]
    fn inactive_decisions_are_skipped_where_it_can_be_told() {
        let on = |decision, depends_on| Condition { decision, depends_on, active_if: vec![1, 2] };
        let space = Conditional::space("a", decisions(5), vec![on(3, 0), on(4, 3)]).unwrap();
        assert_eq!(walked(space), (3, 5, 1.0));
        // What follows decides: both are asked.
        let space = Conditional::space("b", decisions(5), vec![on(0, 3)]).unwrap();
        assert_eq!(walked(space), (5, 5, 1.0));
        let nb101 = SearchSpace::named("nb101").unwrap();
        let told = Prefixes::new(&nb101).told;
        assert!(told[21..].iter().all(|told| *told) && !told[0] && !told[6], "{told:?}");
    }

    #[test]
    fn what_is_forbidden_is_not_offered_where_it_can_be_told() {
        // Listed: exact from the first decision on.
        let space =
            Custom::space("small", decisions(4), vec![], vec![forbid(&[0, 1]), forbid(&[2, 3])], vec![]);
        assert_eq!(walked(space.unwrap()).2, 1.0);
        // Too large to be listed: what the beginning settles alone.
        let large = |pattern: &[usize]| {
            walked(Custom::space("large", decisions(30), vec![], vec![forbid(pattern)], vec![]).unwrap()).2
        };
        assert_eq!(large(&[3, 4]), 1.0);
        assert_eq!(large(&[0, 29]), 1.0);
        let space =
            Arc::new(Custom::space("large", decisions(30), vec![], vec![forbid(&[3, 4])], vec![]).unwrap());
        assert_eq!(Prefixes::new(&space).settled, 4);
    }

    #[test]
    fn of_a_list_only_what_is_listed_is_made_and_where_nothing_can_be_something_is_drawn() {
        let space = Arc::new(Conditional::space("a", decisions(30), vec![]).unwrap());
        let rows: Vec<Vec<u8>> =
            (0..20).map(|i| (0..30).map(|d| (i * (d + 2) / 7 % 3) as u8).collect()).collect();
        let listed = space.listed(rows.iter().map(Vec::as_slice), srnas_space::ListedBy::Encoding).unwrap();
        let prefixes = Prefixes::new(&listed);
        let last = |step: &Step| step.allowed.iter().rposition(|allowed| *allowed).unwrap() as u8;
        assert_eq!(prefixes.complete(vec![], |_, step| last(step)), *rows.iter().max().unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let made = prefixes.valid(&mut rng, |_| vec![2; 30]);
        assert!(rows.contains(&made));
        // A wrong beginning goes on to something.
        assert_eq!(prefixes.complete(vec![2, 0, 2, 0, 2], |_, step| last(step)).len(), 30);
    }
}
