//! The loss of classifiers.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{copied, tensor, values, with_values};

/// The mean cross-entropy, in nats, of logits [classes, 1, 1, N] and the labels of the first images; images beyond the
/// labels do not count. A scalar.
pub fn cross_entropy(logits: &Tensor, labels: &Arc<[u8]>) -> Result<Tensor> {
    logits.apply_op1(CrossEntropy(labels.clone()))
}

/// Logarithms of the class probabilities: logits [classes, 1, 1, N] → values [classes, N], row by row.
pub fn log_probabilities(logits: &Tensor) -> Result<Vec<f32>> {
    let batch = logits.dim(3)?;
    let mut result = copied(logits)?;
    with_values(logits, |logits| log_softmax(logits, batch, &mut result))?;
    Ok(result)
}

/// Takes from each of `result`, equal to logits [classes, batch], the logarithm of the sum of its image's exponentials.
pub fn log_softmax(logits: &[f32], batch: usize, result: &mut [f32]) {
    let mut most = vec![f32::NEG_INFINITY; batch];
    for row in logits.chunks_exact(batch) {
        most.iter_mut().zip(row).for_each(|(most, &v)| *most = if v > *most { v } else { *most });
    }
    // In double precision, whose last bits may differ between systems, and rounded, which hides them.
    let mut sums = vec![0.0f64; batch];
    for row in logits.chunks_exact(batch) {
        sums.iter_mut().zip(row).zip(&most).for_each(|((sum, v), most)| *sum += f64::from(v - most).exp());
    }
    let log: Vec<f32> = sums.iter().zip(&most).map(|(sum, most)| most + sum.ln() as f32).collect();
    for row in result.chunks_exact_mut(batch) {
        row.iter_mut().zip(&log).for_each(|(v, log)| *v -= log);
    }
}

/// The mean over images of KL(p ‖ q), in nats, p and q the class probabilities of the logits `left` and `right`, both
/// [classes, 1, 1, N]. A scalar.
pub fn divergence(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.apply_op2(right, Divergence)
}

struct Divergence;

impl CustomOp2 for Divergence {
    fn name(&self) -> &'static str {
        "divergence"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if left_layout.shape() != right_layout.shape() {
            bail!("divergence: {:?} and {:?}", left_layout.shape(), right_layout.shape());
        }
        let batch = left_layout.shape().dims4()?.3;
        let log = |logits: &[f32]| {
            let mut result = logits.to_vec();
            log_softmax(logits, batch, &mut result);
            result
        };
        let (left, right) = (log(values(left, left_layout)?), log(values(right, right_layout)?));
        let sum: f64 = left.iter().zip(&right).map(|(&p, &q)| f64::from(p).exp() * f64::from(p - q)).sum();
        Ok((CpuStorage::F32(vec![(sum / batch as f64) as f32]), ().into()))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let batch = left.dim(3)?;
        let scale = gradient.to_scalar::<f32>()? / batch as f32;
        let (p, q) = (log_probabilities(left)?, log_probabilities(right)?);
        // ∂/∂left = p (log p − log q − KL), ∂/∂right = q − p, image by image.
        let mut divergences = vec![0.0; batch];
        for (p, q) in p.chunks_exact(batch).zip(q.chunks_exact(batch)) {
            for ((sum, &p), &q) in divergences.iter_mut().zip(p).zip(q) {
                *sum += f64::from(p).exp() as f32 * (p - q);
            }
        }
        let (mut of_left, mut of_right) = (p.clone(), q.clone());
        for (index, (of_left, of_right)) in of_left.iter_mut().zip(&mut of_right).enumerate() {
            let (log_p, log_q) = (*of_left, *of_right);
            let (p, q) = (f64::from(log_p).exp() as f32, f64::from(log_q).exp() as f32);
            *of_left = scale * p * (log_p - log_q - divergences[index % batch]);
            *of_right = scale * (q - p);
        }
        Ok((Some(tensor(of_left, left.shape())?), Some(tensor(of_right, right.shape())?)))
    }
}

struct CrossEntropy(Arc<[u8]>);

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (classes, _, _, batch) = layout.shape().dims4()?;
        let labels = &self.0;
        if labels.is_empty() || labels.len() > batch || labels.iter().any(|&l| usize::from(l) >= classes) {
            bail!("cross-entropy: {} labels for logits {:?}", labels.len(), layout.shape());
        }
        let logits = values(logits, layout)?;
        let mut result = logits.to_vec();
        log_softmax(logits, batch, &mut result);
        let total: f32 = labels.iter().enumerate().map(|(n, &l)| result[usize::from(l) * batch + n]).sum();
        Ok((CpuStorage::F32(vec![-total / labels.len() as f32]), ().into()))
    }

    fn bwd(&self, logits: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (labels, batch) = (&self.0, logits.dim(3)?);
        let scale = gradient.to_scalar::<f32>()? / labels.len() as f32;
        let mut result = log_probabilities(logits)?;
        for row in result.chunks_exact_mut(batch) {
            let (counted, rest) = row.split_at_mut(labels.len());
            counted.iter_mut().for_each(|v| *v = scale * f64::from(*v).exp() as f32);
            rest.fill(0.0);
        }
        labels.iter().enumerate().for_each(|(n, &l)| result[usize::from(l) * batch + n] -= scale);
        tensor(result, logits.shape()).map(Some)
    }
}
