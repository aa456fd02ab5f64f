//! What somebody said of some architectures without training them, and what is expected of all others.

use super::{Describe, Expectation, Form, PlainSettings};
use srnas_space::{Choices, SearchSpace};
use std::{collections::BTreeMap, sync::Arc};

/// Descriptors that are known of some architectures of a space, where to ask about each would take too long: anywhere they are what the
/// plain posterior expects after these.
#[derive(Debug)]
pub struct Asked {
    space: Arc<SearchSpace>,
    names: Vec<String>,
    expectations: Vec<Expectation>,
}

impl Asked {
    /// From what was said of architectures, by name. What was said of fewer than half of them, and what is the same of all, is left out;
    /// nothing where that is everything.
    pub fn new(
        space: &Arc<SearchSpace>,
        settings: &PlainSettings,
        said: &[(Vec<u8>, BTreeMap<String, f64>)],
    ) -> Option<Self> {
        let mut by_name: BTreeMap<&str, Vec<(&[u8], f32)>> = BTreeMap::new();
        for (choices, numbers) in said {
            for (name, value) in numbers.iter().filter(|(_, value)| (**value as f32).is_finite()) {
                by_name.entry(name).or_default().push((choices, *value as f32));
            }
        }
        by_name.retain(|_, known| {
            2 * known.len() >= said.len() && known.iter().any(|(_, value)| *value != known[0].1)
        });
        // Those that were said of all share what is computed of an architecture.
        let (of_all, of_some): (Vec<_>, Vec<_>) =
            by_name.into_iter().partition(|(_, known)| known.len() == said.len());
        let choices: Vec<&[u8]> = said.iter().map(|(choices, _)| &choices[..]).collect();
        let values: Vec<Vec<f32>> =
            of_all.iter().map(|(_, known)| known.iter().map(|(_, value)| *value).collect()).collect();
        let values: Vec<&[f32]> = values.iter().map(|values| &values[..]).collect();
        let mut expectations = match values.is_empty() {
            true => Vec::new(),
            false => Expectation::of_many(space, settings, &choices, &values),
        };
        expectations.extend(of_some.iter().map(|(_, known)| Expectation::new(space, settings, known)));
        let names = of_all.iter().chain(&of_some).map(|(name, _)| name.to_string()).collect();
        (!expectations.is_empty()).then(|| Self { space: space.clone(), names, expectations })
    }
}

impl Describe for Asked {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn describe(&self, active: &Choices, descriptors: &mut [f32]) {
        let mut form = Form::new(&self.space);
        form.assign(&self.space, active);
        Expectation::all_at(&self.expectations, &form, &mut Vec::new(), |place, value| {
            descriptors[place] = value;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::{Conditional, Decision};

    #[test]
    fn what_was_not_asked_is_expected_and_what_says_nothing_is_left_out() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c", "d"]);
        let space = Conditional::space("made-up", (0..8).map(decision).collect(), vec![]);
        let space = Arc::new(space.unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let sum = |choices: &[u8]| choices.iter().map(|&c| f64::from(c)).sum::<f64>();
        let mut drawn = || {
            let mut choices = vec![0; 8];
            space.sample(&mut rng, &mut choices);
            choices
        };
        let said: Vec<(Vec<u8>, BTreeMap<String, f64>)> = (0..200)
            .map(|i| {
                let choices = drawn();
                let mut numbers = BTreeMap::from([
                    ("cost".into(), -1e6 * sum(&choices)),
                    ("sum".into(), sum(&choices)),
                    ("same".into(), 3.0),
                ]);
                if i % 3 > 0 {
                    numbers.insert("now and then".into(), sum(&choices));
                }
                if i % 3 == 0 {
                    numbers.insert("seldom".into(), sum(&choices));
                }
                if i == 9 {
                    numbers.insert("sum".into(), f64::NAN);
                }
                (choices, numbers)
            })
            .collect();
        let settings = PlainSettings::default();
        let asked = Asked::new(&space, &settings, &said).unwrap();
        assert_eq!(asked.names(), ["cost", "now and then", "sum"]);
        let described: Vec<(f64, [f32; 3])> = (0..300)
            .map(|_| {
                let (choices, mut descriptors) = (drawn(), [0.0; 3]);
                asked.describe(&choices, &mut descriptors);
                (sum(&choices), descriptors)
            })
            .collect();
        // Of two that are three apart every descriptor knows which is more; one of them is the others turned round.
        let (mut right, mut pairs) = ([0; 3], 0);
        for (a, of_a) in &described {
            for (b, of_b) in described.iter().filter(|(b, _)| *b >= a + 3.0) {
                pairs += 1;
                right[0] += usize::from(of_a[0] > of_b[0]);
                right[1] += usize::from(of_a[1] < of_b[1]);
                right[2] += usize::from(of_a[2] < of_b[2]);
                assert!(b > a);
            }
        }
        assert!(right.iter().all(|right| *right as f64 > 0.95 * f64::from(pairs)), "{right:?} of {pairs}");
        assert!(Asked::new(&space, &settings, &[]).is_none());
        assert!(Asked::new(&space, &settings, &said[..1]).is_none(), "one alone says nothing");
    }
}
