//! A space of which only some combinations are searched, such as those that a table has a value for.

use super::{Choices, Rules, SearchSpace, SpaceError};
use std::sync::Arc;

/// The rules of a whole space, and which of its encodings are left.
#[derive(Debug)]
struct Restricted {
    whole: Arc<SearchSpace>,
    /// By rank.
    kept: Box<[bool]>,
}

impl SearchSpace {
    /// The same space with no encodings valid but those that are `kept`, by rank. Ranks and keys stay what they are. `None` for a
    /// space whose size is not known, or of which nothing valid would be left.
    pub fn restricted(self: &Arc<Self>, kept: impl Fn(u64) -> bool) -> Option<Arc<Self>> {
        let kept: Box<[bool]> = (0..self.size()?).map(kept).collect();
        let mut choices = vec![0; self.len()];
        let mut ranks = (0..kept.len() as u64).filter(|&rank| kept[rank as usize]);
        ranks.find(|&rank| {
            self.unrank(rank, &mut choices);
            self.is_valid(&choices)
        })?;
        let rules = Restricted { whole: self.clone(), kept };
        Self::new(self.name(), self.decisions().to_vec(), Box::new(rules)).ok().map(Arc::new)
    }
}

impl Rules for Restricted {
    fn is_valid(&self, choices: &Choices) -> bool {
        self.kept[self.whole.rank(choices) as usize] && self.whole.rules.is_valid(choices)
    }

    fn broken(&self, _space: &SearchSpace, choices: &Choices) -> Vec<String> {
        self.whole.broken(choices)
    }

    fn activate(&self, choices: &mut Choices) {
        self.whole.rules.activate(choices);
    }

    fn is_inactive(&self, choices: &Choices, decision: usize) -> bool {
        self.whole.rules.is_inactive(choices, decision)
    }

    fn counting(&self) -> &'static str {
        self.whole.rules.counting()
    }

    fn whole(&self) -> Option<&Arc<SearchSpace>> {
        Some(&self.whole)
    }

    fn published_key(&self, _space: &SearchSpace, choices: &Choices) -> Option<u64> {
        self.whole.rules.published_key(&self.whole, choices)
    }

    fn format(&self, _space: &SearchSpace, choices: &Choices) -> Option<String> {
        self.whole.rules.format(&self.whole, choices)
    }

    fn parse(&self, _space: &SearchSpace, text: &str) -> Option<Result<Vec<u8>, SpaceError>> {
        self.whole.rules.parse(&self.whole, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn what_is_left_out_is_not_drawn_and_the_rest_is_what_it_was() {
        let whole = SearchSpace::named("nb201").unwrap();
        let some = whole.restricted(|rank| rank % 3 == 0).unwrap();
        assert_eq!((some.name(), some.size(), some.counting()), ("nb201", whole.size(), whole.counting()));
        let (mut rng, mut choices) = (ChaCha8Rng::seed_from_u64(1), vec![0; 6]);
        for _ in 0..200 {
            some.sample(&mut rng, &mut choices);
            let rank = some.rank(&choices);
            assert_eq!((rank % 3, rank), (0, whole.rank(&choices)));
            assert_eq!(some.canonical_key(&choices), whole.canonical_key(&choices));
            assert_eq!(some.parse(&whole.format(&choices)).unwrap(), choices);
            some.for_each_edit(&mut choices.clone(), |edited, _, _| assert_eq!(whole.rank(edited) % 3, 0));
        }
        assert!(some.parse("|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|").is_err());
        assert!(whole.restricted(|_| false).is_none());
    }
}
