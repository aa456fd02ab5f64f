//! NAS-Bench-101 (arXiv 1902.09635): cells of at most seven vertices and nine edges between an input and an output, each inner vertex
//! one of three operations.
//!
//! The decisions are the 21 places for an edge and five operations. What is on no way from the input to the output does not count, and
//! cells that differ in the numbers of their vertices alone are one: the active form is the pruned cell with its inner vertices in the one
//! order that makes it least, so that its rank is an exact key. (The published key is a hash of the same classes.)

use super::{Choices, Decision, Rules, SearchSpace, SpaceError};
use std::sync::{Arc, LazyLock};

/// Vertices: the input, five inner ones, the output.
pub const VERTICES: usize = 7;
/// Edges that a cell may have, pruned.
pub const MOST_EDGES: u32 = 9;
/// Operations of inner vertices, in the order of the published hash.
pub const OPERATIONS: [&str; 3] = ["conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"];
const INNER: usize = VERTICES - 2;
const EDGES: usize = VERTICES * (VERTICES - 1) / 2;
const OUTPUT: usize = VERTICES - 1;
const NOTATION: &str = "as conv3x3-bn-relu(0)|maxpool3x3(0,1)|output(1,2), each vertex with what leads to it and 0 the input, or \
     {\"matrix\": [[0,1,…],…], \"operations\": [\"input\",…,\"output\"]}";

/// The space, one for all.
pub(super) fn space() -> Arc<SearchSpace> {
    static SPACE: LazyLock<Arc<SearchSpace>> = LazyLock::new(|| {
        let edges = edges().map(|(from, to)| Decision::new(format!("{from}>{to}"), &["no", "yes"]));
        let operations = (1..OUTPUT).map(|vertex| Decision::new(format!("op{vertex}"), &OPERATIONS));
        let decisions = edges.chain(operations).collect();
        let space = SearchSpace::new("nb101", decisions, Box::new(Cell));
        Arc::new(space.expect("the list above is a space"))
    });
    SPACE.clone()
}

/// From and to vertex of each edge: the upper triangle row by row.
fn edges() -> impl Iterator<Item = (usize, usize)> {
    (0..VERTICES).flat_map(|from| (from + 1..VERTICES).map(move |to| (from, to)))
}

#[derive(Debug)]
struct Cell;

/// A cell by what leads to each vertex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Graph {
    /// By vertex: a bit for each vertex with an edge to it.
    inputs: [u8; VERTICES],
    /// Of inner vertices.
    operations: [u8; INNER],
}

impl Graph {
    fn of(choices: &Choices) -> Self {
        let mut graph = Self::default();
        for ((from, to), &choice) in edges().zip(choices) {
            graph.inputs[to] |= choice << from;
        }
        graph.operations.copy_from_slice(&choices[EDGES..]);
        graph
    }

    fn write(&self, choices: &mut Choices) {
        for ((from, to), choice) in edges().zip(choices.iter_mut()) {
            *choice = self.inputs[to] >> from & 1;
        }
        choices[EDGES..].copy_from_slice(&self.operations);
    }

    /// Vertices that the input leads to, and vertices that lead to the output, both with these themselves.
    fn reachable(&self) -> (u8, u8) {
        let (mut from_input, mut to_output) = (1u8, 1u8 << OUTPUT);
        for vertex in 1..VERTICES {
            if self.inputs[vertex] & from_input != 0 {
                from_input |= 1 << vertex;
            }
        }
        for vertex in (1..VERTICES).rev() {
            if to_output >> vertex & 1 != 0 {
                to_output |= self.inputs[vertex];
            }
        }
        (from_input, to_output)
    }

    /// Leaves the vertices that are on a way from the input to the output; none where there is no way.
    fn pruned(mut self) -> Option<Self> {
        let (from_input, to_output) = self.reachable();
        let live = from_input & to_output;
        for (vertex, inputs) in self.inputs.iter_mut().enumerate() {
            *inputs = if live >> vertex & 1 != 0 { *inputs & live } else { 0 };
        }
        for (place, operation) in self.operations.iter_mut().enumerate() {
            *operation = if live >> (place + 1) & 1 != 0 { *operation } else { 0 };
        }
        (live >> OUTPUT & 1 != 0 && from_input >> OUTPUT & 1 != 0).then_some(self)
    }

    fn edges(&self) -> u32 {
        self.inputs.iter().map(|inputs| inputs.count_ones()).sum()
    }

    /// Of all orders of the inner vertices of a pruned cell in which edges lead forward, the one whose list of operation and inputs,
    /// vertex by vertex, is the least; vertices that there are not come last.
    fn canonical(&self) -> Self {
        let live = (1..OUTPUT).fold(0u8, |live, vertex| live | u8::from(self.inputs[vertex] != 0) << vertex);
        let mut order = Order { graph: self, best: None };
        order.place(Self::default(), 1, live, [0; VERTICES]);
        order.best.unwrap_or(*self)
    }
}

/// The search for the least order. What a vertex is in the list follows from those before it, so the least list begins with the least
/// vertex that can come next; only among equal ones both ways have to be tried.
struct Order<'g> {
    graph: &'g Graph,
    best: Option<Graph>,
}

impl Order<'_> {
    /// Continues an order: the next place is `next`, `left` are the inner vertices still to be placed, `bits` the new bit of each old vertex.
    fn place(&mut self, made: Graph, next: usize, left: u8, mut bits: [u8; VERTICES]) {
        bits[0] = 1;
        let placed = |old: usize| old == 0 || left >> old & 1 == 0;
        let renamed = |inputs: u8| {
            (0..VERTICES).filter(|old| inputs >> old & 1 != 0).fold(0, |all, old| all | bits[old])
        };
        if left == 0 {
            let mut made = made;
            made.inputs[OUTPUT] = renamed(self.graph.inputs[OUTPUT]);
            if self.best.is_none_or(|best| made.list() < best.list()) {
                self.best = Some(made);
            }
            return;
        }
        let mut least: Option<(u8, u8)> = None;
        let mut ties = 0u8;
        for old in (1..OUTPUT).filter(|old| left >> old & 1 != 0) {
            let inputs = self.graph.inputs[old];
            if !(0..old).all(|from| inputs >> from & 1 == 0 || placed(from)) {
                continue;
            }
            let own = (self.graph.operations[old - 1], renamed(inputs));
            match least {
                Some(best) if own > best => {}
                Some(best) if own == best => ties |= 1 << old,
                _ => (least, ties) = (Some(own), 1 << old),
            }
        }
        let Some((operation, inputs)) = least else { return };
        let mut made = made;
        (made.inputs[next], made.operations[next - 1]) = (inputs, operation);
        // Vertices that lead to the same ones are exchangeable.
        let mut tried: [u8; INNER] = [0; INNER];
        let mut tries = 0;
        for old in (1..OUTPUT).filter(|old| ties >> old & 1 != 0) {
            let outputs = (0..VERTICES).fold(0u8, |all, to| all | (self.graph.inputs[to] >> old & 1) << to);
            if tried[..tries].contains(&outputs) {
                continue;
            }
            (tried[tries], tries) = (outputs, tries + 1);
            let mut bits = bits;
            bits[old] = 1 << next;
            self.place(made, next + 1, left & !(1 << old), bits);
        }
    }
}

impl Graph {
    /// The operation and the inputs of each inner vertex, then the output's inputs.
    fn list(&self) -> ([(u8, u8); INNER], u8) {
        let of = |place: usize| (self.operations[place], self.inputs[place + 1]);
        (std::array::from_fn(of), self.inputs[OUTPUT])
    }
}

impl Rules for Cell {
    /// There is a way from the input to the output, and no more than nine edges on such ways.
    fn is_valid(&self, choices: &Choices) -> bool {
        Graph::of(choices).pruned().is_some_and(|pruned| pruned.edges() <= MOST_EDGES)
    }

    fn broken(&self, _space: &SearchSpace, choices: &Choices) -> Vec<String> {
        match Graph::of(choices).pruned() {
            None => vec!["no way leads from the input to the output".into()],
            Some(pruned) if pruned.edges() > MOST_EDGES => {
                vec![format!(
                    "{} edges lead from the input to the output, at most {MOST_EDGES} may",
                    pruned.edges()
                )]
            }
            Some(_) => Vec::new(),
        }
    }

    fn activate(&self, choices: &mut Choices) {
        if let Some(pruned) = Graph::of(choices).pruned() {
            pruned.canonical().write(choices);
        }
    }

    fn is_inactive(&self, choices: &Choices, decision: usize) -> bool {
        let (from_input, to_output) = Graph::of(choices).reachable();
        match edges().nth(decision) {
            Some((from, to)) => from_input >> from & 1 == 0 || to_output >> to & 1 == 0,
            None => (from_input & to_output) >> (decision - EDGES + 1) & 1 == 0,
        }
    }

    fn counting(&self) -> &'static str {
        "pruned, up to the numbers of vertices"
    }

    fn format(&self, _space: &SearchSpace, choices: &Choices) -> Option<String> {
        let graph = Graph::of(choices).pruned()?;
        // Vertices that there are not have no numbers.
        let mut numbers = [0; VERTICES];
        let mut text = String::new();
        let mut next = 1;
        for vertex in 1..VERTICES {
            let inputs = graph.inputs[vertex];
            if inputs == 0 {
                continue;
            }
            (numbers[vertex], next) = (next, next + 1);
            let from = (0..vertex).filter(|from| inputs >> from & 1 != 0);
            let from: Vec<String> = from.map(|from| numbers[from].to_string()).collect();
            let name =
                if vertex == OUTPUT { "output" } else { OPERATIONS[graph.operations[vertex - 1] as usize] };
            text += &format!("{}{name}({})", if text.is_empty() { "" } else { "|" }, from.join(","));
        }
        Some(text)
    }

    fn parse(&self, space: &SearchSpace, text: &str) -> Option<Result<Vec<u8>, SpaceError>> {
        // Decisions by their names are everybody's notation.
        let own = !text.contains('=');
        own.then(|| of_text(text).map_err(|reason| space.not_an_architecture(text, &reason)))
    }

    fn parse_json(
        &self,
        object: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<Result<Vec<u8>, String>> {
        object.contains_key("matrix").then(|| of_json(object))
    }
}

/// A cell from vertices and their inputs, as `conv3x3-bn-relu(0)|output(0,1)`.
fn of_text(text: &str) -> Result<Vec<u8>, String> {
    let vertices: Vec<&str> = text.split('|').map(str::trim).collect();
    let n = vertices.len() + 1;
    if n > VERTICES {
        return Err(format!("it has {n} vertices, at most {VERTICES} are possible"));
    }
    let mut matrix = vec![vec![0.0; n]; n];
    let mut operations = vec!["input".to_string()];
    for (place, vertex) in vertices.iter().enumerate() {
        let to = place + 1;
        let (name, inputs) = vertex
            .strip_suffix(')')
            .and_then(|rest| rest.split_once('('))
            .ok_or_else(|| format!("`{vertex}` is no vertex; expected {NOTATION}"))?;
        for input in inputs.split(',').map(str::trim).filter(|input| !input.is_empty()) {
            let from = input.parse::<usize>().ok().filter(|from| *from < to);
            let from =
                from.ok_or_else(|| format!("`{vertex}` is vertex {to}: `{input}` is none before it"))?;
            matrix[from][to] = 1.0;
        }
        operations.push(name.trim().into());
    }
    choices_of(&matrix, &operations)
}

/// A cell in the published form, of JSON.
fn of_json(object: &serde_json::Map<String, serde_json::Value>) -> Result<Vec<u8>, String> {
    if let Some(other) = object.keys().find(|key| !["matrix", "operations"].contains(&key.as_str())) {
        return Err(format!("`{other}` is neither matrix nor operations"));
    }
    let list = |value: &serde_json::Value| value.as_array().cloned();
    let rows = object.get("matrix").and_then(list).ok_or("matrix is no list of rows")?;
    let mut matrix = Vec::new();
    for (r, row) in rows.iter().enumerate() {
        let row = list(row).ok_or_else(|| format!("row {r} of the matrix is no list"))?;
        let number = |(c, value): (usize, &serde_json::Value)| {
            value.as_f64().ok_or_else(|| format!("row {r}, column {c} of the matrix is {value}, no number"))
        };
        matrix.push(row.iter().enumerate().map(number).collect::<Result<Vec<f64>, _>>()?);
    }
    let operations = object.get("operations").and_then(list).ok_or("operations is no list")?;
    let word = |value: &serde_json::Value| {
        value.as_str().map(str::to_string).ok_or_else(|| format!("operation {value} is no word"))
    };
    choices_of(&matrix, &operations.iter().map(word).collect::<Result<Vec<_>, _>>()?)
}

/// Choices of a cell in the published form: a matrix of 0 and 1 above its diagonal, and `input`, an operation for each inner vertex and
/// `output`. It is pruned before its edges are counted.
///
/// # Errors
/// Says what is wrong, and where: rows and columns count from 0.
pub fn choices_of(matrix: &[Vec<f64>], operations: &[String]) -> Result<Vec<u8>, String> {
    let n = matrix.len();
    if !(2..=VERTICES).contains(&n) {
        return Err(format!("the matrix has {n} rows, and a cell 2 to {VERTICES} vertices"));
    }
    if operations.len() != n {
        return Err(format!(
            "{} operations for {n} vertices, the input and the output counted",
            operations.len()
        ));
    }
    // The output is the last vertex; vertices that there are not lie before it.
    let place = |vertex: usize| if vertex == n - 1 { OUTPUT } else { vertex };
    let mut graph = Graph::default();
    for (r, row) in matrix.iter().enumerate() {
        if row.len() != n {
            return Err(format!("row {r} of the matrix has {} numbers instead of {n}", row.len()));
        }
        for (c, &value) in row.iter().enumerate() {
            if value != 0.0 && value != 1.0 {
                return Err(format!("row {r}, column {c} of the matrix is {value}, neither 0 nor 1"));
            }
            if value == 1.0 && c <= r {
                return Err(format!(
                    "row {r}, column {c} of the matrix is 1: edges lead to later vertices only"
                ));
            }
            graph.inputs[place(c)] |= (value as u8) << place(r);
        }
    }
    for (vertex, name) in operations.iter().enumerate() {
        let expected = match vertex {
            0 => Some("input"),
            _ if vertex == n - 1 => Some("output"),
            _ => None,
        };
        match expected {
            Some(expected) if name != expected => {
                return Err(format!("operation {vertex} is `{name}` instead of `{expected}`"));
            }
            Some(_) => {}
            None => {
                let operation = OPERATIONS.iter().position(|known| known == name).ok_or_else(|| {
                    let hint = srnas_basics::names::did_you_mean(name, OPERATIONS);
                    format!("operation {vertex} is `{name}`, which inner vertices do not have{hint}")
                })?;
                graph.operations[vertex - 1] = operation as u8;
            }
        }
    }
    let pruned = graph.pruned().ok_or("no way leads from the input to the output")?;
    if pruned.edges() > MOST_EDGES {
        return Err(format!(
            "{} edges lead from the input to the output, at most {MOST_EDGES} may",
            pruned.edges()
        ));
    }
    let mut choices = vec![0; EDGES + INNER];
    graph.write(&mut choices);
    Ok(choices)
}

/// Vertices of a valid cell that is pruned, the input and the output among them, and whether an edge leads from each to each: what the
/// published hash is of. Labels are −1 for the input, −2 for the output, else the place in [`OPERATIONS`].
pub fn published_form(choices: &Choices) -> Option<(Vec<i32>, Vec<Vec<bool>>)> {
    let graph = Graph::of(choices).pruned()?;
    let there: Vec<usize> = (0..VERTICES).filter(|&v| v == 0 || graph.inputs[v] != 0).collect();
    let label = |&vertex: &usize| match vertex {
        0 => -1,
        OUTPUT => -2,
        _ => i32::from(graph.operations[vertex - 1]),
    };
    let leads = |from: usize, to: usize| graph.inputs[to] >> from & 1 != 0;
    let row = |&from: &usize| there.iter().map(|&to| leads(from, to)).collect();
    Some((there.iter().map(label).collect(), there.iter().map(row).collect()))
}

#[cfg(test)]
mod tests;
