//! Which architectures can be made of one without changing what its network computes.

use crate::training::model::{Scale, Shape, wide::wide_scale};
use srnas_space::{
    SearchSpace,
    wrn::{Block, WideResNet},
};

/// From and to node of each decision of a cell.
const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
const OPERATIONS: [&str; 5] = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
const NONE: u8 = 0;
const SMALL: u8 = 2;
const LARGE: u8 = 3;
const OUTPUT: usize = 3;

/// A change of an architecture that a network is taken along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A stage of a wide residual network gets wider.
    Wider {
        /// From 0.
        stage: usize,
        /// Its channels then.
        channels: usize,
        /// By so many of the space's choices.
        steps: usize,
    },
    /// A stage gets one block more, at its end.
    Deeper {
        /// From 0.
        stage: usize,
        /// The block, from 0.
        block: usize,
    },
    /// An edge's 1×1 convolution, in every cell, becomes a 3×3 one.
    Larger {
        /// As in `0>1`.
        edge: String,
    },
    /// An edge that was none is one.
    Path {
        /// As in `0>1`.
        edge: String,
        /// Whether it begins with adding nothing; else what it leads to adds nothing.
        silent: bool,
    },
}

impl Edit {
    /// How many steps of the space it is.
    pub fn steps(&self) -> usize {
        match self {
            Self::Wider { steps, .. } => *steps,
            _ => 1,
        }
    }
}

/// Why no edits lead from one architecture to another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEdit {
    /// Its networks have none.
    #[error("networks of {space} have no edits that leave what they compute as it is; {built}", built = crate::training::model::BUILT)]
    Space {
        /// The space.
        space: String,
    },
    /// What the child has otherwise.
    #[error("{0}, and no edit does that and leaves what the network computes as it is")]
    Change(String),
}

/// The edits from one architecture to another, in an order in which they can be made; none where both have the same network.
///
/// # Errors
/// What the child has that no such edit gives.
pub fn edits(
    space: &SearchSpace,
    shape: Shape,
    scale: Scale,
    parent: &[u8],
    child: &[u8],
) -> Result<Vec<Edit>, NoEdit> {
    if let (Some(parent), Some(child)) = (WideResNet::of(space, parent), WideResNet::of(space, child)) {
        return of_stages(&parent, &child, wide_scale(shape, scale).map_err(NoEdit::Change)?);
    }
    if space.name() != "nb201" {
        return Err(NoEdit::Space { space: space.name().into() });
    }
    let active = |choices: &[u8]| {
        let mut active = choices.to_vec();
        space.activate(&mut active);
        active
    };
    of_edges(&active(parent), &active(child))
}

fn of_stages(
    parent: &WideResNet,
    child: &WideResNet,
    scale: srnas_space::wrn::Scale,
) -> Result<Vec<Edit>, NoEdit> {
    let change = |text: String| Err(NoEdit::Change(text));
    if parent.stem_stride != child.stem_stride {
        return change(format!(
            "the stem's stride is {} in place of {}",
            child.stem_stride, parent.stem_stride
        ));
    }
    let (mut wider, mut deeper) = (Vec::new(), Vec::new());
    for (stage, (before, after)) in parent.stages.iter().zip(&child.stages).enumerate() {
        let number = stage + 1;
        if before.block == Block::Robust || after.block == Block::Robust {
            return change(format!("stage {number} has robust blocks"));
        }
        if after.width < before.width || after.depth < before.depth {
            return change(format!("stage {number} is narrower or shallower"));
        }
        let [from, to] = [before.width, after.width].map(|width| scale.planes(stage, width));
        if from != to {
            // What comes in is added as it is where both are as wide, and through a convolution of what is above 0 elsewhere.
            if stage == 0 && (from == scale.stem) != (to == scale.stem) {
                return change(format!(
                    "stage 1 of {to} channels in place of {from}, behind a stem of {}, has another shortcut",
                    scale.stem
                ));
            }
            wider.push(Edit::Wider { stage, channels: to, steps: after.width - before.width });
        }
        deeper.extend((before.depth..after.depth).map(|block| Edit::Deeper { stage, block }));
    }
    Ok([wider, deeper].concat())
}

fn of_edges(parent: &[u8], child: &[u8]) -> Result<Vec<Edit>, NoEdit> {
    let leads_somewhere = |node: usize| {
        node == OUTPUT
            || EDGES.iter().zip(parent).any(|(&(_, to), &operation)| to == node && operation != NONE)
    };
    let mut edits = Vec::new();
    for ((&(from, to), &before), &after) in EDGES.iter().zip(parent).zip(child) {
        let edge = format!("{from}>{to}");
        match (before, after) {
            _ if before == after => {}
            (SMALL, LARGE) => edits.push(Edit::Larger { edge }),
            // Whatever is new is heard of through what leads from there to what was there before, and that is silent.
            (NONE, _) if !leads_somewhere(to) => edits.push(Edit::Path { edge, silent: false }),
            (NONE, SMALL | LARGE) => edits.push(Edit::Path { edge, silent: true }),
            _ => {
                let [before, after] = [before, after].map(|operation| OPERATIONS[usize::from(operation)]);
                return Err(NoEdit::Change(format!("edge {edge} is {after} in place of {before}")));
            }
        }
    }
    Ok(edits)
}
