//! Wide residual networks (arXiv 1605.07146) with pre-activation (arXiv 1603.05027): a stem, three stages of blocks that add to what comes
//! in, the later two halving height and width, and a classifier over the mean of all pixels. [`srnas_space::wrn`] counts what they cost.

use super::{
    Model, Pass, Scale, Shape,
    layers::{Conv, Linear, Norm, Parameters},
    robust::RobustBlock,
};
use crate::training::ops::{self, After, Moments, Window};
use candle_core::{Result, Tensor, Var, bail};
use rand::Rng;
use srnas_space::{
    Choices, SearchSpace,
    wrn::{self, Block, Cost, Measure, Teacher, WideResNet},
};
use std::collections::BTreeMap;

/// What a network costs at a scale.
///
/// # Errors
/// A scale that has no such network: see [`wide_scale`]; a stage that is too narrow for robust blocks.
pub fn cost(network: &WideResNet, shape: Shape, scale: Scale) -> std::result::Result<Cost, String> {
    let too_narrow = || {
        format!("robust blocks need stages of 16 channels or more: {network} at scale.width {}", scale.width)
    };
    network.cost(wide_scale(shape, scale)?).ok_or_else(too_narrow)
}

/// Whether every network of a space can be built on such images; nothing is wrong with spaces of another kind.
///
/// # Errors
/// A scale that these networks do not have, and stages that are too narrow for the robust blocks that a space offers.
pub fn all_can_be_built(space: &SearchSpace, shape: Shape, scale: Scale) -> std::result::Result<(), String> {
    if Teacher::of(space).is_none() {
        return Ok(());
    }
    let whole = wide_scale(shape, scale)?;
    let offered = space.decisions().iter().any(|d| d.choices.iter().any(|c| c == Block::Robust.name()));
    match offered && wrn::RobustSizes::of(whole.planes(0, 1)).is_none() {
        false => Ok(()),
        true => Err(format!(
            "robust blocks need stages of 16 channels or more, and scale.width is {}: search {}-basic, which leaves them out",
            scale.width,
            space.name()
        )),
    }
}

/// The scale in the words of the space. The stem is as wide as a stage at width 1, and has four channels at least: with fewer, little is
/// left of an image.
///
/// # Errors
/// A number of stages or of cells that these networks do not have.
pub fn wide_scale(shape: Shape, scale: Scale) -> std::result::Result<wrn::Scale, String> {
    if (scale.stages, scale.cells) != (3, 1) {
        return Err(format!(
            "wide residual networks have three stages whose depths are searched: scale.stages must be 3 and scale.cells 1, and they are {} and {}",
            scale.stages, scale.cells
        ));
    }
    let Shape { channels, size, classes } = shape;
    Ok(wrn::Scale { channels, size, classes, stem: scale.width.max(4), base: scale.width })
}

/// What a student costs in percent of its teacher, by the names of the metrics; nothing in spaces of another kind.
///
/// # Errors
/// As [`cost`].
pub fn of_teacher(
    space: &SearchSpace,
    choices: &Choices,
    shape: Shape,
    scale: Scale,
) -> std::result::Result<BTreeMap<String, f64>, String> {
    let (Some(teacher), Some(student)) = (Teacher::of(space), WideResNet::of(space, choices)) else {
        return Ok(BTreeMap::new());
    };
    let (whole, own) = (cost(&teacher.network(), shape, scale)?, cost(&student, shape, scale)?);
    let share = |measure: Measure| 100.0 * own.of(measure) as f64 / whole.of(measure) as f64;
    Ok(Measure::ALL.map(|measure| (measure.metric_of_teacher().to_string(), share(measure))).into())
}

/// A network, ready for images.
pub struct WideNetwork {
    parameters: Vec<(String, Var)>,
    stem: Conv,
    blocks: Vec<AnyBlock>,
    last: Norm,
    classifier: Linear,
    multiply_adds: u64,
}

enum AnyBlock {
    Basic(BasicBlock),
    Robust(RobustBlock),
}

/// Two convolutions, normalisation and ReLU before each.
struct BasicBlock {
    norms: [Norm; 2],
    convolutions: [Conv; 2],
    shortcut: Option<Conv>,
}

impl WideNetwork {
    /// With fresh weights.
    pub fn new(network: &WideResNet, shape: Shape, scale: Scale, rng: &mut impl Rng) -> Result<Self> {
        let cost = cost(network, shape, scale).map_err(candle_core::Error::msg)?;
        let wide = wide_scale(shape, scale).map_err(candle_core::Error::msg)?;
        let mut parameters = Parameters::new(rng);
        let window = Window::new(shape.size, 3, network.stem_stride);
        let mut size = window.target;
        let stem = Conv::new(&mut parameters, "stem", [shape.channels, wide.stem], window)?;
        let mut inputs = wide.stem;
        let mut blocks = Vec::new();
        for (index, stage) in network.stages.iter().enumerate() {
            let planes = wide.planes(index, stage.width);
            for depth in 0..stage.depth {
                let name = format!("stage{index}.block{depth}");
                let stride = if index > 0 && depth == 0 { 2 } else { 1 };
                let (block, outputs) = match stage.block {
                    Block::Basic => {
                        let block = BasicBlock::new(&mut parameters, &name, [inputs, planes], size, stride)?;
                        (AnyBlock::Basic(block), planes)
                    }
                    Block::Robust => {
                        let (block, outputs) =
                            RobustBlock::new(&mut parameters, &name, [inputs, planes], size, stride)?;
                        (AnyBlock::Robust(block), outputs)
                    }
                };
                blocks.push(block);
                inputs = outputs;
                size = size.map(|side| side.div_ceil(stride));
            }
        }
        let last = Norm::new(&mut parameters, "last", inputs, After::Relu)?;
        let classifier = Linear::new(&mut parameters, "classifier", inputs, shape.classes)?;
        let network = Self {
            parameters: parameters.named,
            stem,
            blocks,
            last,
            classifier,
            multiply_adds: cost.multiply_adds,
        };
        match network.parameter_count() as u64 == cost.parameters {
            true => Ok(network),
            false => bail!(
                "a network of {} weights was counted as one of {}",
                network.parameter_count(),
                cost.parameters
            ),
        }
    }
}

impl BasicBlock {
    fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        size: [usize; 2],
        stride: usize,
    ) -> Result<Self> {
        let mut shortcut = None;
        if stride > 1 || inputs != outputs {
            shortcut = Some(Conv::new(
                parameters,
                &format!("{name}.shortcut"),
                [inputs, outputs],
                Window::new(size, 1, stride),
            )?);
        }
        let first = Window::new(size, 3, stride);
        let second = Window::new(first.target, 3, 1);
        Ok(Self {
            norms: [
                Norm::new(parameters, &format!("{name}.norm1"), inputs, After::Relu)?,
                Norm::new(parameters, &format!("{name}.norm2"), outputs, After::Relu)?,
            ],
            convolutions: [
                Conv::new(parameters, &format!("{name}.first"), [inputs, outputs], first)?,
                Conv::new(parameters, &format!("{name}.second"), [outputs; 2], second)?,
            ],
            shortcut,
        })
    }

    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let [norm1, norm2] = &mut self.norms;
        let [first, second] = &self.convolutions;
        match &self.shortcut {
            Some(shortcut) => {
                let active = how.norm(norm1, images)?;
                let inner = how.plain(first, &active)?;
                let inner = how.norm_plain(norm2, second, &inner)?;
                ops::sum(&inner, &how.plain(shortcut, &active)?)
            }
            None => {
                let inner = how.norm_plain(norm1, first, images)?;
                let inner = how.norm_plain(norm2, second, &inner)?;
                ops::sum(&inner, images)
            }
        }
    }
}

impl Model for WideNetwork {
    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let mut images = how.plain(&self.stem, images)?;
        for block in &mut self.blocks {
            let result = match block {
                AnyBlock::Basic(block) => block.pass(&images, how)?,
                AnyBlock::Robust(block) => block.pass(&images, how)?,
            };
            images = how.waist(result)?;
        }
        let images = how.norm(&mut self.last, &images)?;
        let images = how.average(&images)?;
        how.linear(&self.classifier, &images)
    }

    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn running(&mut self) -> Vec<&mut Moments> {
        let mut all = Vec::new();
        for block in &mut self.blocks {
            match block {
                AnyBlock::Basic(block) => all.extend(block.norms.iter_mut().map(Norm::running)),
                AnyBlock::Robust(block) => all.extend(block.running()),
            }
        }
        all.push(self.last.running());
        all
    }

    fn multiply_adds(&self) -> u64 {
        self.multiply_adds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{model::Phase, ops::BLOCK};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_network::ops::{copied, tensor};
    use srnas_space::wrn::Stage;

    const DIGITS: Shape = Shape { channels: 1, size: [8, 8], classes: 10 };
    const SMALL: Scale = Scale { width: 2, stages: 3, cells: 1 };

    fn network(stem_stride: usize, depths: [usize; 3], widths: [usize; 3], blocks: [Block; 3]) -> WideResNet {
        let stage = |i: usize| Stage { depth: depths[i], width: widths[i], block: blocks[i] };
        WideResNet { stem_stride, stages: [stage(0), stage(1), stage(2)] }
    }

    fn images(shape: Shape, seed: u64) -> Tensor {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [height, width] = shape.size;
        let values =
            (0..shape.channels * height * width * BLOCK).map(|_| rng.random_range(-1.0..1.0)).collect();
        tensor(values, (shape.channels, height, width, BLOCK)).unwrap()
    }

    fn built(network: &WideResNet, shape: Shape, scale: Scale) -> WideNetwork {
        WideNetwork::new(network, shape, scale, &mut ChaCha8Rng::seed_from_u64(1)).unwrap()
    }

    /// Building compares the weights with what the space counts.
    #[test]
    fn every_shape_is_built_and_has_the_weights_that_are_counted() {
        use Block::{Basic, Robust};
        let wide = Scale { width: 16, ..SMALL };
        let colour = Shape { channels: 3, size: [9, 7], classes: 4 };
        for (network, shape, scale) in [
            (network(1, [1, 1, 1], [1, 1, 1], [Basic; 3]), DIGITS, SMALL),
            (network(2, [3, 2, 1], [2, 3, 1], [Basic; 3]), DIGITS, SMALL),
            // Wider than what follows, and sides that cannot be halved evenly.
            (network(1, [1, 2, 1], [3, 1, 1], [Basic; 3]), colour, SMALL),
            (network(1, [2, 1, 2], [1, 1, 1], [Robust; 3]), colour, wide),
            (network(2, [1, 2, 1], [2, 1, 1], [Basic, Robust, Basic]), DIGITS, wide),
        ] {
            let mut built = built(&network, shape, scale);
            let logits = built.forward(&images(shape, 2), Phase::Train).unwrap();
            assert_eq!(logits.dims(), [shape.classes, 1, 1, BLOCK], "{network}");
            let gradients = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for (name, parameter) in built.parameters() {
                let Some(gradient) = gradients.get(parameter) else {
                    // As published, a robust block without a convolution on its shortcut has a normalisation that nothing goes through.
                    assert!(
                        name.ends_with("norm1.affine") && network.to_string().contains("robust"),
                        "{network}: {name}"
                    );
                    continue;
                };
                let gradient = copied(gradient).unwrap();
                assert!(gradient.iter().any(|g| *g != 0.0), "{network}: the gradient of {name} vanishes");
            }
            // The running averages are those that were moved, in evaluation they are used.
            let moved = built.running().iter().all(|m| m.mean.iter().any(|v| *v != 0.0));
            assert!(moved, "{network}");
            assert!(built.forward(&images(shape, 2), Phase::Evaluate).unwrap().dims()[0] == shape.classes);
        }
    }

    /// The gradient of the images in evaluation, against differences.
    #[test]
    fn gradients_of_images_are_differences() {
        use Block::{Basic, Robust};
        for (network, scale) in [
            (network(1, [1, 2, 1], [1, 2, 1], [Basic; 3]), SMALL),
            (network(1, [1, 1, 1], [1, 1, 1], [Robust, Robust, Basic]), Scale { width: 16, ..SMALL }),
        ] {
            let mut built = built(&network, DIGITS, scale);
            // Until values are of the size that they have after a training.
            for seed in 0..60 {
                built.forward(&images(DIGITS, seed), Phase::Train).unwrap();
            }
            let here = Var::from_tensor(&images(DIGITS, 9)).unwrap();
            let value = |built: &mut WideNetwork, at: &Tensor| -> f64 {
                let logits = copied(&built.forward(at, Phase::Evaluate).unwrap()).unwrap();
                logits.iter().enumerate().map(|(i, v)| f64::from(*v) * ((i / BLOCK) as f64 - 4.5)).sum()
            };
            let weights = (0..10 * BLOCK).map(|i| (i / BLOCK) as f32 - 4.5).collect();
            let weights = tensor(weights, (10, 1, 1, BLOCK)).unwrap();
            let logits = built.forward(&here, Phase::Evaluate).unwrap();
            let gradients = (logits * weights).unwrap().sum_all().unwrap().backward().unwrap();
            let gradient = copied(gradients.get(&here).unwrap()).unwrap();
            let direction: Vec<f32> = copied(&images(DIGITS, 10)).unwrap();
            let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            let moved = |by: f32| {
                let values = copied(&here).unwrap().iter().zip(&direction).map(|(v, d)| v + by * d).collect();
                tensor(values, here.shape()).unwrap()
            };
            // Long steps cross kinks, and short ones are lost in rounding.
            let off = |step: f32| {
                let (up, down) = (value(&mut built, &moved(step)), value(&mut built, &moved(-step)));
                ((up - down) / f64::from(2.0 * step) / along - 1.0).abs()
            };
            let off = [3e-3, 1e-3, 3e-4, 1e-4].map(off);
            assert!(off.iter().any(|off| *off < 0.02), "{network}: {off:?} of {along}");
        }
    }

    #[test]
    fn what_has_no_network_is_refused() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let robust = network(1, [1; 3], [1; 3], [Block::Robust; 3]);
        let error = WideNetwork::new(&robust, DIGITS, SMALL, rng).err().unwrap().to_string();
        assert!(error.contains("16 channels"), "{error}");
        let basic = network(1, [1; 3], [1; 3], [Block::Basic; 3]);
        let error =
            WideNetwork::new(&basic, DIGITS, Scale { stages: 2, ..SMALL }, rng).err().unwrap().to_string();
        assert!(error.contains("three stages"), "{error}");
    }
}
