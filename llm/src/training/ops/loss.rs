//! What is minimised: cross-entropy with the tokens that follow, and with what other models expect.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use srnas_network::{
    ops::{simd::exp_of_negative, tensor, values, with_values},
    vectorised,
};
use std::sync::Arc;

/// What each row should expect: a mixture of the token that came and of other models' probabilities. Its cross-entropy differs
/// from the same mixture of a cross-entropy with the token and of divergences KL(other ‖ this) by the others' entropy, which
/// does not depend on this model: the gradients are the same.
#[derive(Clone)]
pub struct Expected {
    /// The token that came, for each row.
    pub tokens: Arc<Vec<u32>>,
    /// Share of the token.
    pub share: f32,
    /// Shares of other models, and their probabilities [R, vocabulary].
    pub others: Vec<(f32, Arc<Vec<f32>>)>,
}

/// Mean over rows: [what is minimised, nats of the tokens that came]; gradients are of the first. logits [R, vocabulary] → [2].
pub fn loss(logits: &Tensor, expected: Expected) -> Result<Tensor> {
    logits.apply_op1(Loss(expected))
}

/// The probabilities that logits mean, row by row.
pub fn probabilities(logits: &Tensor) -> Result<Vec<f32>> {
    let vocabulary = logits.dim(1)?;
    let mut result = srnas_network::ops::copied(logits)?;
    vectorised!(for row in result.chunks_exact_mut(vocabulary) {
        softmax(row);
    });
    Ok(result)
}

/// Exponentials over their sum, in place; the logarithm of the sum of exponentials.
#[inline(always)]
fn softmax(row: &mut [f32]) -> f32 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    row.iter_mut().for_each(|v| *v = exp_of_negative(*v - most));
    let sum: f32 = srnas_network::ops::simd::sum(row);
    let scale = 1.0 / sum;
    row.iter_mut().for_each(|v| *v *= scale);
    most + sum.ln()
}

struct Loss(Expected);

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, vocabulary) = layout.shape().dims2()?;
        let logits = values(logits, layout)?;
        let Expected { tokens, share, others } = &self.0;
        let fits = others.iter().all(|(_, other)| other.len() == logits.len());
        if rows == 0 || tokens.len() != rows || tokens.iter().any(|t| *t as usize >= vocabulary) || !fits {
            bail!("loss: {} tokens for logits [{rows}, {vocabulary}]", tokens.len());
        }
        let (mut minimised, mut nats) = (0.0f64, 0.0f64);
        let mut scratch = vec![0.0; vocabulary];
        for (i, (row, token)) in logits.chunks_exact(vocabulary).zip(tokens.iter()).enumerate() {
            scratch.copy_from_slice(row);
            let log = vectorised!(softmax(&mut scratch));
            let of_token = f64::from(log - row[*token as usize]);
            nats += of_token;
            minimised += f64::from(*share) * of_token;
            for (share, other) in others {
                let other = &other[i * vocabulary..][..vocabulary];
                let dot = vectorised!(srnas_network::ops::simd::dot(other, row));
                minimised += f64::from(share * (log - dot));
            }
        }
        let mean = |sum: f64| (sum / rows as f64) as f32;
        Ok((CpuStorage::F32(vec![mean(minimised), mean(nats)]), 2.into()))
    }

    fn bwd(&self, logits: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, vocabulary) = logits.dims2()?;
        let factor = with_values(&gradient.contiguous()?, |gradient| gradient[0])? / rows as f32;
        let Expected { tokens, share, others } = &self.0;
        let whole = share + others.iter().map(|(share, _)| share).sum::<f32>();
        let mut of_logits = srnas_network::ops::copied(logits)?;
        for (i, (row, token)) in of_logits.chunks_exact_mut(vocabulary).zip(tokens.iter()).enumerate() {
            vectorised!({
                softmax(row);
                row.iter_mut().for_each(|p| *p *= whole * factor);
                for (share, other) in others {
                    let other = &other[i * vocabulary..][..vocabulary];
                    row.iter_mut().zip(other).for_each(|(p, other)| *p -= share * factor * other);
                }
            });
            row[*token as usize] -= share * factor;
        }
        Ok(Some(tensor(of_logits, logits.dims())?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use srnas_network::ops::copied;

    #[test]
    fn gradients_are_those_of_a_mixture_and_the_second_number_has_none() {
        let logits = check::variable(1, &[6, 11]);
        let other = Arc::new(probabilities(check::variable(2, &[6, 11]).as_tensor()).unwrap());
        let tokens = Arc::new(vec![0, 10, 3, 3, 7, 1]);
        let expected = Expected { tokens, share: 0.3, others: vec![(0.5, other.clone()), (0.2, other)] };
        check::gradients(&[&logits], || loss(&logits, expected.clone())?.narrow(0, 0, 1)?.contiguous());
        let both = copied(&loss(&logits, expected.clone()).unwrap()).unwrap();
        let alone = Expected { share: 1.0, others: Vec::new(), ..expected.clone() };
        let alone = copied(&loss(&logits, alone).unwrap()).unwrap();
        assert!(alone[0] == alone[1] && alone[1] == both[1] && both[0] != both[1]);
        let wrong = Expected { tokens: Arc::new(vec![0, 11, 3, 3, 7, 1]), ..expected };
        assert!(loss(&logits, wrong).is_err());
    }
}
