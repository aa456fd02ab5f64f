//! The gated unit of an MLP: silu(gate) · up (arXiv 2002.05202).

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use srnas_network::{
    ops::{simd::exp_of_negative, tensor, values, with_values},
    vectorised,
};

/// silu(gate) · up, number by number; both of one shape.
pub fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2(up, Gated)
}

struct Gated;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp_of_negative(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if gate_layout.shape() != up_layout.shape() {
            bail!("gated: {:?} and {:?}", gate_layout.shape(), up_layout.shape());
        }
        let mut result = values(gate, gate_layout)?.to_vec();
        let up = values(up, up_layout)?;
        vectorised!(result.iter_mut().zip(up).for_each(|(gate, up)| *gate *= sigmoid(*gate) * up));
        Ok((CpuStorage::F32(result), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (mut of_gate, mut of_up) = (vec![0.0; gate.elem_count()], vec![0.0; gate.elem_count()]);
        with_values(gate, |gate| {
            with_values(up, |up| {
                with_values(&gradient, |gradient| {
                    let given = gate.iter().zip(up).zip(gradient);
                    vectorised!(for (((gate, up), gradient), (of_gate, of_up)) in
                        given.clone().zip(of_gate.iter_mut().zip(of_up.iter_mut()))
                    {
                        let s = sigmoid(*gate);
                        *of_up = gradient * gate * s;
                        *of_gate = gradient * up * s * (1.0 + gate * (1.0 - s));
                    });
                })
            })
        })???;
        Ok((Some(tensor(of_gate, gate.dims())?), Some(tensor(of_up, up.dims())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn gradients_are_right() {
        let (gate, up) = (check::variable(1, &[6, 19]), check::variable(2, &[6, 19]));
        check::gradients(&[&gate, &up], || gated(&gate, &up));
        assert!(gated(&gate, &check::variable(2, &[5, 19])).is_err());
    }
}
