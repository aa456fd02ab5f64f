//! Stochastic gradient descent with Nesterov momentum and weight decay, as NAS-Bench-201 trains.

use candle_core::{Result, Tensor, Var, backprop::GradStore};
use srnas_network::ops::{copied, tensor, with_values};

/// The optimiser: one velocity for each weight.
pub struct Sgd {
    momentum: f32,
    weight_decay: f32,
    velocities: Vec<Vec<f32>>,
}

impl Sgd {
    /// At rest.
    pub fn new(momentum: f32, weight_decay: f32, parameters: &[(String, Var)]) -> Self {
        let velocities = parameters.iter().map(|(_, p)| vec![0.0; p.elem_count()]).collect();
        Self { momentum, weight_decay, velocities }
    }

    /// The velocity of each parameter.
    pub fn velocities(&self) -> &[Vec<f32>] {
        &self.velocities
    }

    /// See [`Self::velocities`].
    pub fn velocities_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.velocities
    }

    /// One step against the gradients; parameters without one stay as they are.
    pub fn step(&mut self, parameters: &[(String, Var)], gradients: &GradStore, rate: f32) -> Result<()> {
        for ((_, parameter), velocity) in parameters.iter().zip(&mut self.velocities) {
            let Some(gradient) = gradients.get(parameter) else { continue };
            let mut values = copied(parameter)?;
            let gradient: &Tensor = gradient;
            with_values(gradient, |gradient| {
                for ((value, velocity), gradient) in values.iter_mut().zip(velocity).zip(gradient) {
                    let gradient = gradient + self.weight_decay * *value;
                    *velocity = self.momentum * *velocity + gradient;
                    *value -= rate * (gradient + self.momentum * *velocity);
                }
            })?;
            parameter.set(&tensor(values, parameter.shape())?)?;
        }
        Ok(())
    }
}
