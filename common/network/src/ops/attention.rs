//! Multi-head attention among the candidates of each observation.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{
    Segments,
    product::{Matrix, Then, add_product},
    simd::{LANES, exp_of_negative, vectorised},
    tensor, values, with_values,
};

/// Every candidate attends to all of its observation, itself included.
///
/// packed queries, keys and values [R, 3 H], of `heads` heads each → [R, H].
pub fn attention(packed: &Tensor, heads: usize, segments: &Arc<Segments>) -> Result<Tensor> {
    packed.apply_op1(Attention { heads, segments: segments.clone() })
}

struct Attention {
    heads: usize,
    segments: Arc<Segments>,
}

/// One head in the packed rows of one observation, n of them, D columns each.
struct Head<'a> {
    queries: Matrix<'a>,
    keys: Matrix<'a>,
    values: Matrix<'a>,
    /// What scores are multiplied with: 1/√D.
    scale: f32,
}

impl<'a> Head<'a> {
    /// Head number `head` of `packed` rows, [n, 3 H].
    fn new(packed: &'a [f32], width: usize, head: usize, size: usize) -> Self {
        let part = |index: usize| Matrix::new(&packed[index * width + head * size..], size, 3 * width);
        Self { queries: part(0), keys: part(1), values: part(2), scale: (size as f32).sqrt().recip() }
    }

    /// The attention each candidate (row) gets from each (column): [n, stride], of which n columns count.
    ///
    /// This way round the softmax runs down the columns, and nothing in it crosses the lanes of a register.
    fn attention(&self, count: usize, stride: usize) -> Vec<f32> {
        let mut attention = vec![0.0; count * stride];
        add_product(&mut attention, stride, self.keys, self.queries.transposed(), Then::Keep);
        softmax_down(&mut attention, stride, self.scale);
        attention
    }
}

/// Softmax of scores [rows, stride], multiplied with `scale` before, down each column.
pub fn softmax_down(scores: &mut [f32], stride: usize, scale: f32) {
    let (mut most, mut total) = (vec![f32::NEG_INFINITY; stride], vec![0.0; stride]);
    vectorised!({
        for row in scores.chunks_exact(stride) {
            for (most, score) in most.iter_mut().zip(row) {
                *most = if *score > *most { *score } else { *most };
            }
        }
        for row in scores.chunks_exact_mut(stride) {
            for ((score, most), total) in row.iter_mut().zip(&most).zip(&mut total) {
                *score = exp_of_negative((*score - most) * scale);
                *total += *score;
            }
        }
        total.iter_mut().for_each(|total| *total = 1.0 / *total);
        for row in scores.chunks_exact_mut(stride) {
            row.iter_mut().zip(&total).for_each(|(value, share)| *value *= share);
        }
    });
}

/// The way back through [`softmax_down`]: gradients of what it gave, `shares`, become those of its scores, in place.
pub fn softmax_down_gradient(gradients: &mut [f32], shares: &[f32], stride: usize, scale: f32) {
    let mut mean = vec![0.0; stride];
    vectorised!({
        for (gradients, shares) in gradients.chunks_exact(stride).zip(shares.chunks_exact(stride)) {
            for ((mean, gradient), share) in mean.iter_mut().zip(gradients).zip(shares) {
                *mean += gradient * share;
            }
        }
        for (gradients, shares) in gradients.chunks_exact_mut(stride).zip(shares.chunks_exact(stride)) {
            for ((gradient, share), mean) in gradients.iter_mut().zip(shares).zip(&mean) {
                *gradient = (*gradient - mean) * share * scale;
            }
        }
    });
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, packed: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, packed_width) = layout.shape().dims2()?;
        let width = packed_width / 3;
        if !packed_width.is_multiple_of(3) || !width.is_multiple_of(self.heads) {
            bail!("attention: {packed_width} columns for {} heads", self.heads);
        }
        let size = width / self.heads;
        let packed = values(packed, layout)?;
        let mut result = vec![0.0; rows * width];
        for range in self.segments.ranges() {
            let (count, stride) = (range.len(), range.len().next_multiple_of(LANES));
            let packed = &packed[range.start * 3 * width..range.end * 3 * width];
            let result = &mut result[range.start * width..range.end * width];
            for index in 0..self.heads {
                let head = Head::new(packed, width, index, size);
                let attention = head.attention(count, stride);
                let attention = Matrix::new(&attention, count, stride).transposed();
                add_product(&mut result[index * size..], width, attention, head.values, Then::Keep);
            }
        }
        Ok((CpuStorage::F32(result), (rows, width).into()))
    }

    fn bwd(&self, packed: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = result.dims2()?;
        let mut of_packed = vec![0.0; rows * 3 * width];
        with_values(packed, |packed| {
            with_values(gradient, |gradient| {
                for range in self.segments.ranges() {
                    let span = range.start * 3 * width..range.end * 3 * width;
                    let gradient = &gradient[range.start * width..range.end * width];
                    self.segment_gradient(&packed[span.clone()], gradient, width, &mut of_packed[span]);
                }
            })
        })??;
        Ok(Some(tensor(of_packed, (rows, 3 * width))?))
    }
}

impl Attention {
    /// Adds the gradient of one observation's packed rows, [n, 3 H], to `of_packed`; the attention is computed
    /// anew, which is cheaper than keeping it.
    fn segment_gradient(&self, packed: &[f32], gradient: &[f32], width: usize, of_packed: &mut [f32]) {
        let size = width / self.heads;
        let count = gradient.len() / width;
        let stride = count.next_multiple_of(LANES);
        for index in 0..self.heads {
            let head = Head::new(packed, width, index, size);
            let gradient = Matrix::new(&gradient[index * size..], size, width);
            let attention = head.attention(count, stride);
            let mut of_scores = vec![0.0; count * stride];
            add_product(&mut of_scores, stride, head.values, gradient.transposed(), Then::Keep);
            softmax_down_gradient(&mut of_scores, &attention, stride, head.scale);
            let of_scores = Matrix::new(&of_scores, count, stride);
            let attention = Matrix::new(&attention, count, stride);
            let mut add = |part: usize, left: Matrix, right: Matrix| {
                add_product(
                    &mut of_packed[part * width + index * size..],
                    3 * width,
                    left,
                    right,
                    Then::Keep,
                );
            };
            add(0, of_scores.transposed(), head.keys);
            add(1, of_scores, head.queries);
            add(2, attention, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::D;

    use super::{super::check, *};

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        let segments = Arc::new(check::segments());
        let (heads, size) = (3, 5);
        let packed = check::variable(1, &[26, 3 * heads * size])?;
        let spread = (&packed.as_detached_tensor() * 3.0)?;
        let packed = candle_core::Var::from_tensor(&spread)?;
        let of_segment = |start: usize, count: usize| -> Result<Tensor> {
            let part = |index: usize| -> Result<Tensor> {
                let part = packed.narrow(0, start, count)?.narrow(1, index * heads * size, heads * size)?;
                part.reshape((count, heads, size))?.transpose(0, 1)?.contiguous()
            };
            let scores = (part(0)?.matmul(&part(1)?.t()?)? / (size as f64).sqrt())?;
            let weights = scores.exp()?;
            let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
            weights.matmul(&part(2)?)?.transpose(0, 1)?.reshape((count, heads * size))
        };
        let parts: Vec<Tensor> =
            segments.ranges().map(|range| of_segment(range.start, range.len())).collect::<Result<_>>()?;
        check::same(&attention(&packed, heads, &segments)?, &Tensor::cat(&parts, 0)?, &[&packed])
    }

    #[test]
    fn one_candidate_attends_to_itself() -> Result<()> {
        let segments = Arc::new(Segments { offsets: vec![0, 1] });
        let packed = check::variable(1, &[1, 12])?;
        let result = attention(&packed, 2, &segments)?;
        assert!(check::difference(&result, &packed.narrow(1, 8, 4)?)? < 1e-6);
        Ok(())
    }
}
