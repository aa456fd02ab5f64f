//! A small multi-layer perceptron for predictors on a few hundred architectures: ReLU layers, mean absolute error, Adam.

use rand::{Rng, seq::SliceRandom};
use rand_distr::StandardNormal;

/// Shape and training of a network.
#[derive(Clone, Copy, Debug)]
pub struct MlpConfig {
    pub inputs: usize,
    pub layers: usize,
    pub width: usize,
    pub epochs: usize,
    pub batch: usize,
    pub rate: f32,
}

struct Layer {
    inputs: usize,
    /// f32 [outputs, inputs + 1]: the last column is the bias.
    weights: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

pub struct Mlp {
    layers: Vec<Layer>,
}

impl Layer {
    fn new(inputs: usize, outputs: usize, rng: &mut impl Rng) -> Self {
        let n = outputs * (inputs + 1);
        let scale = (2.0 / inputs as f32).sqrt();
        let mut weights: Vec<f32> = (0..n).map(|_| scale * rng.sample::<f32, _>(StandardNormal)).collect();
        weights.chunks_exact_mut(inputs + 1).for_each(|row| row[inputs] = 0.0);
        Self { inputs, weights, gradient: vec![0.0; n], first: vec![0.0; n], second: vec![0.0; n] }
    }

    fn forward(&self, input: &[f32], output: &mut Vec<f32>, last: bool) {
        output.clear();
        output.extend(self.weights.chunks_exact(self.inputs + 1).map(|row| {
            let sum: f32 = row[..self.inputs].iter().zip(input).map(|(w, x)| w * x).sum();
            let sum = sum + row[self.inputs];
            if last { sum } else { sum.max(0.0) }
        }));
    }

    /// Adds to the gradient; writes what reaches the input.
    fn backward(&mut self, input: &[f32], from_output: &[f32], to_input: &mut Vec<f32>) {
        to_input.clear();
        to_input.resize(self.inputs, 0.0);
        let rows = self.weights.chunks_exact(self.inputs + 1);
        for ((row, gradient), &g) in
            rows.zip(self.gradient.chunks_exact_mut(self.inputs + 1)).zip(from_output)
        {
            if g == 0.0 {
                continue;
            }
            for i in 0..self.inputs {
                to_input[i] += g * row[i];
                gradient[i] += g * input[i];
            }
            gradient[self.inputs] += g;
        }
    }

    fn adam(&mut self, rate: f32, step: i32) {
        const BETAS: (f32, f32) = (0.9, 0.999);
        let corrected = rate * (1.0 - BETAS.1.powi(step)).sqrt() / (1.0 - BETAS.0.powi(step));
        for (((w, g), m), v) in
            self.weights.iter_mut().zip(&mut self.gradient).zip(&mut self.first).zip(&mut self.second)
        {
            *m = BETAS.0 * *m + (1.0 - BETAS.0) * *g;
            *v = BETAS.1 * *v + (1.0 - BETAS.1) * *g * *g;
            *w -= corrected * *m / (v.sqrt() + 1e-8);
            *g = 0.0;
        }
    }
}

impl Mlp {
    /// Trains a network on standardised `values` of `rows`: f32 [n, inputs].
    pub fn train(config: MlpConfig, rows: &[Vec<f32>], values: &[f32], rng: &mut impl Rng) -> Self {
        let mut layers = Vec::new();
        let mut inputs = config.inputs;
        for _ in 0..config.layers {
            layers.push(Layer::new(inputs, config.width, rng));
            inputs = config.width;
        }
        layers.push(Layer::new(inputs, 1, rng));
        let mut network = Self { layers };
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut activations: Vec<Vec<f32>> = vec![Vec::new(); network.layers.len() + 1];
        let (mut delta, mut next) = (Vec::new(), Vec::new());
        let mut step = 0;
        for _ in 0..config.epochs {
            order.shuffle(rng);
            for batch in order.chunks(config.batch) {
                for &row in batch {
                    network.forward(&rows[row], &mut activations);
                    let error = activations[network.layers.len()][0] - values[row];
                    delta.clear();
                    // The gradient of the mean absolute error is the sign.
                    delta.push(if error == 0.0 { 0.0 } else { error.signum() / batch.len() as f32 });
                    for l in (0..network.layers.len()).rev() {
                        network.layers[l].backward(&activations[l], &delta, &mut next);
                        // Through the ReLU of the layer below; the inputs have none.
                        for (g, &a) in next.iter_mut().zip(&activations[l]) {
                            if l > 0 && a <= 0.0 {
                                *g = 0.0;
                            }
                        }
                        std::mem::swap(&mut delta, &mut next);
                    }
                }
                step += 1;
                network.layers.iter_mut().for_each(|layer| layer.adam(config.rate, step));
            }
        }
        network
    }

    fn forward(&self, row: &[f32], activations: &mut [Vec<f32>]) {
        activations[0].clear();
        activations[0].extend_from_slice(row);
        for (l, layer) in self.layers.iter().enumerate() {
            let (before, after) = activations.split_at_mut(l + 1);
            layer.forward(&before[l], &mut after[0], l + 1 == self.layers.len());
        }
    }

    /// The value predicted for a row.
    pub fn predict(&self, row: &[f32]) -> f32 {
        let (mut now, mut next) = (row.to_vec(), Vec::new());
        for (l, layer) in self.layers.iter().enumerate() {
            layer.forward(&now, &mut next, l + 1 == self.layers.len());
            std::mem::swap(&mut now, &mut next);
        }
        now[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut layer = Layer::new(3, 2, &mut rng);
        let (input, upstream) = ([0.3, -0.7, 1.1], [0.5, -2.0]);
        let mut to_input = Vec::new();
        layer.backward(&input, &upstream, &mut to_input);
        let value = |layer: &Layer, input: &[f32]| -> f32 {
            let mut output = Vec::new();
            layer.forward(input, &mut output, true);
            output.iter().zip(upstream).map(|(o, u)| o * u).sum()
        };
        let analytic = layer.gradient.clone();
        for (i, expected) in analytic.into_iter().enumerate() {
            let before = layer.weights[i];
            layer.weights[i] = before + 0.01;
            let up = value(&layer, &input);
            layer.weights[i] = before - 0.01;
            let down = value(&layer, &input);
            layer.weights[i] = before;
            assert!(((up - down) / 0.02 - expected).abs() < 1e-3);
        }
        for i in 0..3 {
            let (mut up, mut down) = (input, input);
            up[i] += 0.01;
            down[i] -= 0.01;
            assert!(((value(&layer, &up) - value(&layer, &down)) / 0.02 - to_input[i]).abs() < 1e-3);
        }
    }

    #[test]
    fn a_simple_function_is_learned() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rows: Vec<Vec<f32>> =
            (0..64).map(|i| (0..6).map(|b| f32::from(u8::from(i >> b & 1 == 1))).collect()).collect();
        let values: Vec<f32> = rows.iter().map(|r| r[0] - 2.0 * r[3] + r[1] * r[2]).collect();
        let config = MlpConfig { inputs: 6, layers: 2, width: 20, epochs: 150, batch: 32, rate: 0.01 };
        let network = Mlp::train(config, &rows, &values, &mut rng);
        let error: f32 =
            rows.iter().zip(&values).map(|(r, v)| (network.predict(r) - v).abs()).sum::<f32>() / 64.0;
        assert!(error < 0.2, "{error}");
    }
}
