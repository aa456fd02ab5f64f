//! The space of DARTS (arXiv 1806.09055), which NAS-Bench-301 (arXiv 2008.09777) covers: a normal cell and a reduction cell, each of four
//! nodes after two inputs, each node the sum of two operations on two different nodes before it. A cell's output is all its nodes.
//!
//! (180 · 7⁸)² = 1.0767·10¹⁸ architectures. Which of a node's two edges is written first does not count; nodes count by their number, as
//! NAS-Bench-301 has them.

use super::{Choices, Decision, Rules, SearchSpace, SpaceError};
use serde_json::Value;
use srnas_basics::names::did_you_mean;
use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

/// Cells, in the order of their decisions.
pub const CELLS: [&str; 2] = ["normal", "reduce"];
/// Nodes of a cell; they are numbered from 2 on, 0 and 1 being its inputs.
pub const NODES: usize = 4;
/// Operations on an edge, in the order of NAS-Bench-301.
pub const OPERATIONS: [&str; 7] = [
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
];
/// Decisions of a cell: two operations for each node, and its inputs where there is more than one pair.
const DECISIONS: usize = 3 * NODES - 1;
/// The concatenation of a cell, in the two ways in which it is written.
const CONCAT: [&str; 2] = ["range(2,6)", "[2,3,4,5]"];

/// What decisions say of a node, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which pair of inputs it has; none where there is one pair alone.
    pub inputs: Option<usize>,
    /// The operations on the first and on the second of them.
    pub operations: [usize; 2],
}

/// The decisions of a node, counted from 0, of a cell.
pub fn node(cell: usize, node: usize) -> Node {
    let first = cell * DECISIONS;
    match node.checked_sub(1) {
        None => Node { inputs: None, operations: [first, first + 1] },
        Some(later) => {
            let at = first + 2 + 3 * later;
            Node { inputs: Some(at), operations: [at + 1, at + 2] }
        }
    }
}

/// The pairs of inputs that a node, counted from 0, may have, in the order of their choices.
pub fn pairs(node: usize) -> Vec<[u8; 2]> {
    let before = node as u8 + 2;
    (0..before).flat_map(|a| (a + 1..before).map(move |b| [a, b])).collect()
}

/// The space, one for all.
pub(super) fn space() -> Arc<SearchSpace> {
    static SPACE: LazyLock<Arc<SearchSpace>> = LazyLock::new(|| {
        let mut decisions = Vec::new();
        for (c, cell) in CELLS.iter().enumerate() {
            for n in 0..NODES {
                let name = |what: &str| format!("{cell}{}.{what}", n + 2);
                if node(c, n).inputs.is_some() {
                    let pairs: Vec<String> = pairs(n).iter().map(|[a, b]| format!("{a}_{b}")).collect();
                    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
                    decisions.push(Decision::new(name("inputs"), &pairs));
                }
                decisions.extend(["op1", "op2"].map(|what| Decision::new(name(what), &OPERATIONS)));
            }
        }
        Arc::new(SearchSpace::new("darts", decisions, Box::new(Cells)).expect("the list above is a space"))
    });
    SPACE.clone()
}

#[derive(Debug)]
struct Cells;

impl Rules for Cells {
    fn is_valid(&self, _choices: &Choices) -> bool {
        true
    }

    fn activate(&self, _choices: &mut Choices) {}

    fn counting(&self) -> &'static str {
        "the two edges of a node in any order"
    }

    fn format(&self, _space: &SearchSpace, choices: &Choices) -> Option<String> {
        let mut text = String::from("Genotype(");
        for (c, cell) in CELLS.iter().enumerate() {
            let edges: Vec<String> =
                edges(choices, c).iter().map(|(op, input)| format!("('{op}', {input})")).collect();
            let (comma, edges) = (if c == 0 { "" } else { ", " }, edges.join(", "));
            write!(text, "{comma}{cell}=[{edges}], {cell}_concat=range(2, 6)").ok()?;
        }
        Some(text + ")")
    }

    fn parse(&self, space: &SearchSpace, text: &str) -> Option<Result<Vec<u8>, SpaceError>> {
        let own = text.starts_with("Genotype");
        own.then(|| of_text(text).map_err(|reason| space.not_an_architecture(text, &reason)))
    }

    fn parse_json(&self, object: &serde_json::Map<String, Value>) -> Option<Result<Vec<u8>, String>> {
        CELLS.iter().any(|cell| object.contains_key(*cell)).then(|| of_json(object))
    }
}

/// The edges of a cell, two for each node: operation and input.
fn edges(choices: &Choices, cell: usize) -> Vec<(&'static str, u8)> {
    let of = |n: usize| {
        let Node { inputs, operations } = node(cell, n);
        let inputs = pairs(n)[inputs.map_or(0, |d| usize::from(choices[d]))];
        [0, 1].map(|side| (OPERATIONS[usize::from(choices[operations[side]])], inputs[side]))
    };
    (0..NODES).flat_map(of).collect()
}

/// Choices of two cells, each the edges of its nodes in their order.
///
/// # Errors
/// Says which edge of which cell is wrong.
pub fn choices_of(cells: [&[(String, i64)]; 2]) -> Result<Vec<u8>, String> {
    let mut choices = vec![0; CELLS.len() * DECISIONS];
    for (c, (name, edges)) in CELLS.iter().zip(cells).enumerate() {
        if edges.len() != 2 * NODES {
            return Err(format!("{name} has {} edges, not {}: two for each node", edges.len(), 2 * NODES));
        }
        for (n, pair) in edges.chunks_exact(2).enumerate() {
            let edge = |(operation, input): &(String, i64)| {
                let known = OPERATIONS.iter().position(|known| known == operation);
                let op = known.ok_or_else(|| {
                    let hint = did_you_mean(operation, OPERATIONS);
                    format!("node {} of {name}: no operation is called `{operation}`{hint}", n + 2)
                })?;
                let before = u8::try_from(*input).ok().filter(|input| usize::from(*input) < n + 2);
                let input = before.ok_or_else(|| {
                    format!("node {} of {name}: {input} is none before it; 0 to {} are", n + 2, n + 1)
                })?;
                Ok::<_, String>((input, op as u8))
            };
            let mut pair = [edge(&pair[0])?, edge(&pair[1])?];
            if pair[0].0 == pair[1].0 {
                return Err(format!("node {} of {name} has {} as both of its inputs", n + 2, pair[0].0));
            }
            pair.sort_unstable();
            let Node { inputs, operations } = node(c, n);
            let place = pairs(n).iter().position(|known| *known == pair.map(|(input, _)| input));
            if let (Some(decision), Some(place)) = (inputs, place) {
                choices[decision] = place as u8;
            }
            operations.into_iter().zip(pair).for_each(|(decision, (_, op))| choices[decision] = op);
        }
    }
    Ok(choices)
}

/// A genotype as DARTS prints it; the concatenations may be left out.
fn of_text(text: &str) -> Result<Vec<u8>, String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let wrong = || "expected Genotype(normal=[('sep_conv_3x3', 0), …], reduce=[…])".to_string();
    let mut rest = bare.strip_prefix("Genotype(").and_then(|b| b.strip_suffix(')')).ok_or_else(wrong)?;
    let mut cells: [Option<Vec<(String, i64)>>; 2] = [None, None];
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
        // A value ends with its bracket.
        let end = value.find(if value.starts_with('[') { ']' } else { ')' }).ok_or_else(wrong)? + 1;
        let (value, after) = value.split_at(end);
        match (CELLS.iter().position(|cell| *cell == key), key.strip_suffix("_concat")) {
            (Some(cell), _) => {
                if cells[cell].replace(edges_of(value).ok_or_else(wrong)?).is_some() {
                    return Err(format!("{key} occurs twice"));
                }
            }
            (None, Some(cell)) if CELLS.contains(&cell) => {
                if !CONCAT.contains(&value) {
                    return Err(format!(
                        "{key} is {value}; the output of a cell is all its nodes, range(2, 6)"
                    ));
                }
            }
            _ => return Err(format!("it has `{key}`, which is no part of a genotype")),
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let [Some(normal), Some(reduce)] = cells else { return Err(wrong()) };
    choices_of([&normal, &reduce])
}

/// The edges of `[('sep_conv_3x3',0),…]`.
fn edges_of(list: &str) -> Option<Vec<(String, i64)>> {
    let inner = list
        .strip_prefix("[(")?
        .strip_suffix(")]")
        .or_else(|| list.strip_prefix("[(")?.strip_suffix("),]"))?;
    let edge = |text: &str| {
        let (operation, input) = text.split_once(',')?;
        Some((operation.trim_matches(['\'', '"']).to_string(), input.parse().ok()?))
    };
    inner.split("),(").map(edge).collect()
}

/// The same in JSON: for each cell the list of its edges, `["sep_conv_3x3", 0]`.
fn of_json(object: &serde_json::Map<String, Value>) -> Result<Vec<u8>, String> {
    let cell = |name: &str| {
        let edge = |(place, value): (usize, &Value)| {
            let parts = value.as_array().filter(|parts| parts.len() == 2);
            let edge = parts.and_then(|parts| Some((parts[0].as_str()?.to_string(), parts[1].as_i64()?)));
            edge.ok_or_else(|| format!("edge {place} of {name} is {value}, not [operation, input]"))
        };
        let edges = object.get(name).and_then(Value::as_array);
        let edges = edges.ok_or_else(|| format!("`{name}` is no list of edges"))?;
        edges.iter().enumerate().map(edge).collect::<Result<Vec<_>, String>>()
    };
    for (key, value) in object {
        match key.strip_suffix("_concat").filter(|cell| CELLS.contains(cell)) {
            Some(_) if *value == serde_json::json!([2, 3, 4, 5]) => {}
            Some(_) => {
                return Err(format!("{key} is {value}; the output of a cell is all its nodes, [2, 3, 4, 5]"));
            }
            None if CELLS.contains(&key.as_str()) => {}
            None => return Err(format!("`{key}` is no part of a genotype")),
        }
    }
    choices_of([&cell(CELLS[0])?, &cell(CELLS[1])?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// DARTS_V2 of the published code.
    const DARTS_V2: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), \
        ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], \
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), \
        ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])";

    #[test]
    fn the_space_has_as_many_architectures_as_the_paper_counts() {
        let space = space();
        assert_eq!((space.len(), space.size()), (22, Some((180 * 7u64.pow(8)).pow(2))));
        assert!((1.07e18..1.08e18).contains(&space.log_size().exp()));
        assert_eq!(pairs(2), [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        assert_eq!(node(1, 0).operations, [11, 12]);
        assert_eq!(node(1, 3), Node { inputs: Some(19), operations: [20, 21] });
    }

    #[test]
    fn a_published_genotype_is_read_in_any_order_of_its_edges() {
        let space = space();
        let read = space.parse(DARTS_V2).unwrap();
        let written = space.format(&read);
        assert!(
            written.starts_with("Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ("),
            "{written}"
        );
        assert!(
            written.contains("('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0)"),
            "{written}"
        );
        assert_eq!(space.parse(&written).unwrap(), read);
        let swapped = DARTS_V2.replace(
            "('skip_connect', 2), ('max_pool_3x3', 1)]",
            "('max_pool_3x3', 1), ('skip_connect', 2)]",
        );
        assert_ne!(swapped, DARTS_V2);
        assert_eq!(space.canonical_key(&space.parse(&swapped).unwrap()), space.canonical_key(&read));
    }

    #[test]
    fn what_is_no_genotype_is_refused_by_its_place() {
        let refused = |text: &str| space().parse(text).unwrap_err().to_string();
        for (from, to, says) in [
            (
                "('skip_connect', 0), ('skip_connect', 0)",
                "('skip_connect', 0), ('skip_connect', 9)",
                "node 5 of normal: 9 is none before it; 0 to 4 are",
            ),
            ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)", "node 5 of normal has 0 as both of its inputs"),
            ("dil_conv_3x3", "dil_conv_33", "did you mean"),
            (", ('dil_conv_3x3', 2)", "", "normal has 7 edges, not 8"),
            ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=[2, 3]", "reduce_concat is [2,3]"),
            ("reduce=", "normal=", "normal occurs twice"),
            ("reduce=", "other=", "`other`"),
            ("Genotype(", "Genotype", "expected Genotype(normal="),
        ] {
            let error = refused(&DARTS_V2.replacen(from, to, 1));
            assert!(error.contains(says), "{to}: {error}");
        }
        assert!(refused(r#"{"normal": [["skip_connect", 0]], "reduce": []}"#).contains("normal has 1 edges"));
        assert!(refused(r#"{"normal": [["skip_connect"]]}"#).contains("edge 0 of normal"));
        assert!(refused(r#"{"normal": [], "wide": 3}"#).contains("`wide`"));
    }

    proptest! {
        #[test]
        fn every_architecture_is_read_as_it_was_written(rank in 0..(180 * 7u64.pow(8)).pow(2)) {
            let space = space();
            let mut choices = vec![0; space.len()];
            space.unrank(rank, &mut choices);
            prop_assert_eq!(space.rank(&choices), rank);
            prop_assert_eq!(&space.parse(&space.format(&choices)).unwrap(), &choices);
            let edge = |(op, input): &(&str, u8)| serde_json::json!([op, input]);
            let cell = |c| edges(&choices, c).iter().map(edge).collect::<Vec<_>>();
            let json = serde_json::json!({ "normal": cell(0), "reduce": cell(1) });
            prop_assert_eq!(space.parse(&json.to_string()).unwrap(), choices);
        }
    }
}
