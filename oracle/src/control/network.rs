//! The networks: policy and value in one, forwards and backwards, for all worlds at once.
//!
//! Written by hand and not with candle, for two reasons. These networks have some hundred weights, less than candle's
//! operations are made for: a step of all worlds with what it takes of a change of the weights is 0.9 µs here and 18 µs there
//! (one hidden layer of 8 units), or 7.7 and 109 µs (three of 16). And whatever adds up here does so in one order, without
//! fused operations, so that a training gives the same bits on every machine, which `srnas bench verify` relies on. A test
//! holds the gradients against candle's.

use super::{
    math::{logistic, tanh},
    worlds::{Lanes, OBSERVED, WORLDS},
};
use rand::Rng;
use srnas_network::ops::simd::{LANES, vectorised};

/// What a hidden unit does with its sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The hyperbolic tangent.
    Tanh,
    /// What is negative becomes 0.
    Relu,
    /// The logistic function.
    Logistic,
}

impl Activation {
    #[inline(always)]
    fn of(self, lanes: &mut Lanes) {
        match self {
            Self::Tanh => lanes.iter_mut().for_each(|v| *v = tanh(*v)),
            Self::Relu => lanes.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Self::Logistic => lanes.iter_mut().for_each(|v| *v = logistic(*v)),
        }
    }

    /// Multiplies gradients by the slope, which each of these functions shows in its value.
    #[inline(always)]
    fn slope(self, values: &Lanes, gradients: &mut Lanes) {
        let both = gradients.iter_mut().zip(values);
        match self {
            Self::Tanh => both.for_each(|(g, v)| *g *= 1.0 - v * v),
            Self::Relu => both.for_each(|(g, v)| *g = if *v > 0.0 { *g } else { 0.0 }),
            Self::Logistic => both.for_each(|(g, v)| *g *= v * (1.0 - v)),
        }
    }

    /// Scale of the first weights of a unit that this many inputs feed: about what keeps the spread of values as it is.
    fn gain(self) -> f32 {
        match self {
            Self::Tanh => 1.0,
            Self::Relu => 2f32.sqrt(),
            Self::Logistic => 4.0,
        }
    }
}

/// An architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Width and activation of each hidden layer.
    pub layers: Vec<(usize, Activation)>,
    /// Whether the last layer sees the observation, too.
    pub skip: bool,
}

/// The last layer's units: the logit of a push forwards, and the value of the state.
const OUTPUTS: usize = 2;

/// Lanes that are summed at a time.
const PART: usize = 32;

/// Units that see the same units: those at `from`.
#[derive(Debug)]
struct Layer {
    from: Vec<usize>,
    /// Place of its first unit, and their number.
    first: usize,
    width: usize,
    activation: Option<Activation>,
    /// Place of its weights: for each unit a bias and one for each of `from`.
    weights: usize,
}

impl Layer {
    fn row(&self, unit: usize) -> std::ops::Range<usize> {
        let length = self.from.len() + 1;
        self.weights + unit * length..self.weights + (unit + 1) * length
    }
}

/// A network. The values of its units lie one after another, the observation first and the two outputs last.
#[derive(Debug)]
pub struct Network {
    layers: Vec<Layer>,
    /// All weights.
    pub weights: Vec<f32>,
}

impl Network {
    /// With first weights drawn at random. The outputs begin near 0: both ways are as likely.
    pub fn new(shape: &Shape, rng: &mut impl Rng) -> Self {
        let mut network = Self { layers: Vec::new(), weights: Vec::new() };
        let mut from: Vec<usize> = (0..OBSERVED).collect();
        let mut first = OBSERVED;
        for &(width, activation) in &shape.layers {
            network.add(from, first, width, Some(activation), activation.gain(), rng);
            from = (first..first + width).collect();
            first += width;
        }
        if shape.skip {
            from.extend(0..OBSERVED);
        }
        network.add(from, first, OUTPUTS, None, 0.1, rng);
        network
    }

    fn add(
        &mut self,
        from: Vec<usize>,
        first: usize,
        width: usize,
        activation: Option<Activation>,
        gain: f32,
        rng: &mut impl Rng,
    ) {
        let weights = self.weights.len();
        let most = gain * (3.0 / from.len() as f32).sqrt();
        for _ in 0..width {
            self.weights.push(0.0);
            self.weights.extend(from.iter().map(|_| rng.random_range(-most..most)));
        }
        self.layers.push(Layer { from, first, width, activation, weights });
    }

    /// Units, the observed ones among them.
    pub fn units(&self) -> usize {
        let last = self.layers.last().expect("the outputs are one");
        last.first + last.width
    }

    /// Fills in the values of all units after the observed ones.
    pub fn forward(&self, values: &mut [Lanes]) {
        vectorised!(self.run(values));
    }

    #[inline(always)]
    fn run(&self, values: &mut [Lanes]) {
        for layer in &self.layers {
            let (before, after) = values.split_at_mut(layer.first);
            for (unit, lanes) in after[..layer.width].iter_mut().enumerate() {
                let (bias, row) = self.weights[layer.row(unit)].split_first().expect("a bias");
                let mut sums = [0.0; WORLDS];
                // A few lanes at a time, so that their sums stay in registers.
                for (part, sums) in sums.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
                    let mut own = [*bias; PART];
                    for (weight, &from) in row.iter().zip(&layer.from) {
                        let values = &before[from].as_chunks::<PART>().0[part];
                        for lane in 0..PART {
                            own[lane] += weight * values[lane];
                        }
                    }
                    *sums = own;
                }
                if let Some(activation) = layer.activation {
                    activation.of(&mut sums);
                }
                *lanes = sums;
            }
        }
    }

    /// Adds to `sums` the gradients of the weights, which are the totals of its rows. `values` are as [`Self::forward`] left
    /// them; `gradients` has those of the outputs in the last places, and is used up.
    pub fn backward(&self, values: &[Lanes], gradients: &mut [Lanes], sums: &mut [[f32; LANES]]) {
        vectorised!(self.run_back(values, gradients, sums));
    }

    #[inline(always)]
    fn run_back(&self, values: &[Lanes], gradients: &mut [Lanes], sums: &mut [[f32; LANES]]) {
        let outputs = self.units() - OUTPUTS;
        gradients[OBSERVED..outputs].fill([0.0; WORLDS]);
        for layer in self.layers.iter().rev() {
            let (before, after) = gradients.split_at_mut(layer.first);
            for (unit, own) in after[..layer.width].iter_mut().enumerate() {
                if let Some(activation) = layer.activation {
                    activation.slope(&values[layer.first + unit], own);
                }
                let own = *own;
                let (bias, sums) = sums[layer.row(unit)].split_first_mut().expect("a bias");
                add_products(bias, &own, &[1.0; WORLDS]);
                let weights = &self.weights[layer.row(unit)][1..];
                for ((sum, weight), &from) in sums.iter_mut().zip(weights).zip(&layer.from) {
                    add_products(sum, &own, &values[from]);
                    // Nobody asks for the gradient of what was observed.
                    if from >= OBSERVED {
                        let gradient = &mut before[from];
                        for world in 0..WORLDS {
                            gradient[world] += weight * own[world];
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of two rows of numbers, a register at a time.
#[inline(always)]
fn add_products(sums: &mut [f32; LANES], left: &Lanes, right: &Lanes) {
    let mut own = *sums;
    for (left, right) in left.as_chunks::<LANES>().0.iter().zip(right.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            own[lane] += left[lane] * right[lane];
        }
    }
    *sums = own;
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor, Var};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn draw(rng: &mut ChaCha8Rng) -> Lanes {
        std::array::from_fn(|_| rng.random_range(-1.0..1.0))
    }

    /// The same network in candle: its outputs [2, worlds], and the variables [width, inputs + 1] of its layers.
    fn candles(network: &Network, observed: &[Lanes]) -> candle_core::Result<(Tensor, Vec<Var>)> {
        let mut units = Tensor::from_slice(observed.as_flattened(), (OBSERVED, WORLDS), &Device::Cpu)?;
        let mut variables = Vec::new();
        let mut outputs = units.clone();
        for layer in &network.layers {
            let rows = &network.weights[layer.row(0).start..layer.row(layer.width - 1).end];
            let weights = Var::from_tensor(&Tensor::from_slice(rows, (layer.width, ()), &Device::Cpu)?)?;
            let places: Vec<u32> = layer.from.iter().map(|&place| place as u32).collect();
            let seen = units.index_select(&Tensor::new(places, &Device::Cpu)?, 0)?;
            let ones = Tensor::ones((1, WORLDS), candle_core::DType::F32, &Device::Cpu)?;
            let sums = weights.matmul(&Tensor::cat(&[&ones, &seen], 0)?)?;
            outputs = match layer.activation {
                None => sums,
                Some(Activation::Tanh) => sums.tanh()?,
                Some(Activation::Relu) => sums.relu()?,
                Some(Activation::Logistic) => (sums.neg()?.exp()? + 1.0)?.recip()?,
            };
            units = Tensor::cat(&[&units, &outputs], 0)?;
            variables.push(weights);
        }
        Ok((outputs, variables))
    }

    #[test]
    fn outputs_and_gradients_are_candles() -> candle_core::Result<()> {
        use Activation::{Logistic, Relu, Tanh};
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (layers, skip) in [
            (vec![(4, Tanh)], false),
            (vec![(8, Relu), (4, Logistic)], true),
            (vec![(16, Logistic), (4, Tanh), (8, Relu)], true),
        ] {
            let mut network = Network::new(&Shape { layers, skip }, &mut rng);
            network.weights.iter_mut().for_each(|w| *w += rng.random_range(-0.3..0.3));
            let outputs = network.units() - OUTPUTS;
            let mut values: Vec<Lanes> = (0..network.units()).map(|_| draw(&mut rng)).collect();
            network.forward(&mut values);
            let direction: Vec<Lanes> = (0..network.units()).map(|_| draw(&mut rng)).collect();
            let mut sums = vec![[0.0; LANES]; network.weights.len()];
            network.backward(&values, &mut direction.clone(), &mut sums);

            let (composed, variables) = candles(&network, &values[..OBSERVED])?;
            let close = |own: &[f32], composed: &[f32]| {
                assert_eq!(own.len(), composed.len());
                own.iter()
                    .zip(composed)
                    .for_each(|(a, b)| assert!((a - b).abs() < 2e-5 * b.abs().max(1.0), "{a} and {b}"));
            };
            close(values[outputs..].as_flattened(), &composed.flatten_all()?.to_vec1()?);
            let direction =
                Tensor::from_slice(direction[outputs..].as_flattened(), (OUTPUTS, WORLDS), &Device::Cpu)?;
            let gradients = (composed * direction)?.sum_all()?.backward()?;
            for (layer, variable) in network.layers.iter().zip(&variables) {
                let rows = &sums[layer.row(0).start..layer.row(layer.width - 1).end];
                let own: Vec<f32> = rows.iter().map(|row| row.iter().sum()).collect();
                let composed: Vec<f32> = gradients.get(variable).unwrap().flatten_all()?.to_vec1()?;
                assert!(composed.iter().any(|g| *g != 0.0));
                close(&own, &composed);
            }
        }
        Ok(())
    }
}
