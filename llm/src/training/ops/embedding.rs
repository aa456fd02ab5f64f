//! Rows of a table.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use srnas_network::ops::{add_to, tensor, values, with_values};
use std::sync::Arc;

/// The rows that tokens name: table [vocabulary, H] → [tokens, H].
pub fn embedding(table: &Tensor, tokens: &Arc<Vec<u32>>) -> Result<Tensor> {
    table.apply_op1(Embedding(tokens.clone()))
}

struct Embedding(Arc<Vec<u32>>);

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "token-embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let table = values(table, layout)?;
        if let Some(token) = self.0.iter().find(|t| **t as usize >= rows) {
            bail!("embedding: token {token} of {rows}");
        }
        let row = |token: &u32| &table[*token as usize * width..][..width];
        let result = self.0.iter().flat_map(row).copied().collect();
        Ok((CpuStorage::F32(result), (self.0.len(), width).into()))
    }

    fn bwd(&self, table: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let width = table.dim(1)?;
        let mut of_table = vec![0.0; table.elem_count()];
        with_values(&gradient.contiguous()?, |gradient| {
            for (token, row) in self.0.iter().zip(gradient.chunks_exact(width)) {
                add_to(&mut of_table[*token as usize * width..][..width], row);
            }
        })?;
        Ok(Some(tensor(of_table, table.dims())?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn gradients_are_right_also_of_a_token_that_comes_twice() {
        let table = check::variable(1, &[5, 8]);
        let tokens = Arc::new(vec![3, 0, 3, 4]);
        check::gradients(&[&table], || embedding(&table, &tokens)?.sqr());
        assert!(embedding(&table, &Arc::new(vec![5])).is_err());
    }
}
