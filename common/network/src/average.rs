//! An exponential average of a network's weights: what acts and is exported, because the weights themselves
//! swing from step to step.

use candle_core::Var;

use super::{
    Error, FrozenQNetwork, QNetworkConfig, Result,
    ops::{copied, tensor, with_values},
    weights::Named,
};

/// A moving average of weights.
#[derive(Clone, Debug)]
pub struct AveragedWeights {
    rate: f32,
    /// Name, shape and values of each parameter.
    weights: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl AveragedWeights {
    /// Starts at `parameters`; each update moves the average by `rate` of the way.
    pub fn new(rate: f32, parameters: &[(String, Var)]) -> Result<Self> {
        let weights = parameters
            .iter()
            .map(|(name, variable)| Ok((name.clone(), variable.dims().to_vec(), copied(variable)?)))
            .collect::<Result<_>>()?;
        Ok(Self { rate, weights })
    }

    /// Starts at a saved average of the weights of `parameters`.
    pub fn from_tensors(rate: f32, parameters: &[(String, Var)], tensors: &Named) -> Result<Self> {
        let mut average = Self::new(rate, parameters)?;
        for (name, shape, values) in &mut average.weights {
            *values = match tensors.get(name) {
                Some(tensor) if tensor.dims() == shape => copied(tensor)?,
                Some(tensor) => {
                    let message = format!("'{name}' is {:?}, expected {shape:?}", tensor.dims());
                    return Err(Error::Weights(message));
                }
                None => return Err(Error::Weights(format!("no average named '{name}'"))),
            };
        }
        Ok(average)
    }

    /// Moves towards `parameters`, the ones it was made from.
    pub fn update(&mut self, parameters: &[(String, Var)]) -> Result<()> {
        for ((_, _, average), (_, variable)) in self.weights.iter_mut().zip(parameters) {
            with_values(variable, |values| {
                average.iter_mut().zip(values).for_each(|(mean, value)| *mean += self.rate * (value - *mean));
            })?;
        }
        Ok(())
    }

    /// The averaged weights by name.
    pub fn to_tensors(&self) -> Result<Named> {
        let named = |(name, shape, values): &(String, Vec<usize>, Vec<f32>)| {
            Ok((name.clone(), tensor(values.clone(), shape.as_slice())?))
        };
        self.weights.iter().map(named).collect()
    }

    /// A network with the averaged weights.
    pub fn frozen(&self, config: &QNetworkConfig) -> Result<FrozenQNetwork> {
        FrozenQNetwork::from_tensors(config.clone(), &self.to_tensors()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_by_its_rate_and_owns_its_values() {
        let variable = Var::from_tensor(&tensor(vec![0.0, 4.0], 2).unwrap()).unwrap();
        let parameters = [("w".to_string(), variable)];
        let mut average = AveragedWeights::new(0.25, &parameters).unwrap();
        parameters[0].1.set(&tensor(vec![8.0, 0.0], 2).unwrap()).unwrap();
        let values = |average: &AveragedWeights| average.to_tensors().unwrap()["w"].to_vec1::<f32>().unwrap();
        assert_eq!(values(&average), [0.0, 4.0]);
        average.update(&parameters).unwrap();
        assert_eq!(values(&average), [2.0, 3.0]);
        let saved = average.to_tensors().unwrap();
        let restored = AveragedWeights::from_tensors(0.25, &parameters, &saved).unwrap();
        assert_eq!(values(&restored), [2.0, 3.0]);
        assert!(AveragedWeights::from_tensors(0.25, &parameters, &Named::new()).is_err());
    }
}
