//! Rules of spaces that somebody wrote down: conditions, constraints and decisions that may be exchanged.

use super::{
    Choices, Condition, Conditional, Decision, Formula, Rules, SearchSpace, SpaceError,
    conditional::DecisionSet,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A space is refused if it has fewer valid combinations than one in so many.
const RAREST: u64 = 10_000;

/// What an architecture must not break. A constraint is asked only while every decision that it names is active.
#[derive(Clone, Debug)]
pub enum Constraint {
    /// These decisions must not all have one of these choices at once.
    Forbid(Vec<(usize, Vec<u8>)>),
    /// This formula must be true.
    Require(Box<Formula>),
}

impl Constraint {
    fn holds(&self, choices: &Choices, inactive: &DecisionSet) -> bool {
        match self {
            Self::Forbid(pattern) => {
                pattern.iter().any(|(d, bad)| inactive.has(*d) || !bad.contains(&choices[*d]))
            }
            Self::Require(formula) => {
                formula.decisions().iter().any(|&d| inactive.has(d)) || formula.holds(|d| choices[d])
            }
        }
    }
}

/// Conditions, constraints, and groups of decisions that may be exchanged without another architecture coming of it.
#[derive(Debug)]
pub struct Custom {
    conditions: Conditional,
    constraints: Vec<Constraint>,
    /// Sets of groups; the groups of a set have as many decisions each.
    interchangeable: Vec<Vec<Vec<usize>>>,
    /// For each decision of a group, the conditions from outside of its group.
    outside: Vec<Condition>,
}

impl Custom {
    /// A space of these decisions. `interchangeable` lists sets of groups of decisions: exchanging two groups of a set,
    /// decision by decision, gives the same architecture.
    ///
    /// # Errors
    /// Refuses what [`Conditional::space`] refuses, groups that cannot be exchanged, constraints that forbid everything, and
    /// such as leave fewer than one combination in 10,000 to be found.
    pub fn space(
        name: &str,
        decisions: Vec<Decision>,
        conditions: Vec<Condition>,
        constraints: Vec<Constraint>,
        interchangeable: Vec<Vec<Vec<usize>>>,
    ) -> Result<SearchSpace, SpaceError> {
        let malformed = |reason: String| SpaceError::Malformed { space: name.into(), reason };
        let ordered = Conditional::new(&decisions, conditions.clone()).map_err(malformed)?;
        let mut grouped = DecisionSet::default();
        for set in &interchangeable {
            check_set(set, &decisions, &conditions, &mut grouped).map_err(malformed)?;
        }
        let within = |c: &Condition| {
            interchangeable.iter().flatten().any(|g| g.contains(&c.decision) && g.contains(&c.depends_on))
        };
        let outside = conditions.into_iter().filter(|c| grouped.has(c.decision) && !within(c)).collect();
        let texts: Vec<String> = constraints.iter().map(|c| c.describe(&decisions)).collect();
        let rules = Self { conditions: ordered, constraints, interchangeable, outside };
        let space = SearchSpace::new(name, decisions, Box::new(rules))?;
        if !texts.is_empty() && valid_share(&space).is_none() {
            return Err(malformed(format!(
                "fewer than one combination in {RAREST} fulfils its constraints ({}); loosen them, or let one decision choose \
                 among the combinations that are meant",
                texts.join("; ")
            )));
        }
        Ok(space)
    }
}

impl Constraint {
    fn describe(&self, decisions: &[Decision]) -> String {
        match self {
            Self::Require(formula) => format!("require {}", formula.text()),
            Self::Forbid(pattern) => {
                let part = |(d, bad): &(usize, Vec<u8>)| {
                    let names: Vec<&str> =
                        bad.iter().map(|&c| decisions[*d].choices[usize::from(c)].as_str()).collect();
                    format!("{} = {}", decisions[*d].name, names.join(" or "))
                };
                format!("forbid {}", pattern.iter().map(part).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The share of all combinations that are valid: exact in a small space, else as draws with a fixed seed show it. `None`
/// where it is below one in [`RAREST`].
pub(super) fn valid_share(space: &SearchSpace) -> Option<f64> {
    let draws = 2 * RAREST;
    let mut choices = vec![0; space.len()];
    let (valid, of) = match space.size().filter(|&size| size <= draws) {
        Some(size) => {
            let valid = (0..size).filter(|&rank| {
                space.unrank(rank, &mut choices);
                space.rules.is_valid(&choices)
            });
            (valid.count(), size)
        }
        None => {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let valid = (0..draws).filter(|_| {
                space.draw(&mut rng, &mut choices);
                space.rules.is_valid(&choices)
            });
            (valid.count(), draws)
        }
    };
    // One lucky draw is no rate.
    let enough = if of < draws { valid > 0 } else { valid > 1 };
    enough.then_some(valid as f64 / of as f64)
}

/// Whether the groups of a set can be exchanged.
fn check_set(
    set: &[Vec<usize>],
    decisions: &[Decision],
    conditions: &[Condition],
    grouped: &mut DecisionSet,
) -> Result<(), String> {
    let name = |d: usize| format!("`{}`", decisions[d].name);
    let (Some(first), true) = (set.first(), set.len() > 1) else {
        return Err("interchangeable groups come at least in pairs".into());
    };
    if first.is_empty() {
        return Err("an interchangeable group has no decision".into());
    }
    for group in set {
        if group.len() != first.len() {
            let (a, b) = (first.len(), group.len());
            return Err(format!("interchangeable groups have as many decisions each, not {a} and {b}"));
        }
        for (&d, &model) in group.iter().zip(first) {
            if grouped.has(d) {
                return Err(format!("{} is in two interchangeable groups", name(d)));
            }
            grouped.add(d);
            if decisions[d].choices != decisions[model].choices {
                let (a, b) = (name(model), name(d));
                return Err(format!("{a} and {b} have other choices, so they cannot be exchanged"));
            }
        }
        // What hangs on a decision of the group must be in the group, and in the same way in each.
        for c in conditions.iter().filter(|c| group.contains(&c.depends_on)) {
            let place = |d: usize| group.iter().position(|&other| other == d);
            let alike = place(c.decision).zip(place(c.depends_on)).is_some_and(|(child, parent)| {
                set.iter().all(|other| {
                    let there = conditions
                        .iter()
                        .find(|o| o.decision == other[child] && o.depends_on == other[parent]);
                    there.is_some_and(|o| o.active_if == c.active_if)
                })
            });
            if !alike {
                let (parent, child) = (name(c.depends_on), name(c.decision));
                return Err(format!(
                    "{parent} is in an interchangeable group, and {child} depends on it unlike in the other groups"
                ));
            }
        }
    }
    Ok(())
}

impl Rules for Custom {
    fn is_valid(&self, choices: &Choices) -> bool {
        if self.constraints.is_empty() {
            return true;
        }
        let inactive = self.conditions.inactive(choices);
        self.constraints.iter().all(|c| c.holds(choices, &inactive))
    }

    fn broken(&self, space: &SearchSpace, choices: &Choices) -> Vec<String> {
        let inactive = self.conditions.inactive(choices);
        let broken = self.constraints.iter().filter(|c| !c.holds(choices, &inactive));
        broken.map(|c| format!("`{}`", c.describe(&space.decisions))).collect()
    }

    fn activate(&self, choices: &mut Choices) {
        self.conditions.activate(choices);
    }

    fn is_inactive(&self, choices: &Choices, decision: usize) -> bool {
        self.conditions.inactive(choices).has(decision)
    }

    fn counting(&self) -> &'static str {
        match self.interchangeable.is_empty() {
            true => "what does not count left out",
            false => "what does not count left out, and interchangeable groups in any order",
        }
    }

    /// The rank of the active form with its interchangeable groups in order, where there are any.
    fn published_key(&self, space: &SearchSpace, choices: &Choices) -> Option<u64> {
        if self.interchangeable.is_empty() {
            return None;
        }
        let inactive = self.conditions.inactive(choices);
        // Groups that are switched off from outside stay where they are: which ones count is a matter of their place.
        let mut off = DecisionSet::default();
        for c in &self.outside {
            if inactive.has(c.depends_on) || !c.active_if.contains(&choices[c.depends_on]) {
                off.add(c.decision);
            }
        }
        let mut form = choices.to_vec();
        self.activate(&mut form);
        for set in &self.interchangeable {
            let switched = |group: &[usize]| group.iter().map(|&d| off.has(d)).collect::<Vec<bool>>();
            let mut groups: Vec<(Vec<bool>, Vec<u8>)> =
                set.iter().map(|g| (switched(g), g.iter().map(|&d| form[d]).collect())).collect();
            let places: Vec<Vec<bool>> = groups.iter().map(|(off, _)| off.clone()).collect();
            groups.sort();
            for (group, off) in set.iter().zip(places) {
                // The first that is left with the same decisions switched off.
                let next = groups.iter().position(|(o, _)| *o == off).expect("each place has its group");
                let (_, contents) = groups.remove(next);
                group.iter().zip(contents).for_each(|(&d, choice)| form[d] = choice);
            }
        }
        Some(space.rank(&form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn numbers(name: &str, choices: &[&str]) -> Decision {
        Decision { literal: true, ..Decision::new(name, choices) }
    }

    fn decisions() -> Vec<Decision> {
        let widths = ["8", "16", "32"];
        vec![
            numbers("depth", &["1", "2"]),
            numbers("width1", &widths),
            Decision::new("act1", &["relu", "tanh"]),
            numbers("width2", &widths),
            Decision::new("act2", &["relu", "tanh"]),
        ]
    }

    fn second_layer() -> Vec<Condition> {
        [3, 4].map(|decision| Condition { decision, depends_on: 0, active_if: vec![1] }).to_vec()
    }

    fn require(text: &str) -> Constraint {
        Constraint::Require(Formula::read(text, &decisions()).unwrap())
    }

    fn keys(space: &SearchSpace) -> HashMap<u64, Vec<Vec<u8>>> {
        let mut keys: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
        let mut choices = vec![0; space.len()];
        for rank in 0..space.size().unwrap() {
            space.unrank(rank, &mut choices);
            if space.is_valid(&choices) {
                keys.entry(space.canonical_key(&choices)).or_default().push(choices.clone());
            }
        }
        keys
    }

    #[test]
    fn constraints_hold_and_are_asked_of_active_decisions_only() {
        let constraints =
            vec![require("width1 * width2 <= 256"), Constraint::Forbid(vec![(1, vec![2]), (2, vec![1])])];
        let space = Custom::space("net", decisions(), second_layer(), constraints, vec![]).unwrap();
        let valid = |text: &str| space.parse(text).is_ok();
        assert!(valid("depth=2,width1=16,act1=relu,width2=16,act2=relu"));
        assert!(!valid("depth=2,width1=32,act1=relu,width2=16,act2=relu"));
        assert!(valid("depth=1,width1=32,act1=relu,width2=16,act2=relu"), "the second width does not count");
        assert!(!valid("depth=1,width1=32,act1=tanh,width2=8,act2=relu"));
        // All draws are valid, and every valid combination is drawn about as often.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut choices = vec![0; 5];
        for _ in 0..40_000 {
            space.sample(&mut rng, &mut choices);
            assert!(space.is_valid(&choices));
            *counts.entry(choices.clone()).or_default() += 1;
        }
        let all: usize = keys(&space).values().map(Vec::len).sum();
        assert_eq!(counts.len(), all);
        let expected = 40_000.0 / all as f64;
        assert!(counts.values().all(|&n| (f64::from(n) / expected - 1.0).abs() < 0.25), "{counts:?}");
    }

    #[test]
    fn exchanged_groups_are_one_architecture_while_both_count() {
        let groups = vec![vec![vec![1, 2], vec![3, 4]]];
        let space = Custom::space("net", decisions(), second_layer(), vec![], groups).unwrap();
        let key = |text: &str| space.canonical_key(&space.parse(text).unwrap());
        let a = key("depth=2,width1=8,act1=tanh,width2=32,act2=relu");
        assert_eq!(a, key("depth=2,width1=32,act1=relu,width2=8,act2=tanh"));
        assert_ne!(a, key("depth=2,width1=32,act1=tanh,width2=8,act2=relu"), "whole groups are exchanged");
        let shallow = key("depth=1,width1=8,act1=tanh,width2=32,act2=relu");
        assert_eq!(shallow, key("depth=1,width1=8,act1=tanh,width2=8,act2=tanh"));
        assert_ne!(
            shallow,
            key("depth=1,width1=32,act1=relu,width2=8,act2=tanh"),
            "the second does not count"
        );
        // Six shallow ones; of two layers of six each, the unordered pairs.
        assert_eq!(keys(&space).len(), 6 + 6 * 7 / 2);
    }

    #[test]
    fn what_cannot_be_a_space_is_refused_with_the_reason() {
        let refused = |constraints: Vec<Constraint>, groups: Vec<Vec<Vec<usize>>>| {
            let space = Custom::space("net", decisions(), second_layer(), constraints, groups);
            space.unwrap_err().to_string()
        };
        let error = refused(vec![require("width1 > 32")], vec![]);
        assert!(error.contains("`net`") && error.contains("require width1 > 32"), "{error}");
        let everything = Constraint::Forbid(vec![(1, vec![0, 1, 2])]);
        assert!(refused(vec![everything], vec![]).contains("forbid width1 = 8 or 16 or 32"));
        assert!(refused(vec![], vec![vec![vec![1], vec![2]]]).contains("other choices"));
        assert!(refused(vec![], vec![vec![vec![1]]]).contains("in pairs"));
        assert!(refused(vec![], vec![vec![vec![1], vec![1]]]).contains("two interchangeable groups"));
        assert!(refused(vec![], vec![vec![vec![1, 2], vec![3]]]).contains("not 2 and 1"));
    }

    #[test]
    fn a_large_space_without_a_rare_constraint_is_taken_and_one_with_it_refused() {
        let many: Vec<Decision> = (0..30).map(|d| numbers(&format!("d{d}"), &["0", "1", "2", "3"])).collect();
        let sum = |limit: u32| {
            let text = (0..30).map(|d| format!("d{d}")).collect::<Vec<_>>().join(" + ");
            Constraint::Require(Formula::read(&format!("{text} <= {limit}"), &many).unwrap())
        };
        let space = |limit| Custom::space("many", many.clone(), vec![], vec![sum(limit)], vec![]);
        let share = valid_share(&space(45).unwrap()).unwrap();
        assert!((share - 0.52).abs() < 0.03, "{share}");
        assert!(space(3).unwrap_err().to_string().contains("in 10000 "));
    }
}
