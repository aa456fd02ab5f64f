//! Wide residual networks (arXiv 1605.07146) made of a teacher: each of its three stages as deep and as wide as the teacher's or less.
//!
//! A teacher WRN-d-W has D = (d − 4)/6 blocks in each stage, of which the first is W · 16 channels wide, the next twice and the last four
//! times as much. `wrn-compress-28-10` is the space of what can be made of WRN-28-10; `wrn-compress-28-10-basic` leaves out the choice of
//! the block.

mod cost;

pub use cost::{Cost, Measure, RobustSizes, Scale};

use super::{Choices, Conditional, Decision, SearchSpace, SpaceError};
use std::{fmt, sync::Arc};

/// What the names of these spaces begin with.
pub const PREFIX: &str = "wrn-compress";
/// Teachers in the literature on robust networks (arXiv 2110.03825, 2212.11005): spaces that are listed by name.
pub(super) const TEACHERS: [&str; 3] = ["wrn-compress-28-10", "wrn-compress-46-14", "wrn-compress-70-16"];
const BASIC: &str = "-basic";
const STAGES: usize = WideResNet::STAGES;
/// A choice is a byte, and what is written down stays short.
const MOST: usize = 64;

/// The network that others are made of, and what may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teacher {
    /// Blocks in each stage.
    depth: usize,
    /// Widening factor.
    width: usize,
    /// Whether a stage may have robust blocks.
    blocks: bool,
}

/// What a stage is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    /// Two 3×3 convolutions, normalisation and ReLU before each (arXiv 1603.05027).
    #[default]
    Basic,
    /// RobustResBlock (arXiv 2212.11005): a bottleneck whose 3×3 convolutions are grouped and add to one another, and a residual gate of
    /// channels.
    Robust,
}

impl Block {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Basic, Self::Robust];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Robust => "robust",
        }
    }
}

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Blocks, at least one.
    pub depth: usize,
    /// Widening factor, at least one.
    pub width: usize,
    /// The kind of all its blocks.
    pub block: Block,
}

/// A network: its stem and its stages. The first block of the second stage and of the third halves height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideResNet {
    /// Stride of the stem, 1 or 2.
    pub stem_stride: usize,
    /// From the input on.
    pub stages: [Stage; STAGES],
}

impl Teacher {
    /// The teacher WRN-`6 depth + 4`-`width`; `blocks` lets stages of its students have robust blocks.
    ///
    /// # Errors
    /// Depth and width are 1 to 64.
    pub fn new(depth: usize, width: usize, blocks: bool) -> Result<Self, String> {
        for (what, value) in [("depth", depth), ("width", width)] {
            if !(1..=MOST).contains(&value) {
                return Err(format!("a teacher's {what} is 1 to {MOST} in each stage, and not {value}"));
            }
        }
        Ok(Self { depth, width, blocks })
    }

    /// The teacher of a space, by its name; none of a space of another kind.
    pub fn of(space: &SearchSpace) -> Option<Self> {
        Self::named(space.name())?.ok()
    }

    /// The teacher that a space's name tells; none where it is no name of this kind.
    pub(super) fn named(name: &str) -> Option<Result<Self, String>> {
        let rest = name.strip_prefix(PREFIX)?;
        if !rest.is_empty() && !rest.starts_with('-') {
            return None;
        }
        Some(Self::read(rest))
    }

    fn read(rest: &str) -> Result<Self, String> {
        let (rest, blocks) = rest.strip_suffix(BASIC).map_or((rest, true), |rest| (rest, false));
        let numbers: Option<Vec<usize>> = rest.strip_prefix('-').and_then(|rest| {
            rest.split('-')
                .map(|part| part.parse().ok().filter(|number: &usize| number.to_string() == part))
                .collect()
        });
        let Some([layers, width]) = numbers.as_deref() else {
            return Err(format!(
                "it names no teacher; write its layers and its width, as in {}",
                TEACHERS.join(", ")
            ));
        };
        // What is beyond all teachers has no neighbours to name.
        if *layers <= 6 * MOST + 4 && (*layers < 10 || (layers - 4) % 6 != 0) {
            let below = layers.saturating_sub(4) / 6 * 6 + 4;
            let near = if below < 10 { "10".into() } else { format!("{below} or {}", below + 6) };
            return Err(format!(
                "there is no WRN-{layers}-{width}: layers are 6 D + 4 for D blocks a stage, such as {near}"
            ));
        }
        Self::new((layers - 4) / 6, *width, blocks)
    }

    /// Whether stages may have robust blocks.
    pub fn has_blocks(self) -> bool {
        self.blocks
    }

    /// The network itself, of basic blocks as published.
    pub fn network(self) -> WideResNet {
        let stage = Stage { depth: self.depth, width: self.width, block: Block::Basic };
        WideResNet { stem_stride: 1, stages: [stage; STAGES] }
    }

    /// The network of its space that has least of something.
    pub fn smallest(self, scale: Scale, measure: Measure) -> WideResNet {
        let kinds = if self.blocks { &Block::ALL[..] } else { &Block::ALL[..1] };
        let all = kinds
            .iter()
            .flat_map(|&a| kinds.iter().flat_map(move |&b| kinds.iter().map(move |&c| [a, b, c])));
        let of = |blocks: [Block; STAGES]| WideResNet {
            stem_stride: 2,
            stages: blocks.map(|block| Stage { depth: 1, width: 1, block }),
        };
        // Robust blocks, which are bottlenecks, may cost less than basic ones, and may be too wide for the images.
        let cost = |network: &WideResNet| network.cost(scale).map_or(u64::MAX, |cost| cost.of(measure));
        all.map(of).min_by_key(cost).unwrap_or_else(|| of([Block::Basic; STAGES]))
    }

    /// The space of what can be made of it.
    ///
    /// # Errors
    /// None: every teacher has one.
    pub fn space(self) -> Result<Arc<SearchSpace>, SpaceError> {
        let numbers = |to: usize, unit: &str| (1..=to).map(|n| format!("{n}{unit}")).collect::<Vec<_>>();
        let ordered =
            |name: String, choices: Vec<String>, literal| Decision { name, choices, literal, ordered: true };
        let mut decisions = vec![Decision { literal: true, ..Decision::new("stem_stride", &["1", "2"]) }];
        for stage in 1..=STAGES {
            decisions.push(ordered(format!("depth{stage}"), numbers(self.depth, ""), true));
            // Not bare numbers: lists of equal choices would be counted together.
            decisions.push(ordered(format!("width{stage}"), numbers(self.width, "x"), false));
            if self.blocks {
                decisions.push(Decision::new(format!("block{stage}"), &Block::ALL.map(Block::name)));
            }
        }
        Ok(Arc::new(Conditional::space(&format!("{PREFIX}-{self}"), decisions, vec![])?))
    }

    /// Choices of a network within the teacher, the other way round than [`WideResNet::of`].
    ///
    /// # Errors
    /// Names what is larger than the teacher's.
    pub fn choices(self, network: &WideResNet) -> Result<Vec<u8>, String> {
        let mut choices = vec![place("stem stride", network.stem_stride, 2)?];
        for (stage, number) in network.stages.iter().zip(1..) {
            choices.push(place(&format!("the depth of stage {number}"), stage.depth, self.depth)?);
            choices.push(place(&format!("the width of stage {number}"), stage.width, self.width)?);
            match (self.blocks, stage.block) {
                (true, block) => choices.push(block as u8),
                (false, Block::Basic) => {}
                (false, Block::Robust) => {
                    return Err(format!(
                        "stage {number} has robust blocks, which {PREFIX}-{self} leaves out"
                    ));
                }
            }
        }
        Ok(choices)
    }
}

fn place(what: &str, value: usize, most: usize) -> Result<u8, String> {
    match (1..=most).contains(&value) {
        true => Ok((value - 1) as u8),
        false => Err(format!("{what} is {value}, and the teacher's is {most}")),
    }
}

/// As in a space's name: `28-10`.
impl fmt::Display for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", 6 * self.depth + 4, self.width, if self.blocks { "" } else { BASIC })
    }
}

impl WideResNet {
    /// Number of stages.
    pub const STAGES: usize = 3;

    /// The network that choices of a space stand for; none of a space of another kind.
    pub fn of(space: &SearchSpace, choices: &Choices) -> Option<Self> {
        let teacher = Teacher::of(space).filter(|_| choices.len() == space.len())?;
        let (&stem, rest) = choices.split_first()?;
        let mut stages = [Stage { depth: 1, width: 1, block: Block::Basic }; STAGES];
        for (stage, of) in stages.iter_mut().zip(rest.chunks_exact(if teacher.blocks { 3 } else { 2 })) {
            stage.depth = usize::from(of[0]) + 1;
            stage.width = usize::from(of[1]) + 1;
            stage.block = if of.get(2) == Some(&1) { Block::Robust } else { Block::Basic };
        }
        Some(Self { stem_stride: usize::from(stem) + 1, stages })
    }
}

/// For a person: `stem stride 1, depths 4 4 4, widths 10 10 10`, and the blocks where some are robust.
impl fmt::Display for WideResNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |what: &dyn Fn(&Stage) -> String| self.stages.each_ref().map(what).join(" ");
        let (depths, widths) = (of(&|stage| stage.depth.to_string()), of(&|stage| stage.width.to_string()));
        write!(f, "stem stride {}, depths {depths}, widths {widths}", self.stem_stride)?;
        match self.stages.iter().any(|stage| stage.block == Block::Robust) {
            true => write!(f, ", blocks {}", of(&|stage| stage.block.name().into())),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_has_its_teacher_and_every_network_within_it() {
        let space = SearchSpace::named("wrn-compress-28-10").unwrap();
        assert_eq!(space.size(), Some(2 * (4 * 10 * 2u64).pow(3)));
        let teacher = Teacher::of(&space).unwrap();
        assert_eq!((teacher.depth, teacher.width, teacher.to_string().as_str()), (4, 10, "28-10"));
        let choices = teacher.choices(&teacher.network()).unwrap();
        assert_eq!(choices, [0, 3, 9, 0, 3, 9, 0, 3, 9, 0]);
        assert_eq!(WideResNet::of(&space, &choices), Some(teacher.network()));
        let text = "stem_stride=2,depth1=1,width1=3x,block1=robust,depth2=4,width2=10x,block2=basic,depth3=2,width3=1x,block3=basic";
        let choices = space.parse(text).unwrap();
        let network = WideResNet::of(&space, &choices).unwrap();
        assert_eq!(
            network.to_string(),
            "stem stride 2, depths 1 4 2, widths 3 10 1, blocks robust basic basic"
        );
        assert_eq!((space.format(&choices).as_str(), teacher.choices(&network)), (text, Ok(choices)));
        assert_eq!(WideResNet::of(&SearchSpace::named("nb201").unwrap(), &[0; 6]), None);
    }

    #[test]
    fn shapes_alone_are_a_space_too() {
        let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        assert_eq!((space.size(), space.len()), (Some(1_458), 7));
        let mut seen = std::collections::HashSet::new();
        for rank in 0..1_458 {
            let mut choices = vec![0; 7];
            space.unrank(rank, &mut choices);
            let network = WideResNet::of(&space, &choices).unwrap();
            assert_eq!(Teacher::of(&space).unwrap().choices(&network).unwrap(), choices);
            seen.insert(space.canonical_key(&choices));
        }
        assert_eq!(seen.len(), 1_458);
        // Depths are counted apart from widths, whose lists are as long.
        assert_ne!(space.vocabulary(1), space.vocabulary(2));
        assert_eq!(space.vocabulary(1), space.vocabulary(3));
    }

    #[test]
    fn what_names_no_teacher_is_refused_with_the_reason() {
        for (name, says) in [
            ("wrn-compress", "as in wrn-compress-28-10"),
            ("wrn-compress-28", "as in wrn-compress-28-10"),
            ("wrn-compress-28-10-robust", "as in wrn-compress-28-10"),
            ("wrn-compress-028-10", "as in wrn-compress-28-10"),
            ("wrn-compress-29-10", "such as 28 or 34"),
            ("wrn-compress-4-10", "such as 10"),
            ("wrn-compress-28-0", "not 0"),
            ("wrn-compress-28-65", "1 to 64"),
            ("wrn-compress-99999999999999999999-1", "as in wrn-compress-28-10"),
        ] {
            let error = SearchSpace::named(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(says), "{error}");
        }
        assert!(SearchSpace::named("wrn-compressed").unwrap_err().to_string().contains("unknown"));
    }

    #[test]
    fn what_is_larger_than_the_teacher_is_named() {
        let (small, large) = (Teacher::new(3, 3, false).unwrap(), Teacher::new(4, 3, true).unwrap());
        let error = small.choices(&large.network()).unwrap_err();
        assert_eq!(error, "the depth of stage 1 is 4, and the teacher's is 3");
        let mut robust = small.network();
        robust.stages[1].block = Block::Robust;
        assert!(small.choices(&robust).unwrap_err().contains("stage 2 has robust blocks"));
    }
}
