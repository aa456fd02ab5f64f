use super::{super::SearchSpace, *};
use proptest::prelude::*;
use std::collections::HashSet;

/// Every cell of so many vertices, all on a way from the input to the output, one for each class without operations: as encodings.
fn representatives(vertices: usize) -> Vec<Graph> {
    let inner = vertices - 2;
    let places: Vec<(usize, usize)> =
        edges().filter(|(from, to)| (*from <= inner) && (*to <= inner || *to == OUTPUT)).collect();
    let mut found = Vec::new();
    for bits in 0u32..1 << places.len() {
        if bits.count_ones() > MOST_EDGES {
            continue;
        }
        let mut graph = Graph::default();
        for (place, (from, to)) in places.iter().enumerate() {
            graph.inputs[*to] |= ((bits >> place & 1) as u8) << from;
        }
        let whole = graph.pruned() == Some(graph) && (1..=inner).all(|vertex| graph.inputs[vertex] != 0);
        if whole && graph.canonical() == graph {
            found.push(graph);
        }
    }
    found
}

#[test]
fn it_has_the_published_number_of_cells_by_vertices() {
    let space = SearchSpace::named("nb101").unwrap();
    let mut all = HashSet::new();
    for (vertices, expected) in [(2, 1), (3, 6), (4, 84), (5, 2_441), (6, 62_010), (7, 359_082)] {
        let before = all.len();
        let inner = vertices - 2;
        for graph in representatives(vertices) {
            for labels in 0..3u32.pow(inner as u32) {
                let mut graph = graph;
                for place in 0..inner {
                    graph.operations[place] = (labels / 3u32.pow(place as u32) % 3) as u8;
                }
                let mut choices = vec![0; EDGES + INNER];
                graph.write(&mut choices);
                all.insert(space.canonical_key(&choices));
            }
        }
        assert_eq!(all.len() - before, expected, "{vertices} vertices");
    }
    assert_eq!(all.len(), 423_624);
}

fn matrix(rows: &[&[u8]]) -> Vec<Vec<f64>> {
    rows.iter().map(|row| row.iter().map(|&c| f64::from(c)).collect()).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_string()).collect()
}

#[test]
fn cells_are_read_as_they_are_published_and_refused_by_place() {
    let space = SearchSpace::named("nb101").unwrap();
    let bare = choices_of(&matrix(&[&[0, 1], &[0, 0]]), &words(&["input", "output"])).unwrap();
    assert_eq!(space.format(&bare), "output(0)");
    // A vertex that leads nowhere is not there.
    let isolated =
        r#"{"matrix": [[0, 1, 1.0], [0, 0, 0], [0, 0, 0]], "operations": ["input", "maxpool3x3", "output"]}"#;
    assert_eq!(space.canonical_key(&space.parse(isolated).unwrap()), space.canonical_key(&bare));
    let long = "conv3x3-bn-relu(0)|conv1x1-bn-relu(0)|maxpool3x3(0,1)|output(1,2,3)";
    assert_eq!(space.format(&space.parse(long).unwrap()), long);
    // Ten edges, of which two lead to a vertex that leads nowhere.
    let pruned = "maxpool3x3(0)|maxpool3x3(0,1)|maxpool3x3(0,1,2)|maxpool3x3(1,2)|output(3)";
    assert!(space.parse(pruned).is_ok());
    // Edges that cannot count may be left out.
    let by_names = "0>6=yes,0>1=no,0>2=no,0>3=no,0>4=no,0>5=no";
    assert_eq!(space.canonical_key(&space.parse(by_names).unwrap()), space.canonical_key(&bare));
    let of = |rows: &str, operations: &str| {
        let text = format!(r#"{{"matrix": {rows}, "operations": {operations}}}"#);
        space.parse(&text).unwrap_err().to_string()
    };
    for (found, says) in [
        (of("[[0, 0.5], [0, 0]]", r#"["input", "output"]"#), "row 0, column 1 of the matrix is 0.5"),
        (of("[[0, 1], [1, 0]]", r#"["input", "output"]"#), "row 1, column 0 of the matrix is 1: edges lead"),
        (of("[[0, 1], [0]]", r#"["input", "output"]"#), "row 1 of the matrix has 1 numbers instead of 2"),
        (of("[[0, \"x\"], [0, 0]]", r#"["input", "output"]"#), "row 0, column 1 of the matrix is \"x\""),
        (of("[[0, 0], [0, 0]]", r#"["input", "output"]"#), "no way leads"),
        (of("[[0, 1], [0, 0]]", r#"["input"]"#), "1 operations for 2 vertices"),
        (of("[[0]]", r#"["input"]"#), "has 1 rows"),
        (of("[[0, 1], [0, 0]]", r#"["output", "input"]"#), "operation 0 is `output` instead of `input`"),
        (
            of("[[0, 1, 0], [0, 0, 1], [0, 0, 0]]", r#"["input", "conv3x3", "output"]"#),
            "did you mean `conv3x3-bn-relu`",
        ),
        (of("7", r#"["input"]"#), "matrix is no list"),
        (space.parse("output").unwrap_err().to_string(), "is no vertex"),
        (space.parse("output(1)").unwrap_err().to_string(), "`1` is none before it"),
        (
            space
                .parse("maxpool3x3(0)|maxpool3x3(0,1)|maxpool3x3(0,1,2)|maxpool3x3(1,2,3)|output(3,4)")
                .unwrap_err()
                .to_string(),
            "11 edges lead",
        ),
    ] {
        assert!(found.contains(says), "{found}");
    }
}

/// A valid encoding, and the same cell with its inner vertices in another order.
fn shuffled() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (any::<u64>(), Just((1..OUTPUT).collect::<Vec<usize>>()).prop_shuffle()).prop_map(|(seed, order)| {
        use rand::SeedableRng;
        let space = SearchSpace::named("nb101").unwrap();
        let mut choices = vec![0; space.len()];
        space.sample(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed), &mut choices);
        let graph = Graph::of(&choices);
        // An order in which edges lead forward: the wanted one as far as that is so.
        let (mut place, mut next) = ([0, 0, 0, 0, 0, 0, OUTPUT], 1);
        let mut left = order;
        while !left.is_empty() {
            let ready =
                |v: usize| (1..v).all(|from| graph.inputs[v] >> from & 1 == 0 || !left.contains(&from));
            let at = left.iter().position(|&v| ready(v)).unwrap();
            place[left.remove(at)] = next;
            next += 1;
        }
        let mut other = Graph::default();
        for (from, to) in edges() {
            other.inputs[place[to]] |= (graph.inputs[to] >> from & 1) << place[from];
        }
        for (at, operation) in place[1..OUTPUT].iter().zip(graph.operations) {
            other.operations[at - 1] = operation;
        }
        let mut encoding = vec![0; space.len()];
        other.write(&mut encoding);
        (choices, encoding)
    })
}

proptest! {
    #[test]
    fn the_numbers_of_vertices_do_not_count((one, other) in shuffled()) {
        let space = SearchSpace::named("nb101").unwrap();
        prop_assert!(space.is_valid(&one) && space.is_valid(&other));
        prop_assert_eq!(space.canonical_key(&one), space.canonical_key(&other));
        let (mut a, mut b) = (one.clone(), other);
        space.activate(&mut a);
        space.activate(&mut b);
        prop_assert_eq!(&a, &b);
        // The active form is an encoding of the cell, and its own active form.
        prop_assert!(space.is_valid(&a));
        let once = a.clone();
        space.activate(&mut a);
        prop_assert_eq!(&a, &once);
        prop_assert_eq!(space.canonical_key(&a), space.canonical_key(&one));
        let read = space.parse(&space.format(&one)).unwrap();
        prop_assert_eq!(space.canonical_key(&read), space.canonical_key(&one));
    }

    #[test]
    fn what_does_not_count_can_be_anything((choices, _) in shuffled(), decision in 0usize..26, choice in 0u8..3) {
        let space = SearchSpace::named("nb101").unwrap();
        prop_assume!(space.is_inactive(&choices, decision));
        let mut other = choices.clone();
        other[decision] = choice.min(space.arity(decision) - 1);
        prop_assert_eq!(space.canonical_key(&choices), space.canonical_key(&other));
    }
}
