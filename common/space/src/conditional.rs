//! Rules of spaces whose decisions may depend on another decision's choice (a depth that switches layers off).

use super::{Choices, Decision, Rules, SearchSpace, SpaceError};

/// A decision counts only while another decision is active and has one of some choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The decision that may be inactive.
    pub decision: usize,
    /// The decision it depends on.
    pub depends_on: usize,
    /// The choices of `depends_on` that make `decision` active.
    pub active_if: Vec<u8>,
}

/// Every combination is valid; inactive decisions take their first choice in the active form.
#[derive(Clone, Debug, Default)]
pub struct Conditional {
    /// What a decision depends on comes before it.
    conditions: Vec<Condition>,
}

impl Conditional {
    /// A space of these decisions under these conditions (none: a plain product of choices). A decision under several
    /// conditions is active while all of them hold.
    ///
    /// # Errors
    /// Refuses a condition on a decision or a choice that is not there, and conditions in a circle.
    pub fn space(
        name: &str,
        decisions: Vec<Decision>,
        conditions: Vec<Condition>,
    ) -> Result<SearchSpace, SpaceError> {
        let rules = Self::new(&decisions, conditions)
            .map_err(|reason| SpaceError::Malformed { space: name.into(), reason })?;
        SearchSpace::new(name, decisions, Box::new(rules))
    }

    pub(super) fn new(decisions: &[Decision], conditions: Vec<Condition>) -> Result<Self, String> {
        for c in &conditions {
            if c.decision >= decisions.len() || c.depends_on >= decisions.len() {
                return Err(format!("a condition names decision {}, which is not there", c.decision));
            }
            let parent = &decisions[c.depends_on];
            if let Some(bad) = c.active_if.iter().find(|&&k| k as usize >= parent.choices.len()) {
                return Err(format!("decision `{}` has no choice number {bad}", parent.name));
            }
        }
        // What depends on nothing that is left comes next.
        let (mut left, mut ordered) = (conditions, Vec::new());
        while !left.is_empty() {
            let mut waiting = DecisionSet::default();
            left.iter().for_each(|c| waiting.add(c.decision));
            let (ready, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|c| !waiting.has(c.depends_on));
            if ready.is_empty() {
                let names: Vec<String> =
                    rest.iter().map(|c| format!("`{}`", decisions[c.decision].name)).collect();
                return Err(format!("the conditions of {} go in a circle", names.join(", ")));
            }
            ordered.extend(ready);
            left = rest;
        }
        Ok(Self { conditions: ordered })
    }

    /// The decisions that do not count.
    pub(super) fn inactive(&self, choices: &Choices) -> DecisionSet {
        let mut inactive = DecisionSet::default();
        for c in &self.conditions {
            if inactive.has(c.depends_on) || !c.active_if.contains(&choices[c.depends_on]) {
                inactive.add(c.decision);
            }
        }
        inactive
    }
}

/// A set of decisions, without an allocation.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct DecisionSet([u64; SearchSpace::MOST_DECISIONS / 64]);

impl DecisionSet {
    pub fn add(&mut self, decision: usize) {
        self.0[decision / 64] |= 1 << (decision % 64);
    }

    pub fn has(&self, decision: usize) -> bool {
        self.0[decision / 64] >> (decision % 64) & 1 == 1
    }
}

impl Rules for Conditional {
    fn is_valid(&self, _choices: &Choices) -> bool {
        true
    }

    fn is_inactive(&self, choices: &Choices, decision: usize) -> bool {
        self.inactive(choices).has(decision)
    }

    fn activate(&self, choices: &mut Choices) {
        let inactive = self.inactive(choices);
        for c in self.conditions.iter().filter(|c| inactive.has(c.decision)) {
            choices[c.decision] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth_and_widths() -> SearchSpace {
        let width = ["64", "128", "256"];
        Conditional::space(
            "made-up",
            vec![
                Decision::new("depth", &["1", "2"]),
                Decision::new("width1", &width),
                Decision::new("width2", &width),
            ],
            vec![Condition { decision: 2, depends_on: 0, active_if: vec![1] }],
        )
        .unwrap()
    }

    #[test]
    fn inactive_decisions_neither_change_the_active_form_nor_the_key() {
        let space = depth_and_widths();
        let (a, b, deep) = ([0u8, 1, 2], [0u8, 1, 1], [1u8, 1, 2]);
        let mut active = a;
        space.activate(&mut active);
        assert_eq!(active, [0, 1, 0]);
        assert_eq!(space.canonical_key(&a), space.canonical_key(&b));
        assert_ne!(space.canonical_key(&a), space.canonical_key(&deep));
        let forms: std::collections::BTreeSet<u64> = (0..space.size().unwrap())
            .map(|rank| {
                let mut c = [0; 3];
                space.unrank(rank, &mut c);
                space.canonical_key(&c)
            })
            .collect();
        assert_eq!(forms.len(), 3 + 9);
    }

    #[test]
    fn decisions_with_the_same_choices_share_a_vocabulary() {
        let space = depth_and_widths();
        assert_eq!((space.vocabulary(1), space.vocabulary(2)), (1, 1));
        assert_eq!(space.count_features(), 2 + 3);
        let mut counts = [0; 5];
        space.count_choices(&[1, 2, 2], &mut counts);
        assert_eq!(counts, [0, 1, 0, 0, 2]);
    }

    #[test]
    fn conditions_chain_in_any_order_and_circles_are_refused() {
        let decisions: Vec<Decision> =
            ["a", "b", "c"].iter().map(|n| Decision::new(*n, &["x", "y"])).collect();
        let on = |decision, depends_on, choice| Condition { decision, depends_on, active_if: vec![choice] };
        // `a` depends on `b`, which depends on `c`; the second choice of `c` switches both off, whatever `b` has.
        let space = Conditional::space("chain", decisions.clone(), vec![on(0, 1, 0), on(1, 2, 0)]).unwrap();
        let mut choices = [1, 0, 1];
        space.activate(&mut choices);
        assert_eq!(choices, [0, 0, 1]);
        choices = [1, 0, 0];
        space.activate(&mut choices);
        assert_eq!(choices, [1, 0, 0]);
        for circle in [vec![on(0, 0, 1)], vec![on(0, 1, 0), on(1, 2, 0), on(2, 0, 0)]] {
            let error = Conditional::space("bad", decisions.clone(), circle).unwrap_err().to_string();
            assert!(error.contains("`a`") && error.contains("circle"), "{error}");
        }
        assert!(Conditional::space("bad", decisions, vec![on(0, 7, 0)]).is_err());
    }

    /// Each decision depends on all before it: 130,000 conditions, which take no time to be put in order.
    #[test]
    fn very_many_conditions_are_put_in_order() {
        let last = SearchSpace::MOST_DECISIONS - 1;
        let decisions = (0..=last).map(|d| Decision::new(format!("d{d}"), &["x", "y"])).collect();
        let on = |decision, depends_on| Condition { decision, depends_on, active_if: vec![0] };
        let conditions = (0..=last).rev().flat_map(|d| (0..d).map(move |parent| on(d, parent))).collect();
        let space = Conditional::space("many", decisions, conditions).unwrap();
        let mut choices = vec![0; last + 1];
        assert!(!space.is_inactive(&choices, last));
        choices[0] = 1;
        assert!((1..=last).all(|d| space.is_inactive(&choices, d)));
    }

    #[test]
    fn pairs_are_read_in_any_order_and_refused_by_name() {
        let space = depth_and_widths();
        let choices = space.parse("width2=256, depth=2, width1=64").unwrap();
        assert_eq!(choices, [1, 0, 2]);
        assert_eq!(space.format(&choices), "depth=2,width1=64,width2=256");
        let error = space.parse("depht=2,width1=64,width2=64").unwrap_err().to_string();
        assert!(error.contains("`depht`") && error.contains("depth"), "{error}");
    }
}
