//! The sum of table rows that stands for what an architecture is.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{Segments, add_to, tensor, values, with_values};

/// `base` of the observation plus the sum of the table rows named by `entries`.
///
/// base [B, H], table [decisions, choices, H], entries [R, decisions] (rows of the flat table) → [R, H].
pub fn embedding(
    base: &Tensor,
    table: &Tensor,
    entries: &Arc<Vec<u32>>,
    segments: &Arc<Segments>,
) -> Result<Tensor> {
    base.apply_op2(table, Embedding { entries: entries.clone(), segments: segments.clone() })
}

struct Embedding {
    entries: Arc<Vec<u32>>,
    segments: Arc<Segments>,
}

impl CustomOp2 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(
        &self,
        base: &CpuStorage,
        base_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (count, width) = base_layout.shape().dims2()?;
        let (decisions, _, table_width) = table_layout.shape().dims3()?;
        let (base, table) = (values(base, base_layout)?, values(table, table_layout)?);
        let rows = self.segments.offsets[self.segments.count()];
        if count != self.segments.count() || width != table_width || self.entries.len() != rows * decisions {
            bail!(
                "embedding: base [{count}, {width}], table of {table_width}, {} entries",
                self.entries.len()
            );
        }
        let mut result = Vec::with_capacity(rows * width);
        let mut entries = self.entries.chunks_exact(decisions);
        for (range, base) in self.segments.ranges().zip(base.chunks_exact(width)) {
            for entries in entries.by_ref().take(range.len()) {
                let start = result.len();
                result.extend_from_slice(base);
                for entry in entries {
                    add_to(&mut result[start..], &table[*entry as usize * width..][..width]);
                }
            }
        }
        Ok((CpuStorage::F32(result), (rows, width).into()))
    }

    fn bwd(
        &self,
        base: &Tensor,
        table: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (decisions, _, width) = table.dims3()?;
        let (mut of_base, mut of_table) = (vec![0.0; base.elem_count()], vec![0.0; table.elem_count()]);
        with_values(gradient, |gradient| {
            let mut rows = gradient.chunks_exact(width).zip(self.entries.chunks_exact(decisions));
            for (range, of_base) in self.segments.ranges().zip(of_base.chunks_exact_mut(width)) {
                for (gradient, entries) in rows.by_ref().take(range.len()) {
                    add_to(of_base, gradient);
                    for entry in entries {
                        add_to(&mut of_table[*entry as usize * width..][..width], gradient);
                    }
                }
            }
        })?;
        Ok((Some(tensor(of_base, base.dims())?), Some(tensor(of_table, table.dims())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn equals_the_composed_operation() -> Result<()> {
        let segments = Arc::new(check::segments());
        let base = check::variable(1, &[4, 6])?;
        let table = check::variable(2, &[3, 5, 6])?;
        let entries: Vec<u32> = (0..26 * 3).map(|index| index % 3 * 5 + index * 7 % 5).collect();
        let owners: Vec<u32> = segments
            .ranges()
            .enumerate()
            .flat_map(|(index, range)| range.map(move |_| index as u32))
            .collect();
        let composed = base.index_select(&Tensor::new(owners, base.device())?, 0)?;
        let named = table.reshape((15, 6))?.index_select(&Tensor::new(entries.clone(), base.device())?, 0)?;
        let composed = (composed + named.reshape((26, 3, 6))?.sum(1)?)?;
        let fused = embedding(&base, &table, &Arc::new(entries), &segments)?;
        check::same(&fused, &composed, &[&base, &table])
    }
}
