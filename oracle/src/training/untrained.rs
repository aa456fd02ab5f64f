//! Zero-cost proxies: what a network says before it is trained. One batch of training images, the weights as they are drawn first.
//!
//! * `nwot`: log det K, K(i, j) the number of ReLU units that say the same of images i and j (Mellor et al., arXiv 2006.04647v3).
//! * `jacov`: −Σ log(v + k) + 1/(v + k) over the eigenvalues v of the correlations between images of what moves the logits' sum,
//!   k = 10⁻⁵ (the same authors, arXiv 2006.04647v1).
//! * `synflow`: log Σ |θ · ∂R/∂θ| with R the logits' sum for an image of ones, weights in absolute value, no normalisation (Tanaka et al.,
//!   arXiv 2006.05467; as a score of networks Abdelfattah et al., arXiv 2101.08134).
//! * `params`: number of weights.

use super::{
    data::ImageSet,
    model::{
        self, Model, Pass, Phase, Scale, Shape,
        layers::{ConvNorm, Linear},
    },
    ops::{self, BLOCK, Moments},
};
use candle_core::{Result, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_network::ops::{tensor, with_values};
use srnas_predictor::Describe;
use srnas_space::{Choices, SearchSpace};
use std::{
    fmt,
    sync::{Arc, Once},
};

/// Images in the batch.
const IMAGES: usize = BLOCK;
/// What keeps a correlation's eigenvalues from 0.
const JITTER: f64 = 1e-5;

/// The proxies of the networks of a space.
pub struct Proxies {
    space: Arc<SearchSpace>,
    names: Vec<String>,
    shape: Shape,
    scale: Scale,
    /// [C, H, W, N], normalised.
    images: Tensor,
    seed: u64,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxies({}, {:?}, {:?})", self.space.name(), self.shape, self.scale)
    }
}

impl Proxies {
    /// Of networks of this scale, on the first training images of a data set.
    ///
    /// # Errors
    /// Says why there are none: a space whose architectures cannot be built, or too few images.
    pub fn new(
        space: Arc<SearchSpace>,
        data: &ImageSet,
        scale: Scale,
        seed: u64,
    ) -> std::result::Result<Self, String> {
        if !model::can_build(&space) {
            return Err(format!("architectures of {} cannot be built; those of nb201 can", space.name()));
        }
        if data.train.len() < IMAGES {
            return Err(format!("{} training images are no batch of {IMAGES}", data.train.len()));
        }
        let batch = data.batch(&data.train, &(0..IMAGES).collect::<Vec<_>>(), |_, _| {});
        let ([height, width], (mean, variance)) = (data.shape.size, data.moments());
        let images = tensor(batch.pixels, (data.shape.channels, height, width, IMAGES))
            .and_then(|pixels| ops::standardise(&pixels, &Moments { mean, variance }))
            .map_err(|error| error.to_string())?;
        let names = ["nwot", "synflow", "jacov", "params"].map(String::from).to_vec();
        Ok(Self { space, names, shape: data.shape, scale, images, seed })
    }

    /// All proxies of an architecture, in the order of their names. One that has no number, as of a network that does not look at its
    /// images, is −∞.
    ///
    /// # Errors
    /// When the network fails.
    pub fn of(&self, choices: &Choices) -> Result<[f64; 4]> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut network = model::build(&self.space, choices, self.shape, self.scale, &mut rng)?;
        let params = network.parameter_count() as f64;
        let images = Var::from_tensor(&self.images)?;
        let mut codes = Codes::default();
        let logits = network.pass(&images, &mut codes)?;
        let nwot = log_determinant(&codes.alike, IMAGES).unwrap_or(f64::NEG_INFINITY);
        let gradients = logits.sum_all()?.backward()?;
        let jacov = match gradients.get(&images) {
            Some(gradient) => with_values(gradient, jacov)?.unwrap_or(f64::NEG_INFINITY),
            None => f64::NEG_INFINITY,
        };
        Ok([nwot, synflow(&mut *network, self.shape)?, jacov, params])
    }
}

impl Describe for Proxies {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn describe(&self, active: &Choices, descriptors: &mut [f32]) {
        let found = self.of(active).unwrap_or_else(|error| {
            // It says nothing then; one line stands for all that fail alike.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!("nothing is known of {} without training: {error}", self.space.format(active));
            });
            [f64::NAN; 4]
        });
        descriptors.iter_mut().zip(found).for_each(|(to, found)| *to = found as f32);
    }
}

/// A pass in training, which sees which ReLU units are on.
struct Codes {
    phase: Phase,
    /// f64 [images, images]: how many units say the same of two images.
    alike: Vec<f64>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { phase: Phase::Train, alike: vec![0.0; IMAGES * IMAGES] }
    }
}

impl Codes {
    fn see(&mut self, images: &Tensor) -> Result<()> {
        with_values(images, |values| {
            let units = values.len() / IMAGES;
            // By image, a bit for each unit.
            let words = units.div_ceil(64);
            let mut codes = vec![0u64; IMAGES * words];
            for (unit, values) in values.chunks_exact(IMAGES).enumerate() {
                for (image, &value) in values.iter().enumerate() {
                    codes[image * words + unit / 64] |= u64::from(value > 0.0) << (unit % 64);
                }
            }
            let code = |image: usize| &codes[image * words..][..words];
            for i in 0..IMAGES {
                for j in 0..=i {
                    let differ: u32 = code(i).iter().zip(code(j)).map(|(a, b)| (a ^ b).count_ones()).sum();
                    let same = (units - differ as usize) as f64;
                    self.alike[i * IMAGES + j] += same;
                    if i != j {
                        self.alike[j * IMAGES + i] += same;
                    }
                }
            }
        })
    }
}

impl Pass for Codes {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        if layer.is_after_relu() {
            self.see(images)?;
        }
        self.phase.convolution(layer, images)
    }

    fn relu(&mut self, images: &Tensor) -> Result<Tensor> {
        self.see(images)?;
        ops::relu(images)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        self.phase.linear(layer, inputs)
    }
}

/// A pass of what flows through weights in absolute value; what it is multiplied by at each waist keeps it within f32.
#[derive(Default)]
struct Flow {
    log_scale: f64,
}

impl Pass for Flow {
    fn convolution(&mut self, layer: &mut ConvNorm, images: &Tensor) -> Result<Tensor> {
        layer.absolute(images)
    }

    fn waist(&mut self, images: Tensor) -> Result<Tensor> {
        let highest = with_values(&images, |values| values.iter().copied().fold(0.0f32, f32::max))?;
        if highest <= 0.0 {
            return Ok(images);
        }
        self.log_scale += f64::from(highest).ln();
        images.affine(f64::from(highest).recip(), 0.0)
    }

    fn linear(&mut self, layer: &Linear, inputs: &Tensor) -> Result<Tensor> {
        layer.absolute(inputs)
    }
}

fn synflow(network: &mut dyn Model, shape: Shape) -> Result<f64> {
    let [height, width] = shape.size;
    let ones =
        tensor(vec![1.0; shape.channels * height * width * BLOCK], (shape.channels, height, width, BLOCK))?;
    let mut flow = Flow::default();
    let gradients = network.pass(&ones, &mut flow)?.sum_all()?.backward()?;
    let mut sum = 0.0;
    for (_, parameter) in network.parameters() {
        let Some(gradient) = gradients.get(parameter) else { continue };
        let product = (parameter.as_tensor() * gradient)?.abs()?;
        sum += with_values(&product, |values| values.iter().map(|&v| f64::from(v)).sum::<f64>())?;
    }
    // All images of the block are the same one.
    Ok((sum / BLOCK as f64).ln() + flow.log_scale)
}

/// [C, H, W, N] → the score; none where an image moves nothing, or all move it alike.
fn jacov(gradient: &[f32]) -> Option<f64> {
    let rows = gradient.len() / IMAGES;
    let at = |row: usize, image: usize| f64::from(gradient[row * IMAGES + image]);
    let mut means = [0.0; IMAGES];
    (0..rows).for_each(|row| means.iter_mut().enumerate().for_each(|(n, mean)| *mean += at(row, n)));
    means.iter_mut().for_each(|mean| *mean /= rows as f64);
    let mut covariance = vec![0.0; IMAGES * IMAGES];
    for row in 0..rows {
        let centred: [f64; IMAGES] = std::array::from_fn(|n| at(row, n) - means[n]);
        for (i, a) in centred.iter().enumerate() {
            covariance[i * IMAGES..][..IMAGES].iter_mut().zip(&centred).for_each(|(sum, b)| *sum += a * b);
        }
    }
    let deviation: [f64; IMAGES] = std::array::from_fn(|n| covariance[n * IMAGES + n].sqrt());
    if deviation.contains(&0.0) {
        return None;
    }
    for i in 0..IMAGES {
        for j in 0..IMAGES {
            covariance[i * IMAGES + j] /= deviation[i] * deviation[j];
        }
        covariance[i * IMAGES + i] += JITTER;
    }
    // Σ log(v + k) is a logarithm of a determinant, Σ 1/(v + k) a trace of an inverse.
    let factor = cholesky(&covariance, IMAGES)?;
    Some(-log_of(&factor, IMAGES) - trace_of_inverse(&factor, IMAGES))
}

/// Logarithm of the determinant of a symmetric positive matrix; none where it is not positive.
fn log_determinant(matrix: &[f64], n: usize) -> Option<f64> {
    Some(log_of(&cholesky(matrix, n)?, n))
}

fn log_of(factor: &[f64], n: usize) -> f64 {
    2.0 * (0..n).map(|i| factor[i * n + i].ln()).sum::<f64>()
}

/// Cholesky's factor, f64 [n, n], of which the lower half counts.
fn cholesky(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut factor = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
            let rest = matrix[i * n + j] - known;
            factor[i * n + j] = match i == j {
                true if rest > 1e-9 * matrix[i * n + i].abs() => rest.sqrt(),
                true => return None,
                false => rest / factor[j * n + j],
            };
        }
    }
    Some(factor)
}

/// Σ over the squares of the inverse factor's entries.
fn trace_of_inverse(factor: &[f64], n: usize) -> f64 {
    let mut trace = 0.0;
    let mut column = vec![0.0; n];
    for start in 0..n {
        column.fill(0.0);
        for i in start..n {
            let known: f64 = (start..i).map(|k| factor[i * n + k] * column[k]).sum();
            column[i] = (f64::from(u8::from(i == start)) - known) / factor[i * n + i];
            trace += column[i] * column[i];
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::data;

    fn proxies() -> Proxies {
        let scale = Scale { width: 4, stages: 2, cells: 1 };
        Proxies::new(SearchSpace::named("nb201").unwrap(), &data::digits(), scale, 1).unwrap()
    }

    #[test]
    fn determinants_and_traces_are_those_of_the_matrix() {
        // Eigenvalues 1, 3 and 5.
        let matrix = [2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 5.0];
        let factor = cholesky(&matrix, 3).unwrap();
        assert!((log_of(&factor, 3) - 15f64.ln()).abs() < 1e-12);
        assert!((trace_of_inverse(&factor, 3) - (1.0 + 1.0 / 3.0 + 0.2)).abs() < 1e-12);
        assert!(log_determinant(&[1.0, 1.0, 1.0, 1.0], 2).is_none());
    }

    #[test]
    fn what_can_say_more_scores_higher_and_equal_cells_score_alike() {
        let proxies = proxies();
        let of = |choices: [u8; 6]| proxies.of(&choices).unwrap();
        let ([nwot, synflow, _, params], small) = (of([3; 6]), of([1, 0, 0, 2, 0, 0]));
        assert!(nwot > small[0] && synflow > small[1] && params > small[3], "{small:?}");
        assert_eq!(of([3; 6]), of([3; 6]));
        // Nothing leads on from node 1.
        assert_eq!(of([3, 1, 0, 3, 0, 3]), of([0, 1, 0, 3, 0, 3]));
    }

    #[test]
    fn synflow_is_the_sum_over_layers_and_paths_of_what_flows() {
        // Of layers in a row each has all of R, so a network of L of them has log(L · R).
        let space = SearchSpace::named("nb201").unwrap();
        let shape = Shape { channels: 1, size: [4, 4], classes: 3 };
        let scale = Scale { width: 2, stages: 1, cells: 1 };
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let mut network = model::build(&space, &[0, 0, 0, 3, 0, 0], shape, scale, rng).unwrap();
        let ones = tensor(vec![1.0; 16 * BLOCK], (1, 4, 4, BLOCK)).unwrap();
        let mut flow = Flow::default();
        let logits = network.pass(&ones, &mut flow).unwrap();
        let through = with_values(&logits, |v| v.iter().map(|&v| f64::from(v)).sum::<f64>()).unwrap();
        let r = (through / BLOCK as f64).ln() + flow.log_scale;
        let score = synflow(&mut *network, shape).unwrap();
        assert!((score - (r + 3f64.ln())).abs() < 1e-4, "{score} {r}");
    }

    #[test]
    fn a_network_that_does_not_look_has_no_score_and_does_not_fail() {
        let [nwot, synflow, jacov, params] = proxies().of(&[0; 6]).unwrap();
        assert!(jacov == f64::NEG_INFINITY && params > 0.0, "{nwot} {synflow} {jacov}");
        assert!(!nwot.is_nan() && !synflow.is_nan());
    }
}
