//! NAS-Bench-Graph (arXiv 2206.09166): four graph layers in one of nine trees under the input, each layer one of nine operations. What no
//! layer takes in is the output, all of it.
//!
//! The published rule of what counts as one: a skip that only hands on what comes in is moved to the front, where it is the input again,
//! and layers that are exchangeable stand in the order of their operations. Nothing but skips is no architecture. 26,206 are left.

use super::{Choices, Decision, Rules, SearchSpace};
use std::sync::{Arc, LazyLock};

/// Layers.
pub const LAYERS: usize = 4;
/// Father of each layer, 0 being the input: the trees, in the order of the published hash.
const TREES: [[u8; LAYERS]; 9] = [
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [0, 0, 1, 1],
    [0, 0, 1, 2],
    [0, 0, 1, 3],
    [0, 1, 1, 1],
    [0, 1, 1, 2],
    [0, 1, 2, 2],
    [0, 1, 2, 3],
];
/// In the order of the published hash.
const OPERATIONS: [&str; 9] = ["gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip"];
const SKIP: u8 = 8;

/// The space, one for all.
pub(super) fn space() -> Arc<SearchSpace> {
    static SPACE: LazyLock<Arc<SearchSpace>> = LazyLock::new(|| {
        let trees: Vec<String> =
            TREES.iter().map(|tree| tree.map(|father| father.to_string()).concat()).collect();
        let trees = Decision::new("tree", &trees.iter().map(String::as_str).collect::<Vec<_>>());
        let layers = (1..=LAYERS).map(|layer| Decision::new(format!("layer{layer}"), &OPERATIONS));
        let decisions = std::iter::once(trees).chain(layers).collect();
        let space = SearchSpace::new("graph", decisions, Box::new(Network));
        Arc::new(space.expect("the list above is a space"))
    });
    SPACE.clone()
}

/// Choices of a number by which the published tables know an architecture: the tree, then a decimal digit for each operation. None for
/// what is no such number.
pub fn choices_of_hash(hash: u64) -> Option<Vec<u8>> {
    let mut digits = hash;
    let mut choices = vec![0; 1 + LAYERS];
    for choice in choices[1..].iter_mut().rev() {
        *choice = (digits % 10) as u8;
        digits /= 10;
    }
    choices[0] = u8::try_from(digits).ok()?;
    let known = usize::from(choices[0]) < TREES.len() && choices[1..].iter().all(|&op| op <= SKIP);
    known.then_some(choices)
}

#[derive(Debug)]
struct Network;

impl Rules for Network {
    fn is_valid(&self, choices: &Choices) -> bool {
        choices[1..].iter().any(|&operation| operation != SKIP)
    }

    fn broken(&self, _space: &SearchSpace, choices: &Choices) -> Vec<String> {
        if self.is_valid(choices) { Vec::new() } else { vec!["a network of skips alone is none".into()] }
    }

    fn activate(&self, choices: &mut Choices) {
        let mut tree = Tree::of(choices);
        tree.move_skips();
        tree.sort();
        if let Some(place) = TREES.iter().position(|fathers| *fathers == tree.fathers) {
            choices[0] = place as u8;
            choices[1..].copy_from_slice(&tree.operations);
        }
    }

    fn counting(&self) -> &'static str {
        "by the published rule"
    }
}

#[derive(Clone, Copy)]
struct Tree {
    /// By layer: its father from 1 on, or 0 for the input.
    fathers: [u8; LAYERS],
    operations: [u8; LAYERS],
}

impl Tree {
    fn of(choices: &Choices) -> Self {
        let mut operations = [0; LAYERS];
        operations.copy_from_slice(&choices[1..]);
        Self { fathers: TREES[usize::from(choices[0])], operations }
    }

    /// Moves to the front each skip that something takes in, that is its father's only son, or that has the input itself.
    fn move_skips(&mut self) {
        for layer in 0..LAYERS {
            if self.operations[layer] != SKIP {
                continue;
            }
            let others = || (0..LAYERS).filter(|&other| other != layer);
            let has_son = others().any(|other| usize::from(self.fathers[other]) == layer + 1);
            let has_brother = others().any(|other| self.fathers[other] == self.fathers[layer]);
            if has_son || !has_brother || self.has_the_input(layer) {
                self.move_to_front(layer);
            }
        }
        // Layers of one father are numbered so that the one with a son comes first.
        let [a, b, c, d] = self.operations;
        match self.fathers {
            [0, 1, 2, 1] => (self.fathers, self.operations) = ([0, 1, 1, 2], [a, b, d, c]),
            [0, 1, 1, 3] => (self.fathers, self.operations) = ([0, 1, 1, 2], [a, c, b, d]),
            _ => {}
        }
    }

    /// Whether nothing but skips lies between the input and a layer's output.
    fn has_the_input(&self, mut layer: usize) -> bool {
        loop {
            if self.operations[layer] != SKIP {
                return false;
            }
            match self.fathers[layer] {
                0 => return true,
                father => layer = usize::from(father) - 1,
            }
        }
    }

    /// A skip hands its father's output on to its sons, and becomes the one that hands the input on to all.
    fn move_to_front(&mut self, layer: usize) {
        let own = self.fathers[layer];
        // Layers before it move up by one, and what had the input has the first layer.
        let renumbered = |father: u8| if usize::from(father) <= layer { father + 1 } else { father };
        let mut fathers = self
            .fathers
            .map(|father| renumbered(if usize::from(father) == layer + 1 { own } else { father }));
        fathers[..=layer].rotate_right(1);
        fathers[0] = 0;
        self.fathers = fathers;
        self.operations[..=layer].rotate_right(1);
    }

    /// Layers of one father that have no sons stand in the order of their operations, and so do two chains.
    fn sort(&mut self) {
        let [a, b, c, d] = self.operations;
        match self.fathers {
            [0, 0, 0, 0] => self.operations.sort_unstable(),
            [0, 0, 0, 1] => self.operations[1..3].sort_unstable(),
            [0, 0, 1, 1] | [0, 1, 2, 2] => self.operations[2..].sort_unstable(),
            [0, 1, 1, 1] => self.operations[1..].sort_unstable(),
            [0, 0, 1, 2] if (b, d) < (a, c) => self.operations = [b, a, d, c],
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn it_has_the_published_number_of_architectures_and_each_form_is_its_own() {
        let space = SearchSpace::named("graph").unwrap();
        let (mut keys, mut forms) = (HashSet::new(), 0);
        for rank in 0..space.size().unwrap() {
            let mut choices = vec![0; space.len()];
            space.unrank(rank, &mut choices);
            if !space.is_valid(&choices) {
                continue;
            }
            let before = choices.clone();
            space.activate(&mut choices);
            assert!(space.is_valid(&choices));
            forms += usize::from(before == choices);
            let once = choices.clone();
            space.activate(&mut choices);
            assert_eq!(once, choices, "{before:?}");
            keys.insert(space.canonical_key(&before));
        }
        assert_eq!((keys.len(), forms), (26_206, 26_206));
    }

    #[test]
    fn numbers_are_read_and_others_refused() {
        let space = SearchSpace::named("graph").unwrap();
        let text = |hash| choices_of_hash(hash).map(|choices| space.format(&choices));
        assert_eq!(text(0).unwrap(), "tree=0000,layer1=gat,layer2=gat,layer3=gat,layer4=gat");
        assert_eq!(text(80_123).unwrap(), "tree=0123,layer1=gat,layer2=gcn,layer3=gin,layer4=cheb");
        assert_eq!((text(90_000), text(9), text(u64::MAX)), (None, None, None));
        assert!(
            space
                .parse("tree=0000,layer1=skip,layer2=skip,layer3=skip,layer4=skip")
                .unwrap_err()
                .to_string()
                .contains("skips alone")
        );
    }
}
