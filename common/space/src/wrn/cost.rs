//! What a wide residual network costs, to the weight.

use super::{Block, WideResNet};

/// What is made of a network's shape: the images that it sees, and its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Channels of an image.
    pub channels: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Classes to tell apart.
    pub classes: usize,
    /// Channels of the stem.
    pub stem: usize,
    /// Channels of the first stage at width 1; of each later one twice as many.
    pub base: usize,
}

impl Scale {
    /// As published for CIFAR-10: images of 3 × 32 × 32, ten classes, 16 channels.
    pub const CIFAR10: Self = Self { channels: 3, size: [32, 32], classes: 10, stem: 16, base: 16 };

    /// Channels of a stage, from 0 on, at a width.
    pub fn planes(&self, stage: usize, width: usize) -> usize {
        (self.base << stage) * width
    }
}

/// Sizes within a robust block of a stage with so many channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RobustSizes {
    /// Channels of each of the parallel convolutions.
    pub part: usize,
    /// Of all of them.
    pub inner: usize,
    /// Of the block.
    pub outer: usize,
    /// Within the gate.
    pub gate: usize,
}

impl RobustSizes {
    /// Its 3×3 convolutions and what is handed on beside them, as published.
    pub const PARTS: usize = 8;
    /// Groups of each convolution.
    pub const GROUPS: usize = 4;
    /// Channels of a stage for each that a group has.
    const SHARE: usize = 16;
    /// Its channels over those of the stage.
    const EXPANSION: usize = 4;
    /// Its channels over those within the gate.
    const REDUCTION: usize = 64;

    /// None where a stage is too narrow for a group of one channel.
    pub fn of(planes: usize) -> Option<Self> {
        let part = planes / Self::SHARE * Self::GROUPS;
        let outer = planes * Self::EXPANSION;
        (part > 0).then_some(Self { part, inner: part * Self::PARTS, outer, gate: outer / Self::REDUCTION })
    }
}

/// What a network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Weights that are learned: of convolutions, linear maps and normalisations.
    pub parameters: u64,
    /// Multiply-adds of convolutions and linear maps for one image, zeros around it counted, as is usual where they are published.
    pub multiply_adds: u64,
}

impl Cost {
    fn convolution(
        &mut self,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        groups: usize,
        [height, width]: [usize; 2],
    ) {
        let weights = (outputs * (inputs / groups) * kernel * kernel) as u64;
        self.parameters += weights;
        self.multiply_adds += weights * (height * width) as u64;
    }

    fn normalisation(&mut self, channels: usize) {
        self.parameters += 2 * channels as u64;
    }

    /// This measure of it.
    pub fn of(self, measure: Measure) -> u64 {
        match measure {
            Measure::MultiplyAdds => self.multiply_adds,
            Measure::Parameters => self.parameters,
        }
    }
}

impl WideResNet {
    /// What it costs; none where a stage is too narrow for robust blocks, which need 16 channels.
    pub fn cost(&self, scale: Scale) -> Option<Cost> {
        let mut cost = Cost::default();
        let halved =
            |[height, width]: [usize; 2], stride: usize| [height.div_ceil(stride), width.div_ceil(stride)];
        let mut size = halved(scale.size, self.stem_stride);
        cost.convolution([scale.channels, scale.stem], 3, 1, size);
        let mut inputs = scale.stem;
        for (index, stage) in self.stages.iter().enumerate() {
            let planes = scale.planes(index, stage.width);
            for block in 0..stage.depth {
                let stride = if index > 0 && block == 0 { 2 } else { 1 };
                let before = size;
                size = halved(size, stride);
                let outputs = match stage.block {
                    Block::Basic => {
                        cost.normalisation(inputs);
                        cost.convolution([inputs, planes], 3, 1, size);
                        cost.normalisation(planes);
                        cost.convolution([planes; 2], 3, 1, size);
                        planes
                    }
                    Block::Robust => {
                        let RobustSizes { part, inner, outer, gate } = RobustSizes::of(planes)?;
                        cost.normalisation(inputs);
                        cost.convolution([inputs, inner], 1, 1, before);
                        cost.normalisation(inner);
                        for _ in 1..RobustSizes::PARTS {
                            cost.convolution([part; 2], 3, RobustSizes::GROUPS, size);
                            cost.normalisation(part);
                        }
                        cost.convolution([inner, outer], 1, 1, size);
                        cost.normalisation(outer);
                        cost.convolution([outer, gate], 1, 1, [1, 1]);
                        cost.convolution([gate, outer], 1, 1, [1, 1]);
                        outer
                    }
                };
                if stride > 1 || inputs != outputs {
                    cost.convolution([inputs, outputs], 1, 1, size);
                }
                inputs = outputs;
            }
        }
        cost.normalisation(inputs);
        cost.convolution([inputs, scale.classes], 1, 1, [1, 1]);
        cost.parameters += scale.classes as u64;
        Some(cost)
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Multiply-adds for one image.
    MultiplyAdds,
    /// Weights.
    Parameters,
}

impl Measure {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MultiplyAdds, Self::Parameters];

    /// The metric that says it.
    pub fn metric(self) -> &'static str {
        match self {
            Self::MultiplyAdds => "cost/multiply_adds",
            Self::Parameters => "cost/parameters",
        }
    }

    /// The metric that says it in percent of the teacher's.
    pub fn metric_of_teacher(self) -> &'static str {
        match self {
            Self::MultiplyAdds => "cost/multiply_adds_percent",
            Self::Parameters => "cost/parameters_percent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrn::{Stage, Teacher};

    fn network(depths: [usize; 3], widths: [usize; 3], block: Block) -> WideResNet {
        let stage = |i: usize| Stage { depth: depths[i], width: widths[i], block };
        WideResNet { stem_stride: 1, stages: [stage(0), stage(1), stage(2)] }
    }

    fn uniform(layers: usize, width: usize, block: Block) -> WideResNet {
        network([(layers - 4) / 6; 3], [width; 3], block)
    }

    /// Millions of weights and thousand millions of multiply-adds as published for 32 × 32 images and ten classes. Of arXiv 1605.07146
    /// (weights alone), 2110.03825 and 2212.11005; the last counts normalisation among multiply-adds, some thousandths. Left out are the three
    /// rows of its table of compound scaling whose blocks and widths do not make the weights beside them, and one whose blocks are misprinted.
    #[test]
    fn costs_are_the_published_ones() {
        use Block::{Basic, Robust};
        let pairs = [
            (uniform(28, 10, Basic), 36.5, Some(5.24)),
            (uniform(34, 12, Basic), 66.5, Some(9.60)),
            (uniform(46, 14, Basic), 128.0, Some(18.6)),
            (uniform(70, 16, Basic), 267.0, Some(38.8)),
            (network([5; 3], [20, 20, 8], Basic), 68.1, Some(19.1)),
            (network([5, 5, 2], [10; 3], Basic), 24.0, Some(5.25)),
            (network([4; 3], [11, 13, 6], Basic), 24.5, Some(5.71)),
            (network([6, 6, 3], [12; 3], Basic), 48.5, Some(9.59)),
            (network([5; 3], [13, 16, 7], Basic), 44.4, Some(10.5)),
            (network([9, 8, 4], [14; 3], Basic), 90.4, Some(18.6)),
            (network([7; 3], [16, 18, 8], Basic), 81.7, Some(20.4)),
            (network([11; 3], [18, 21, 9], Basic), 170.0, Some(42.7)),
            (network([22, 22, 11], [8, 11, 5], Basic), 74.8, Some(20.3)),
            (uniform(40, 1, Basic), 0.6, None),
            (uniform(40, 2, Basic), 2.2, None),
            (uniform(40, 4, Basic), 8.9, None),
            (uniform(40, 8, Basic), 35.7, None),
            (uniform(28, 12, Basic), 52.5, None),
            (uniform(22, 8, Basic), 17.2, None),
            (uniform(16, 8, Basic), 11.0, None),
            (uniform(28, 10, Robust), 39.6, Some(6.00)),
            (uniform(34, 12, Robust), 70.5, Some(10.6)),
            (uniform(46, 14, Robust), 133.0, Some(19.6)),
            (uniform(70, 16, Robust), 270.0, Some(39.3)),
            (network([14, 14, 7], [5, 7, 3], Robust), 19.2, Some(5.11)),
            (network([17, 17, 8], [7, 9, 4], Robust), 39.0, Some(10.8)),
            (network([22, 22, 11], [8, 11, 5], Robust), 75.9, Some(19.9)),
            (network([27, 28, 13], [10, 14, 6], Robust), 147.0, Some(39.4)),
        ];
        for (network, parameters, multiply_adds) in pairs {
            let cost = network.cost(Scale::CIFAR10).unwrap();
            let off = |found: u64, unit: f64, published: f64| (found as f64 / unit / published - 1.0).abs();
            // One decimal of .6 is no nearer than that.
            let rounded = (cost.parameters as f64 / 1e5).round() / 10.0 == parameters;
            assert!(rounded || off(cost.parameters, 1e6, parameters) < 0.01, "{network}: {cost:?}");
            assert!(
                multiply_adds.is_none_or(|published| off(cost.multiply_adds, 1e9, published) < 0.01),
                "{network}: {cost:?}"
            );
        }
        // To the weight, as every implementation of it has.
        assert_eq!(uniform(28, 10, Basic).cost(Scale::CIFAR10).unwrap().parameters, 36_479_194);
    }

    #[test]
    fn a_stride_in_the_stem_quarters_what_follows_and_keeps_the_weights() {
        let whole = uniform(28, 10, Block::Basic);
        let (whole, halved) = (
            whole.cost(Scale::CIFAR10).unwrap(),
            WideResNet { stem_stride: 2, ..whole }.cost(Scale::CIFAR10).unwrap(),
        );
        assert_eq!(halved.parameters, whole.parameters);
        let classifier = 640 * 10;
        assert_eq!(4 * (halved.multiply_adds - classifier), whole.multiply_adds - classifier);
    }

    #[test]
    fn the_smallest_network_is_the_least_of_all() {
        for (teacher, scale) in [
            (Teacher::new(2, 2, true).unwrap(), Scale::CIFAR10),
            (Teacher::new(2, 3, false).unwrap(), Scale::CIFAR10),
            (
                Teacher::new(2, 2, true).unwrap(),
                Scale { channels: 1, size: [8, 8], classes: 10, stem: 4, base: 2 },
            ),
        ] {
            let space = teacher.space().unwrap();
            let mut choices = vec![0; space.len()];
            for measure in Measure::ALL {
                let all = (0..space.size().unwrap()).filter_map(|rank| {
                    space.unrank(rank, &mut choices);
                    Some(WideResNet::of(&space, &choices).unwrap().cost(scale)?.of(measure))
                });
                let least = all.min().unwrap();
                assert_eq!(
                    teacher.smallest(scale, measure).cost(scale).unwrap().of(measure),
                    least,
                    "{teacher} {measure:?}"
                );
            }
        }
    }

    #[test]
    fn robust_blocks_need_sixteen_channels() {
        let scale = Scale { base: 2, stem: 4, ..Scale::CIFAR10 };
        assert_eq!(uniform(10, 1, Block::Robust).cost(scale), None);
        assert!(uniform(10, 8, Block::Robust).cost(scale).is_some());
        assert!(uniform(10, 1, Block::Basic).cost(scale).is_some());
    }
}
