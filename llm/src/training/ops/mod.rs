//! The operations of a LLaMA-type decoder with their gradients. candle's own `rms_norm`, `rope` and `softmax_last_dim` have no
//! backward pass: gradients vanish in silence. Values are [R, columns], a row for each token, sequence after sequence.

pub mod attention;
pub mod embedding;
pub mod gated;
pub mod linear;
pub mod loss;
pub mod norm;

#[cfg(test)]
pub(super) mod check {
    //! Gradients against finite differences.

    use candle_core::{Result, Tensor, Var};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use srnas_network::ops::{copied, tensor};

    /// A variable with entries in −1..1, the same for the same seed.
    pub fn variable(seed: u64, shape: &[usize]) -> Var {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Var::from_tensor(&tensor(values, shape).unwrap()).unwrap()
    }

    /// Asserts that the gradients of a random projection of `f` are its differences along random directions.
    pub fn gradients(variables: &[&Var], f: impl Fn() -> Result<Tensor>) {
        let out = f().unwrap();
        let weights = variable(99, out.dims()).as_detached_tensor();
        let value = || -> f64 {
            let (out, weights) = (copied(&f().unwrap()).unwrap(), copied(&weights).unwrap());
            out.iter().zip(&weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let store = (&out * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        for (i, var) in variables.iter().enumerate() {
            let gradient = copied(&store.get(var).expect("a gradient").contiguous().unwrap()).unwrap();
            let at = copied(var.as_tensor()).unwrap();
            for seed in 0..4 {
                let direction = copied(variable(7 + seed, var.dims()).as_tensor()).unwrap();
                let moved = |step: f32| {
                    let values = at.iter().zip(&direction).map(|(a, d)| a + step * d).collect();
                    var.set(&tensor(values, var.dims()).unwrap()).unwrap();
                    value()
                };
                let step = 4e-3;
                let difference = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                moved(0.0);
                let slope: f64 =
                    gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
                let scale = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                assert!(scale > 1e-3, "gradient {i} is zero");
                let apart = (slope - difference).abs() / scale;
                assert!(
                    apart < 2e-3,
                    "gradient {i}: {slope} by the backward pass, {difference} by differences"
                );
            }
        }
    }
}
