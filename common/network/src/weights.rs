//! Where the tensors of a network come from, and how they are told apart once saved.
//!
//! A network is built by asking a [`Supply`] for one tensor after the other, by name and shape. Drawing initial
//! weights, loading saved ones and copying trained ones are different supplies for the same construction, so
//! names and shapes are written down once.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};
use rand::Rng;

use super::{Error, Result, ops};

/// Weights by name.
pub type Named = HashMap<String, Tensor>;

/// How a weight starts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Initial {
    /// All the same.
    Constant(f32),
    /// Uniform in ±1/√inputs, what the learning rates in use elsewhere are tuned for.
    Uniform { inputs: usize },
}

/// Hands out the tensors of a network under construction.
pub(super) trait Supply {
    /// The tensor of this name, which has this shape.
    fn supply(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Tensor>;
}

/// Draws initial weights.
pub(super) struct Drawn<'a, R>(pub &'a mut R);

impl<R: Rng> Supply for Drawn<'_, R> {
    fn supply(&mut self, _name: &str, shape: &[usize], initial: Initial) -> Result<Tensor> {
        let mut draw = || match initial {
            Initial::Constant(value) => value,
            Initial::Uniform { inputs } => {
                let bound = (inputs as f32).sqrt().recip();
                self.0.random_range(-bound..bound)
            }
        };
        let values = (0..shape.iter().product()).map(|_| draw()).collect();
        Ok(ops::tensor(values, shape)?)
    }
}

/// Looks up saved weights, which it shares, and counts what it was asked for.
pub(super) struct Saved<'a> {
    tensors: &'a Named,
    taken: usize,
}

impl<'a> Saved<'a> {
    pub fn new(tensors: &'a Named) -> Self {
        Self { tensors, taken: 0 }
    }

    /// Refuses weights nobody asked for: they belong to a network of another shape.
    pub fn finish(self) -> Result<()> {
        match self.tensors.len() == self.taken {
            true => Ok(()),
            false => Err(Error::Weights(format!(
                "{} tensors saved, but the network has {}: it was saved with another configuration",
                self.tensors.len(),
                self.taken
            ))),
        }
    }
}

impl Supply for Saved<'_> {
    fn supply(&mut self, name: &str, shape: &[usize], _initial: Initial) -> Result<Tensor> {
        let tensor =
            self.tensors.get(name).ok_or_else(|| Error::Weights(format!("no tensor named '{name}'")))?;
        if tensor.dims() != shape || tensor.dtype() != DType::F32 {
            return Err(Error::Weights(format!(
                "'{name}' is {:?} {:?}, expected F32 {shape:?}",
                tensor.dtype(),
                tensor.dims()
            )));
        }
        self.taken += 1;
        Ok(tensor.detach())
    }
}

/// Makes a variable of each tensor of another supply, and keeps them in order.
pub(super) struct Trainable<S> {
    pub source: S,
    pub parameters: Vec<(String, Var)>,
}

impl<S> Trainable<S> {
    pub fn new(source: S) -> Self {
        Self { source, parameters: Vec::new() }
    }
}

impl<S: Supply> Supply for Trainable<S> {
    fn supply(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Tensor> {
        let variable = Var::from_tensor(&self.source.supply(name, shape, initial)?)?;
        // The clone shares the variable's storage and follows its updates.
        let tensor = variable.as_tensor().clone();
        self.parameters.push((name.to_string(), variable));
        Ok(tensor)
    }
}

/// A weight and the bias that goes with it.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    /// [outputs, inputs].
    pub weight: Tensor,
    /// [outputs].
    pub bias: Tensor,
}

impl Affine {
    /// Asks for `name.weight` and `name.bias`.
    pub fn new(
        supply: &mut dyn Supply,
        name: &str,
        outputs: usize,
        inputs: usize,
        initial: Initial,
    ) -> Result<Self> {
        Ok(Self {
            weight: supply.supply(&format!("{name}.weight"), &[outputs, inputs], initial)?,
            bias: supply.supply(&format!("{name}.bias"), &[outputs], Initial::Constant(0.0))?,
        })
    }

    /// inputs [R, inputs] → [R, outputs].
    pub fn forward(&self, inputs: &Tensor, relu: bool) -> candle_core::Result<Tensor> {
        ops::linear::linear(inputs, &self.weight, &self.bias, ops::Sharing::One, relu)
    }
}

/// An untracked copy with storage of its own.
fn copy(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.detach().force_contiguous()?)
}

/// Copies of these weights.
pub(super) fn copied(tensors: &Named) -> Result<Named> {
    tensors.iter().map(|(name, tensor)| Ok((name.clone(), copy(tensor)?))).collect()
}

/// Copies of all parameters, by name.
pub(super) fn to_tensors(parameters: &[(String, Var)]) -> Result<Named> {
    parameters.iter().map(|(name, variable)| Ok((name.clone(), copy(variable)?))).collect()
}

/// Overwrites `parameters` with the values of `others`, which must have the same names and shapes.
pub(super) fn copy_from(parameters: &[(String, Var)], others: &[(String, Var)]) -> Result<()> {
    let alike = parameters.len() == others.len()
        && parameters.iter().zip(others).all(|(to, from)| to.0 == from.0 && to.1.shape() == from.1.shape());
    if !alike {
        return Err(Error::Weights("the other network has another shape".into()));
    }
    for ((_, to), (_, from)) in parameters.iter().zip(others) {
        to.set(&copy(from)?)?;
    }
    Ok(())
}

/// Number of values in all parameters.
pub(super) fn parameter_count(parameters: &[(String, Var)]) -> usize {
    parameters.iter().map(|(_, variable)| variable.elem_count()).sum()
}
