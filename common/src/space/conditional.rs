//! Rules of spaces whose decisions may depend on another decision's choice (a depth that switches layers off).

use super::{Choices, Decision, Rules, SearchSpace, SpaceError};

/// A decision counts only while another decision has one of some choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The decision that may be inactive.
    pub decision: usize,
    /// The decision it depends on; must come earlier, so that conditions chain without cycles.
    pub depends_on: usize,
    /// The choices of `depends_on` that make `decision` active.
    pub active_if: Vec<u8>,
}

/// Every combination is valid; inactive decisions take their first choice in the active form.
#[derive(Clone, Debug, Default)]
pub struct Conditional {
    conditions: Vec<Condition>,
}

impl Conditional {
    /// A space of these decisions under these conditions (none: a plain product of choices).
    ///
    /// # Errors
    /// Refuses a condition on a decision that is not there or does not come earlier, and choices that do not exist.
    pub fn space(
        name: &str,
        decisions: Vec<Decision>,
        mut conditions: Vec<Condition>,
    ) -> Result<SearchSpace, SpaceError> {
        for c in &conditions {
            let reason = if c.decision >= decisions.len() || c.depends_on >= c.decision {
                format!("a condition of decision {} must name an earlier decision", c.decision)
            } else if let Some(bad) =
                c.active_if.iter().find(|&&k| k as usize >= decisions[c.depends_on].choices.len())
            {
                format!("decision `{}` has no choice number {bad}", decisions[c.depends_on].name)
            } else {
                continue;
            };
            return Err(SpaceError::Malformed { space: name.into(), reason });
        }
        // Earlier decisions first: a decision that depends on an inactive one sees its fixed choice.
        conditions.sort_by_key(|c| c.decision);
        SearchSpace::new(name, decisions, Box::new(Self { conditions }))
    }
}

impl Rules for Conditional {
    fn is_valid(&self, _choices: &Choices) -> bool {
        true
    }

    fn activate(&self, choices: &mut Choices) {
        for c in &self.conditions {
            if !c.active_if.contains(&choices[c.depends_on]) {
                choices[c.decision] = 0;
            }
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
    fn a_condition_on_a_later_decision_is_refused() {
        let decisions = vec![Decision::new("a", &["x", "y"]), Decision::new("b", &["x", "y"])];
        let condition = Condition { decision: 0, depends_on: 1, active_if: vec![0] };
        assert!(Conditional::space("bad", decisions, vec![condition]).is_err());
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
