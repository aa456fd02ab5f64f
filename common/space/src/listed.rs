//! A space of some of the architectures of another: those that a table has a value for, or a part of a space that is too large
//! to be looked at whole.

use super::{Choices, Rules, SearchSpace, SpaceError};
use std::{collections::HashMap, sync::Arc};

/// By what an architecture is found in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedBy {
    /// By its choices: each encoding for itself.
    Encoding,
    /// By its canonical key: every encoding of a class is the one that is listed.
    Class,
}

/// The architectures of a listed space; their places are its ranks.
#[derive(Debug)]
pub(super) struct List {
    whole: Arc<SearchSpace>,
    by: ListedBy,
    /// u8 [architectures, decisions]
    choices: Box<[u8]>,
    places: HashMap<u64, u64>,
    hash: u64,
}

impl List {
    fn key(&self, choices: &Choices) -> u64 {
        match self.by {
            ListedBy::Encoding => self.whole.rank(choices),
            ListedBy::Class => self.whole.canonical_key(choices),
        }
    }

    pub(super) fn rank(&self, choices: &Choices) -> Option<u64> {
        self.places.get(&self.key(choices)).copied()
    }

    pub(super) fn unrank(&self, rank: u64, choices: &mut Choices) {
        let d = choices.len();
        choices.copy_from_slice(&self.choices[rank as usize * d..][..d]);
    }
}

#[derive(Debug)]
struct Listed(Arc<List>);

impl SearchSpace {
    /// The same space with no architectures but these, in their order and each once: ranks are places in the list, keys stay what
    /// they are. What is not valid is left out; `None` where nothing is left.
    pub fn listed<'a>(
        self: &Arc<Self>,
        architectures: impl IntoIterator<Item = &'a Choices>,
        by: ListedBy,
    ) -> Option<Arc<Self>> {
        let whole = self.whole().unwrap_or(self).clone();
        let mut list = List { whole, by, choices: Box::default(), places: HashMap::new(), hash: 0 };
        let mut all = Vec::new();
        for choices in architectures.into_iter().filter(|choices| self.is_valid(choices)) {
            let next = list.places.len() as u64;
            if let std::collections::hash_map::Entry::Vacant(new) = list.places.entry(list.key(choices)) {
                new.insert(next);
                all.extend_from_slice(choices);
            }
        }
        if list.places.is_empty() {
            return None;
        }
        list.hash = all.iter().fold(0xcbf2_9ce4_8422_2325, |h, &choice| {
            (h ^ u64::from(choice)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        list.choices = all.into();
        let (list, decisions) = (Arc::new(list), self.decisions().to_vec());
        let mut listed = Self::new(self.name(), decisions, Box::new(Listed(list.clone()))).ok()?;
        listed.size = Some(list.places.len() as u64);
        listed.log_size = (list.places.len() as f64).ln();
        listed.list = Some(list);
        Some(Arc::new(listed))
    }

    /// A hash of the list, in its order; none where nothing is left out. What is kept by rank belongs to one list.
    pub fn list_hash(&self) -> Option<u64> {
        self.list.as_ref().map(|list| list.hash)
    }

    /// Whether ranks mean the same in another space of this name.
    pub fn shares_ranks(&self, other: &Self) -> bool {
        self.name == other.name
            && match (&self.list, &other.list) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || (a.hash == b.hash && a.choices == b.choices),
                _ => false,
            }
    }
}

impl Rules for Listed {
    fn is_valid(&self, choices: &Choices) -> bool {
        self.0.whole.rules.is_valid(choices) && self.0.rank(choices).is_some()
    }

    fn broken(&self, _space: &SearchSpace, choices: &Choices) -> Vec<String> {
        self.0.whole.broken(choices)
    }

    fn activate(&self, choices: &mut Choices) {
        self.0.whole.rules.activate(choices);
    }

    fn is_inactive(&self, choices: &Choices, decision: usize) -> bool {
        self.0.whole.rules.is_inactive(choices, decision)
    }

    fn counting(&self) -> &'static str {
        self.0.whole.rules.counting()
    }

    fn whole(&self) -> Option<&Arc<SearchSpace>> {
        Some(&self.0.whole)
    }

    fn published_key(&self, _space: &SearchSpace, choices: &Choices) -> Option<u64> {
        Some(self.0.whole.canonical_key(choices))
    }

    fn format(&self, _space: &SearchSpace, choices: &Choices) -> Option<String> {
        self.0.whole.rules.format(&self.0.whole, choices)
    }

    fn parse(&self, _space: &SearchSpace, text: &str) -> Option<Result<Vec<u8>, SpaceError>> {
        self.0.whole.rules.parse(&self.0.whole, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Conditional, Decision};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn what_is_left_out_is_not_drawn_and_the_rest_is_what_it_was() {
        let whole = SearchSpace::named("nb201").unwrap();
        let mut all = vec![vec![0; 6]; 15_625];
        all.iter_mut().zip(0..).for_each(|(choices, rank)| whole.unrank(rank, choices));
        let third = all.iter().step_by(3).map(Vec::as_slice);
        let some = whole.listed(third, ListedBy::Encoding).unwrap();
        assert_eq!((some.name(), some.size(), some.counting()), ("nb201", Some(5_209), whole.counting()));
        assert!(some.shares_ranks(&some) && !some.shares_ranks(&whole) && some.whole().is_some());
        let (mut rng, mut choices) = (ChaCha8Rng::seed_from_u64(1), vec![0; 6]);
        for _ in 0..200 {
            some.sample(&mut rng, &mut choices);
            assert_eq!((whole.rank(&choices) % 3, some.rank(&choices)), (0, whole.rank(&choices) / 3));
            assert_eq!(some.canonical_key(&choices), whole.canonical_key(&choices));
            assert_eq!(some.parse(&whole.format(&choices)).unwrap(), choices);
            some.for_each_edit(&mut choices.clone(), |edited, _, _| assert_eq!(whole.rank(edited) % 3, 0));
        }
        assert!(some.parse("|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|").is_err());
        assert!(whole.listed([], ListedBy::Encoding).is_none());
    }

    #[test]
    fn in_a_list_of_classes_every_encoding_is_the_one_that_is_listed() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        // Where the first is `a`, the last one does not count.
        let condition = Condition { decision: 39, depends_on: 0, active_if: vec![1, 2] };
        let space = Conditional::space("large", (0..40).map(decision).collect(), vec![condition]).unwrap();
        let space = Arc::new(space);
        assert!(space.size().is_none() || space.log_size() > 40.0);
        let mut other = vec![0; 40];
        other[39] = 2;
        let one = vec![1; 40];
        let listed = space.listed([&vec![0; 40][..], &one, &other, &one], ListedBy::Class).unwrap();
        assert_eq!(listed.size(), Some(2));
        assert_eq!((listed.rank(&other), listed.rank(&one), listed.is_valid(&other)), (0, 1, true));
        assert_eq!((listed.rank(&[2; 40]), listed.is_valid(&[2; 40])), (u64::MAX, false));
        let mut found = vec![7; 40];
        listed.unrank(0, &mut found);
        assert_eq!(found, [0; 40]);
    }
}
