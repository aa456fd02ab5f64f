//! The optimiser: Adam with decoupled weight decay and a bound on the gradient's norm.

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, Var, bail};

use super::{
    Error, Result,
    ops::{add_to, copied, with_values},
    weights::Named,
};

/// The gradients of all parameters of a network, in the order of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients(Vec<Vec<f32>>);

impl Gradients {
    /// Gradients of nothing yet.
    pub fn zeros(parameters: &[(String, Var)]) -> Self {
        Self(parameters.iter().map(|(_, variable)| vec![0.0; variable.elem_count()]).collect())
    }

    /// The gradients of a scalar; an error if one parameter does not take part in it.
    pub fn of(loss: &Tensor, parameters: &[(String, Var)]) -> Result<Self> {
        let mut gradients = Self::zeros(parameters);
        gradients.add_loss(loss, parameters)?;
        Ok(gradients)
    }

    /// Adds the gradients of another scalar.
    pub fn add_loss(&mut self, loss: &Tensor, parameters: &[(String, Var)]) -> Result<()> {
        let store = loss.backward()?;
        for (sum, (name, variable)) in self.0.iter_mut().zip(parameters) {
            let gradient = store
                .get(variable)
                .ok_or_else(|| Error::Weights(format!("'{name}' takes no part in the loss")))?;
            with_values(&gradient.contiguous()?, |gradient| add_to(sum, gradient))?;
        }
        Ok(())
    }

    /// Adds the gradients of another scalar in which only a part of the network takes part: the gradient of the rest is 0.
    pub fn add_part(&mut self, loss: &Tensor, parameters: &[(String, Var)]) -> Result<()> {
        let store = loss.backward()?;
        for (sum, (_, variable)) in self.0.iter_mut().zip(parameters) {
            if let Some(gradient) = store.get(variable) {
                with_values(&gradient.contiguous()?, |gradient| add_to(sum, gradient))?;
            }
        }
        Ok(())
    }

    /// Adds other gradients of the same parameters.
    pub fn add(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            add_to(sum, other);
        }
    }

    /// The Euclidean norm of all gradients together.
    pub fn norm(&self) -> f64 {
        let squares =
            self.0.iter().map(|values| values.iter().map(|&value| value as f64 * value as f64).sum::<f64>());
        squares.sum::<f64>().sqrt()
    }
}

/// How [`Adam`] steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay: the share of a weight that goes with each step of learning rate 1.
    pub weight_decay: f64,
    /// The largest gradient norm let through; a larger gradient is scaled down to it.
    pub clip: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, clip: 10.0 }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSize {
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// The norm was not finite: nothing was changed.
    pub skipped: bool,
}

/// Adam (Kingma and Ba, 2015) with a state that can be saved.
#[derive(Clone, Debug)]
pub struct Adam {
    config: AdamConfig,
    steps: u64,
    /// First and second moment of each parameter.
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Adam {
    /// An optimiser of these parameters that has seen no gradient.
    pub fn new(config: AdamConfig, parameters: &[(String, Var)]) -> Self {
        let zeros = |variable: &Var| vec![0.0; variable.elem_count()];
        let moments = parameters.iter().map(|(_, variable)| (zeros(variable), zeros(variable))).collect();
        Self { config, steps: 0, moments }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves `parameters`, the ones given to [`Adam::new`], against `gradients`.
    ///
    /// A gradient that is not finite changes nothing.
    pub fn step(
        &mut self,
        parameters: &[(String, Var)],
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<StepSize> {
        let gradient_norm = gradients.norm();
        if !gradient_norm.is_finite() {
            return Ok(StepSize { gradient_norm, skipped: true });
        }
        let AdamConfig { beta1, beta2, epsilon, weight_decay, clip } = self.config;
        self.steps += 1;
        let correction1 = 1.0 - beta1.powf(self.steps as f64);
        let correction2 = 1.0 - beta2.powf(self.steps as f64);
        let scale = if gradient_norm > clip { clip / gradient_norm } else { 1.0 };
        for ((_, variable), (gradient, (first, second))) in
            parameters.iter().zip(gradients.0.iter().zip(&mut self.moments))
        {
            for ((first, second), gradient) in first.iter_mut().zip(second.iter_mut()).zip(gradient) {
                let gradient = gradient * scale as f32;
                *first += (gradient - *first) * (1.0 - beta1) as f32;
                *second += (gradient * gradient - *second) * (1.0 - beta2) as f32;
            }
            variable.inplace_op1(&Move {
                first,
                second,
                size: (learning_rate / correction1) as f32,
                second_scale: correction2.recip() as f32,
                epsilon: epsilon as f32,
                kept: (1.0 - learning_rate * weight_decay) as f32,
            })?;
        }
        Ok(StepSize { gradient_norm, skipped: false })
    }

    /// Step count and moments by name.
    pub fn to_tensors(&self, parameters: &[(String, Var)]) -> Result<Named> {
        let mut tensors =
            Named::from([("steps".to_string(), Tensor::new(&[self.steps as i64], &Device::Cpu)?)]);
        for ((name, variable), (first, second)) in parameters.iter().zip(&self.moments) {
            for (moment, values) in [("first", first), ("second", second)] {
                let tensor = super::ops::tensor(values.clone(), variable.dims())?;
                tensors.insert(format!("{moment}.{name}"), tensor);
            }
        }
        Ok(tensors)
    }

    /// An optimiser of these parameters in a saved state.
    pub fn from_tensors(config: AdamConfig, parameters: &[(String, Var)], tensors: &Named) -> Result<Self> {
        let find = |name: &str| {
            tensors.get(name).ok_or_else(|| Error::Weights(format!("no optimiser state named '{name}'")))
        };
        let moment = |name: String, variable: &Var| match find(&name)? {
            tensor if tensor.dims() == variable.dims() => Ok(copied(tensor)?),
            tensor => Err(Error::Weights(format!(
                "'{name}' is {:?}, expected {:?}",
                tensor.dims(),
                variable.dims()
            ))),
        };
        let moments = parameters.iter().map(|(name, variable)| {
            Ok((moment(format!("first.{name}"), variable)?, moment(format!("second.{name}"), variable)?))
        });
        let steps = find("steps")?.to_vec1::<i64>()?;
        match steps[..] {
            [steps] => Ok(Self { config, steps: steps as u64, moments: moments.collect::<Result<_>>()? }),
            _ => Err(Error::Weights("'steps' must be one number".into())),
        }
    }
}

/// The move of one parameter.
struct Move<'a> {
    first: &'a [f32],
    second: &'a [f32],
    size: f32,
    second_scale: f32,
    epsilon: f32,
    kept: f32,
}

impl InplaceOp1 for Move<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, weights: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(weights), Some((start, end))) = (weights, layout.contiguous_offsets()) else {
            bail!("adam: weights must be contiguous f32");
        };
        for ((weight, first), second) in weights[start..end].iter_mut().zip(self.first).zip(self.second) {
            let spread = (second * self.second_scale).sqrt() + self.epsilon;
            *weight = *weight * self.kept - self.size * first / spread;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_nn::{AdamW, Optimizer, ParamsAdamW};

    use super::*;
    use crate::ops::{check, tensor};

    fn parameters() -> Vec<(String, Var)> {
        let of =
            |name: &str, seed, shape: &[usize]| (name.to_string(), check::variable(seed, shape).unwrap());
        vec![of("a", 1, &[3, 4]), of("b", 2, &[5])]
    }

    /// A loss whose gradient differs from parameter to parameter and step to step.
    fn loss(parameters: &[(String, Var)]) -> Tensor {
        let parts =
            parameters.iter().map(|(_, variable)| (variable.as_tensor() - 0.5)?.sqr()?.sqr()?.sum_all());
        parts.reduce(|left, right| left? + right?).unwrap().unwrap()
    }

    #[test]
    fn equals_adamw_of_candle() {
        let (ours, theirs) = (parameters(), parameters());
        let config = AdamConfig { weight_decay: 0.1, clip: f64::INFINITY, ..Default::default() };
        let mut adam = Adam::new(config, &ours);
        let variables = theirs.iter().map(|(_, variable)| variable.clone()).collect();
        let params = ParamsAdamW { lr: 0.01, weight_decay: 0.1, ..Default::default() };
        let mut reference = AdamW::new(variables, params).unwrap();
        for _ in 0..20 {
            let gradients = Gradients::of(&loss(&ours), &ours).unwrap();
            adam.step(&ours, &gradients, 0.01).unwrap();
            reference.backward_step(&loss(&theirs)).unwrap();
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(check::difference(&ours.1, &theirs.1).unwrap() < 1e-5);
        }
        let moved = check::difference(&ours[0].1, &parameters()[0].1).unwrap();
        assert!(moved > 0.1, "moved by {moved}");
    }

    #[test]
    fn a_large_gradient_is_scaled_to_the_clip() {
        let parameters = parameters();
        let gradients = Gradients(vec![vec![30.0; 12], vec![-40.0; 5]]);
        let norm = (12.0f64 * 900.0 + 5.0 * 1600.0).sqrt();
        let mut clipped = Adam::new(AdamConfig { clip: 2.0, ..Default::default() }, &parameters);
        let step = clipped.step(&parameters, &gradients, 0.01).unwrap();
        assert!((step.gradient_norm - norm).abs() < 1e-6 && !step.skipped);
        let expected = 0.1 * 30.0 * 2.0 / norm;
        assert!((clipped.moments[0].0[0] as f64 - expected).abs() < 1e-6);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let parameters = parameters();
        let before: Vec<_> = parameters.iter().map(|(_, variable)| copied(variable).unwrap()).collect();
        let mut adam = Adam::new(AdamConfig::default(), &parameters);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut gradients = Gradients(vec![vec![1.0; 12], vec![1.0; 5]]);
            gradients.0[1][3] = bad;
            assert!(adam.step(&parameters, &gradients, 0.01).unwrap().skipped);
        }
        let after: Vec<_> = parameters.iter().map(|(_, variable)| copied(variable).unwrap()).collect();
        assert_eq!(before, after);
        assert_eq!(adam.steps(), 0);
        assert!(
            adam.moments.iter().all(|(first, second)| first.iter().chain(second).all(|value| *value == 0.0))
        );
    }

    #[test]
    fn a_saved_state_goes_on_as_if_never_stopped() {
        let (parameters, gradients) = (parameters(), Gradients(vec![vec![0.5; 12], vec![-0.25; 5]]));
        let mut adam = Adam::new(AdamConfig::default(), &parameters);
        adam.step(&parameters, &gradients, 0.01).unwrap();
        let saved = adam.to_tensors(&parameters).unwrap();
        let mut restored = Adam::from_tensors(AdamConfig::default(), &parameters, &saved).unwrap();
        let others: Vec<(String, Var)> = parameters
            .iter()
            .map(|(name, variable)| {
                let copy = tensor(copied(variable).unwrap(), variable.dims()).unwrap();
                (name.clone(), Var::from_tensor(&copy).unwrap())
            })
            .collect();
        adam.step(&parameters, &gradients, 0.01).unwrap();
        restored.step(&others, &gradients, 0.01).unwrap();
        for (left, right) in parameters.iter().zip(&others) {
            assert_eq!(copied(&left.1).unwrap(), copied(&right.1).unwrap());
        }
        let mut incomplete = saved;
        incomplete.remove("second.b");
        assert!(Adam::from_tensors(AdamConfig::default(), &parameters, &incomplete).is_err());
    }
}
