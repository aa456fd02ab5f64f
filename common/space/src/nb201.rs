//! NAS-Bench-201 (arXiv 2001.00326): six edges of a four-node cell, five operations each.

use super::{Choices, Decision, Rules, SearchSpace, SpaceError};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

const OPERATIONS: [&str; 5] = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
const NONE: u8 = 0;
const SKIP: u8 = 1;
/// From and to node of each edge, in the order of the native notation.
const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];

/// The space, one for all: its classes take 13 ms to build.
pub(super) fn space() -> Arc<SearchSpace> {
    static SPACE: LazyLock<Arc<SearchSpace>> = LazyLock::new(|| {
        let decisions = EDGES.iter().map(|(i, j)| Decision::new(format!("{i}>{j}"), &OPERATIONS)).collect();
        let space = SearchSpace::new("nb201", decisions, Box::new(Cell { classes: classes() }));
        Arc::new(space.expect("the list above is a space"))
    });
    SPACE.clone()
}

/// The rules of the cell.
#[derive(Debug)]
struct Cell {
    /// By rank: the lowest rank of the encoding's class.
    classes: Vec<u16>,
}

impl Rules for Cell {
    fn is_valid(&self, _choices: &Choices) -> bool {
        true
    }

    /// An edge that no path from input to output uses counts as `none`.
    fn activate(&self, choices: &mut Choices) {
        let (mut from_input, mut to_output) = (0b0001u8, 0b1000u8);
        for (&(i, j), &op) in EDGES.iter().zip(choices.iter()) {
            if op != NONE && from_input & (1 << i) != 0 {
                from_input |= 1 << j;
            }
        }
        for (&(i, j), &op) in EDGES.iter().zip(choices.iter()).rev() {
            if op != NONE && to_output & (1 << j) != 0 {
                to_output |= 1 << i;
            }
        }
        for (&(i, j), op) in EDGES.iter().zip(choices.iter_mut()) {
            if from_input & (1 << i) == 0 || to_output & (1 << j) == 0 {
                *op = NONE;
            }
        }
    }

    fn counting(&self) -> &'static str {
        "by the published rule"
    }

    fn published_key(&self, _space: &SearchSpace, choices: &Choices) -> Option<u64> {
        Some(u64::from(self.classes[rank(choices)]))
    }

    fn format(&self, _space: &SearchSpace, choices: &Choices) -> Option<String> {
        let op = |e: usize| OPERATIONS[choices[e] as usize];
        Some(format!("|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|", op(0), op(1), op(2), op(3), op(4), op(5)))
    }

    fn parse(&self, space: &SearchSpace, text: &str) -> Option<Result<Vec<u8>, SpaceError>> {
        let wrong = |reason: String| space.not_an_architecture(text, &reason);
        let read = || {
            let expected = "expected |op~0|+|op~0|op~1|+|op~0|op~1|op~2|";
            let nodes: Vec<&str> = text.split('+').collect();
            if nodes.len() != 3 {
                return Err(wrong(format!("it has {} nodes instead of 3; {expected}", nodes.len())));
            }
            let mut choices = Vec::with_capacity(6);
            for (n, node) in nodes.iter().enumerate() {
                let inner = node
                    .strip_prefix('|')
                    .and_then(|rest| rest.strip_suffix('|'))
                    .ok_or_else(|| wrong(format!("`{node}` does not start and end with |; {expected}")))?;
                let edges: Vec<&str> = inner.split('|').collect();
                if edges.len() != n + 1 {
                    return Err(wrong(format!(
                        "node {} has {} edges instead of {}; {expected}",
                        n + 1,
                        edges.len(),
                        n + 1
                    )));
                }
                for (i, edge) in edges.iter().enumerate() {
                    let op = edge
                        .strip_suffix(&format!("~{i}"))
                        .ok_or_else(|| wrong(format!("`{edge}` should end with ~{i}; {expected}")))?;
                    choices.push(space.choice(choices.len(), op).map_err(wrong)?);
                }
            }
            Ok(choices)
        };
        Some(read())
    }
}

fn rank(choices: &Choices) -> usize {
    choices.iter().fold(0, |rank, &c| rank * OPERATIONS.len() + c as usize)
}

/// The published rule (`to_unique_str` with `consider_zero` of the benchmark's code): a node is the sorted sum of its
/// inputs, a skip hands its input on, `none` and whatever comes from nothing is nothing.
fn classes() -> Vec<u16> {
    let mut first: HashMap<String, u16> = HashMap::new();
    (0..15_625u16)
        .map(|r| {
            let mut choices = [0u8; 6];
            let mut rest = r;
            for c in choices.iter_mut().rev() {
                *c = (rest % 5) as u8;
                rest /= 5;
            }
            *first.entry(unique_string(&choices)).or_insert(r)
        })
        .collect()
}

fn unique_string(choices: &Choices) -> String {
    let mut nodes: Vec<String> = vec!["0".into()];
    for node in 1..4 {
        let mut inputs: Vec<String> = EDGES
            .iter()
            .zip(choices)
            .filter(|((_, to), _)| *to == node)
            .map(|(&(from, _), &op)| {
                let input = &nodes[from];
                if op == NONE || input == "#" {
                    "#".into()
                } else if op == SKIP {
                    input.clone()
                } else {
                    format!("({input})@{}", OPERATIONS[op as usize])
                }
            })
            .collect();
        inputs.sort_unstable();
        nodes.push(inputs.join("+"));
    }
    nodes.swap_remove(3)
}

#[cfg(test)]
mod tests {
    use super::super::SearchSpace;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn all() -> impl Iterator<Item = (u64, Vec<u8>)> {
        let space = SearchSpace::named("nb201").unwrap();
        (0..15_625).map(move |rank| {
            let mut choices = vec![0; 6];
            space.unrank(rank, &mut choices);
            (rank, choices)
        })
    }

    #[test]
    fn it_is_built_once() {
        let (one, other) = (SearchSpace::named("nb201").unwrap(), SearchSpace::named("nb201").unwrap());
        assert!(std::sync::Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn it_has_the_published_number_of_classes_and_of_active_forms() {
        let space = SearchSpace::named("nb201").unwrap();
        let classes: BTreeSet<u64> = all().map(|(_, c)| space.canonical_key(&c)).collect();
        assert_eq!(classes.len(), 6_466);
        let forms: BTreeSet<Vec<u8>> = all()
            .map(|(_, mut c)| {
                space.activate(&mut c);
                c
            })
            .collect();
        assert_eq!(forms.len(), 9_445);
    }

    #[test]
    fn activation_is_idempotent_and_keeps_the_class() {
        let space = SearchSpace::named("nb201").unwrap();
        for (_, mut choices) in all() {
            let before = choices.clone();
            space.activate(&mut choices);
            let once = choices.clone();
            space.activate(&mut choices);
            assert_eq!(once, choices, "{before:?}");
        }
    }

    #[test]
    fn the_native_notation_is_refused_with_the_part_that_is_wrong() {
        let space = SearchSpace::named("nb201").unwrap();
        for (text, part) in [
            ("", "nodes"),
            ("|nor_conv_3x3~0|", "1 nodes instead of 3"),
            ("|nor_conv_3~0|+|none~0|none~1|+|none~0|none~1|none~2|", "did you mean `nor_conv_3x3`"),
            ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "~0"),
            ("|none~0|+|none~0|+|none~0|none~1|none~2|", "node 2 has 1 edges"),
        ] {
            let error = space.parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn notation_and_rank_go_both_ways(rank in 0u64..15_625) {
            let space = SearchSpace::named("nb201").unwrap();
            let mut choices = vec![0; 6];
            space.unrank(rank, &mut choices);
            prop_assert_eq!(space.rank(&choices), rank);
            prop_assert_eq!(space.parse(&space.format(&choices)).unwrap(), choices);
        }

        #[test]
        fn there_are_24_edits_and_each_has_its_rank(rank in 0u64..15_625) {
            let space = SearchSpace::named("nb201").unwrap();
            let mut choices = vec![0; 6];
            space.unrank(rank, &mut choices);
            let before = choices.clone();
            let mut ranks = BTreeSet::new();
            space.for_each_edit(&mut choices, |edited, d, to| {
                assert_eq!(super::super::edit_distance(edited, &before), 1);
                assert_eq!(space.rank_after(rank, d, before[d], to), Some(space.rank(edited)));
                ranks.insert(space.rank(edited));
            });
            prop_assert_eq!(ranks.len(), 24);
            prop_assert_eq!(choices, before);
        }
    }
}
