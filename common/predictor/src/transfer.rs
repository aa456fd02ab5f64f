//! The kernel of the transfer posterior.

use super::TransferSettings;

/// One row of the transfer kernel: F·F′ + σ²·m·m′ + r·k + c₀ with F·F′ = Σ w z z′ − m m′.
pub(super) struct TransferRow<'a> {
    pub weights: &'a [f32],
    pub at_x: &'a [f32],
    pub mean_x: f32,
    pub settings: &'a TransferSettings,
}

impl TransferRow<'_> {
    pub fn entry(&self, at_y: &[f32], mean_y: f32, plain: f32) -> f32 {
        let s = self.settings;
        let dot: f32 = self.weights.iter().zip(self.at_x).zip(at_y).map(|((w, x), y)| w * x * y).sum();
        dot + (s.slope * s.slope - 1.0) * self.mean_x * mean_y + s.residual * plain + s.constant
    }

    /// The row over slots whose training tasks' values are `tasks[t · stride ..]`.
    pub fn fill(&self, tasks: &[f32], stride: usize, mean: &[f32], plain: &[f32], out: &mut [f32]) {
        const BLOCK: usize = 1024;
        let s = self.settings;
        let slope = (s.slope * s.slope - 1.0) * self.mean_x;
        let mut start = 0;
        while start < out.len() {
            let len = BLOCK.min(out.len() - start);
            let block = &mut out[start..start + len];
            for ((out, &m), &k) in block.iter_mut().zip(&mean[start..]).zip(&plain[start..]) {
                *out = slope * m + s.residual * k + s.constant;
            }
            for (t, (&w, &x)) in self.weights.iter().zip(self.at_x).enumerate() {
                if w > 0.0 {
                    let factor = w * x;
                    for (out, &v) in block.iter_mut().zip(&tasks[t * stride + start..]) {
                        *out += factor * v;
                    }
                }
            }
            start += len;
        }
    }
}
