//! Causal attention of rotated queries to rotated keys (arXiv 2104.09864), several query heads to a key head (arXiv 2305.13245).

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{
    attention::{softmax_down, softmax_down_gradient},
    product::{Matrix, Then, add_product},
    simd::LANES,
    tensor, values, with_values,
};
use std::sync::Arc;

/// How rows are sequences, and columns heads.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; as many query heads share each.
    pub kv_heads: usize,
    /// Columns of a head; even.
    pub head_dim: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// For each place in a sequence, cosines, then sines of its angles: [length, head_dim].
    pub angles: Arc<Vec<f32>>,
}

/// Each token attends to itself and to what came before it in its sequence.
///
/// queries [R, heads · head_dim], keys and values [R, kv_heads · head_dim], R whole sequences → [R, heads · head_dim].
pub fn attention(queries: &Tensor, keys: &Tensor, of_keys: &Tensor, heads: &Heads) -> Result<Tensor> {
    queries.apply_op3(keys, of_keys, Attention(heads.clone()))
}

/// Queries at a time: what comes after the last of them is not looked at.
const BLOCK: usize = 64;

struct Attention(Heads);

/// Some queries of one head of a sequence, and what they may see.
struct Part<'a> {
    /// [queries, head_dim].
    queries: Matrix<'a>,
    /// [seen, head_dim].
    keys: Matrix<'a>,
    values: Matrix<'a>,
    /// The first query's place in the sequence, and the number of queries.
    first: usize,
    count: usize,
}

impl Part<'_> {
    /// Keys seen by the last query.
    fn seen(&self) -> usize {
        self.first + self.count
    }

    fn stride(&self) -> usize {
        self.count.next_multiple_of(LANES)
    }

    /// What each query (column) gets of each key (row): [seen, stride], of which `count` columns count. This way round the softmax
    /// runs down the columns, and nothing in it crosses the lanes of a register.
    fn attention(&self, scale: f32) -> Vec<f32> {
        let stride = self.stride();
        let mut attention = vec![0.0; self.seen() * stride];
        add_product(&mut attention, stride, self.keys, self.queries.transposed(), Then::Keep);
        for (later, row) in attention.chunks_exact_mut(stride).skip(self.first).enumerate() {
            row[..later].fill(f32::NEG_INFINITY);
        }
        softmax_down(&mut attention, stride, scale);
        attention
    }
}

impl Heads {
    fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    /// Turns each pair (i, i + half) of each head by its place's angle, or back.
    fn rotate(&self, rows: &mut [f32], heads: usize, back: bool) {
        let (size, half) = (self.head_dim, self.head_dim / 2);
        let sign = if back { -1.0 } else { 1.0 };
        for (row, heads) in rows.chunks_exact_mut(heads * size).enumerate() {
            let (cos, sin) = self.angles[row % self.length * size..][..size].split_at(half);
            for head in heads.chunks_exact_mut(size) {
                let (low, high) = head.split_at_mut(half);
                for (((low, high), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    let (a, b) = (*low, *high);
                    *low = a * cos - b * sin * sign;
                    *high = b * cos + a * sin * sign;
                }
            }
        }
    }

    fn rotated(&self, rows: &[f32], heads: usize) -> Vec<f32> {
        let mut rotated = rows.to_vec();
        self.rotate(&mut rotated, heads, false);
        rotated
    }

    /// Visits every part of rotated queries and keys: its place among the rows, its query head and its key head.
    fn parts<'a>(
        &self,
        [queries, keys, values]: [&'a [f32]; 3],
        mut visit: impl FnMut(usize, usize, usize, Part<'a>),
    ) {
        let (q_dim, kv_dim, size) = (self.q_dim(), self.kv_dim(), self.head_dim);
        let group = self.heads / self.kv_heads;
        for start in (0..queries.len() / q_dim).step_by(self.length) {
            for head in 0..self.heads {
                let kv = head / group;
                for first in (0..self.length).step_by(BLOCK) {
                    let count = BLOCK.min(self.length - first);
                    let rows = |all: &'a [f32], from: usize, n: usize, dim: usize, head: usize| {
                        let begin = from * dim + head * size;
                        Matrix::new(&all[begin..][..(n - 1) * dim + size], size, dim)
                    };
                    let part = Part {
                        queries: rows(queries, start + first, count, q_dim, head),
                        keys: rows(keys, start, first + count, kv_dim, kv),
                        values: rows(values, start, first + count, kv_dim, kv),
                        first,
                        count,
                    };
                    visit(start, head, kv, part);
                }
            }
        }
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let heads = &self.0;
        let (rows, q_dim) = q_layout.shape().dims2()?;
        let kv = (rows, heads.kv_dim());
        if !rows.is_multiple_of(heads.length)
            || q_dim != heads.q_dim()
            || k_layout.shape().dims2()? != kv
            || v_layout.shape().dims2()? != kv
        {
            bail!("attention: {rows} rows of {q_dim} for {heads:?}");
        }
        let queries = heads.rotated(values(q, q_layout)?, heads.heads);
        let keys = heads.rotated(values(k, k_layout)?, heads.kv_heads);
        let of_keys = values(v, v_layout)?;
        let mut result = vec![0.0; rows * q_dim];
        heads.parts([&queries, &keys, of_keys], |start, head, _, part| {
            let attention = part.attention(heads.scale());
            let attention = Matrix::new(&attention, part.count, part.stride()).transposed();
            let result = &mut result[(start + part.first) * q_dim + head * heads.head_dim..];
            add_product(result, q_dim, attention, part.values, Then::Keep);
        });
        Ok((CpuStorage::F32(result), (rows, q_dim).into()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let heads = &self.0;
        let (rows, q_dim) = q.dims2()?;
        let kv_dim = heads.kv_dim();
        let queries = with_values(q, |q| heads.rotated(q, heads.heads))?;
        let keys = with_values(k, |k| heads.rotated(k, heads.kv_heads))?;
        let mut of_queries = vec![0.0; rows * q_dim];
        let (mut of_keys, mut of_values) = (vec![0.0; rows * kv_dim], vec![0.0; rows * kv_dim]);
        with_values(v, |v| {
            with_values(&gradient.contiguous()?, |gradient| {
                heads.parts([&queries, &keys, v], |start, head, kv, part| {
                    let at = (start + part.first) * q_dim + head * heads.head_dim;
                    let size = (part.count - 1) * q_dim + heads.head_dim;
                    let gradient = Matrix::new(&gradient[at..][..size], heads.head_dim, q_dim);
                    let (attention, of_scores) = part.gradients(gradient, heads.scale());
                    let columns = |values| Matrix::new(values, part.count, part.stride());
                    let (attention, of_scores) = (columns(&attention), columns(&of_scores));
                    let place = start * kv_dim + kv * heads.head_dim;
                    add_product(&mut of_values[place..], kv_dim, attention, gradient, Then::Keep);
                    add_product(&mut of_keys[place..], kv_dim, of_scores, part.queries, Then::Keep);
                    add_product(&mut of_queries[at..], q_dim, of_scores.transposed(), part.keys, Then::Keep);
                });
            })
        })??;
        heads.rotate(&mut of_queries, heads.heads, true);
        heads.rotate(&mut of_keys, heads.kv_heads, true);
        let of = |values, dim| tensor(values, (rows, dim)).map(Some);
        Ok((of(of_queries, q_dim)?, of(of_keys, kv_dim)?, of(of_values, kv_dim)?))
    }
}

impl Part<'_> {
    /// The attention, computed anew, which is cheaper than keeping it, and the gradients of its scores: [seen, stride] both.
    fn gradients(&self, gradient: Matrix, scale: f32) -> (Vec<f32>, Vec<f32>) {
        let stride = self.stride();
        let attention = self.attention(scale);
        let mut of_scores = vec![0.0; self.seen() * stride];
        add_product(&mut of_scores, stride, self.values, gradient.transposed(), Then::Keep);
        softmax_down_gradient(&mut of_scores, &attention, stride, scale);
        (attention, of_scores)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn heads(length: usize) -> Heads {
        let angles = (0..length).flat_map(|place| {
            let angle = |p: usize| place as f32 / 10f32.powi(p as i32);
            [angle(0).cos(), angle(1).cos(), angle(0).sin(), angle(1).sin()]
        });
        Heads { heads: 4, kv_heads: 2, head_dim: 4, length, angles: Arc::new(angles.collect()) }
    }

    #[test]
    fn gradients_are_right_within_a_block_and_over_several() {
        for (sequences, length) in [(3, 5), (1, 70)] {
            let rows = sequences * length;
            let (q, k) = (check::variable(1, &[rows, 16]), check::variable(2, &[rows, 8]));
            let v = check::variable(3, &[rows, 8]);
            check::gradients(&[&q, &k, &v], || attention(&q, &k, &v, &heads(length)));
        }
    }

    #[test]
    fn a_token_sees_its_own_sequence_up_to_itself() {
        let (q, k, v) =
            (check::variable(1, &[10, 16]), check::variable(2, &[10, 8]), check::variable(3, &[10, 8]));
        let out = attention(&q, &k, &v, &heads(5)).unwrap();
        for row in 0..10 {
            let one = out.narrow(0, row, 1).unwrap().sum_all().unwrap();
            let store = one.backward().unwrap();
            let of_values = store.get(&v).unwrap().abs().unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
            for (other, gradient) in of_values.iter().enumerate() {
                let seen = other / 5 == row / 5 && other <= row;
                assert_eq!(*gradient > 0.0, seen, "{row} of {other}");
            }
        }
        assert!(attention(&q, &k, &v, &heads(4)).is_err());
    }
}
