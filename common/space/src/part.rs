//! A space with fewer architectures than its decisions allow: those for which something holds that is known beforehand, such as what they cost.

use super::{Choices, Rules, SearchSpace, SpaceError};
use std::{fmt, sync::Arc};

/// What holds for the architectures of a part.
pub trait Restriction: Send + Sync + fmt::Debug {
    /// Whether it holds.
    fn holds(&self, choices: &Choices) -> bool;

    /// What does not, in words.
    fn broken(&self, choices: &Choices) -> Vec<String>;
}

#[derive(Debug)]
struct Part {
    whole: Arc<SearchSpace>,
    restriction: Box<dyn Restriction>,
}

impl SearchSpace {
    /// The same space with no architectures but those for which something holds. Ranks and keys stay what they are, and the space may be
    /// too large to be listed; none where that is fewer than one in ten thousand.
    pub fn part(self: &Arc<Self>, restriction: Box<dyn Restriction>) -> Option<Arc<Self>> {
        let rules = Part { whole: self.clone(), restriction };
        let mut part = Self::new(self.name(), self.decisions().to_vec(), Box::new(rules)).ok()?;
        part.notice.clone_from(&self.notice);
        part.descriptors.clone_from(&self.descriptors);
        (part.valid_share() > 0.0).then(|| Arc::new(part))
    }
}

impl Rules for Part {
    fn is_valid(&self, choices: &Choices) -> bool {
        self.whole.rules.is_valid(choices) && self.restriction.holds(choices)
    }

    fn broken(&self, _space: &SearchSpace, choices: &Choices) -> Vec<String> {
        let mut broken = self.whole.broken(choices);
        broken.extend(self.restriction.broken(choices));
        broken
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

    fn published_key(&self, _space: &SearchSpace, choices: &Choices) -> Option<u64> {
        self.whole.rules.published_key(&self.whole, choices)
    }

    fn format(&self, _space: &SearchSpace, choices: &Choices) -> Option<String> {
        self.whole.rules.format(&self.whole, choices)
    }

    fn parse_json(
        &self,
        object: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<Result<Vec<u8>, String>> {
        self.whole.rules.parse_json(object)
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

    #[derive(Debug)]
    struct SumAtMost(u8);

    impl Restriction for SumAtMost {
        fn holds(&self, choices: &Choices) -> bool {
            choices.iter().sum::<u8>() <= self.0
        }

        fn broken(&self, choices: &Choices) -> Vec<String> {
            let broken = || format!("the sum is above {}", self.0);
            if self.holds(choices) { Vec::new() } else { vec![broken()] }
        }
    }

    #[test]
    fn what_breaks_it_is_not_drawn_nor_read_and_the_rest_is_what_it_was() {
        let whole = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        let part = whole.part(Box::new(SumAtMost(3))).unwrap();
        let (mut rng, mut choices) = (ChaCha8Rng::seed_from_u64(1), vec![0; 7]);
        for _ in 0..200 {
            part.sample(&mut rng, &mut choices);
            assert!(choices.iter().sum::<u8>() <= 3 && part.is_valid(&choices));
            assert_eq!(part.canonical_key(&choices), whole.canonical_key(&choices));
            assert_eq!(part.rank(&choices), whole.rank(&choices));
            part.for_each_edit(&mut choices.clone(), |edited, _, _| {
                assert!(edited.iter().sum::<u8>() <= 3);
            });
        }
        let large = whole.format(&[1, 2, 2, 2, 2, 2, 2]);
        let error = part.parse(&large).unwrap_err().to_string();
        assert!(error.contains("the sum is above 3"), "{error}");
        assert!(part.valid_share() < whole.valid_share());
        #[derive(Debug)]
        struct Nothing;
        impl Restriction for Nothing {
            fn holds(&self, _: &Choices) -> bool {
                false
            }
            fn broken(&self, _: &Choices) -> Vec<String> {
                Vec::new()
            }
        }
        assert!(whole.part(Box::new(Nothing)).is_none());
    }
}
