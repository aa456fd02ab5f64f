//! A network over the choices of a space: what a benchmark file answers with where it has no row.
//!
//! Each *slot* is one decision or a few; their choices pick a row of the first layer, which is the sum of these rows and of a bias for each
//! metric. It is cut into *branches*, each a chain of dense layers with one activation after every layer but the last; the sum of the
//! branches' last layers is what the metrics are read from. One-hot inputs, embeddings, and inputs that are the same for a whole metric (such
//! as epochs) are all of this form, so that published networks and fitted ones are one.
//!
//! Every sum is taken in one order, whatever asks and however wide a processor's registers: an architecture has one value, but for the last bit
//! of the system's exponential function.

use serde::{Deserialize, Serialize};
use srnas_space::{Choices, SearchSpace};
use std::{fmt, sync::Arc};

/// What the metadata says of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkInfo {
    /// Whether the file's rows were measured, and the network stands in for what was not; else they are its own predictions.
    pub rows_are_measured: bool,
    /// Decisions whose choices together pick a row of the first layer, the last one's next to each other.
    pub slots: Vec<Vec<usize>>,
    /// Chains of layers, side by side.
    pub branches: Vec<Branch>,
    /// What is read from it; each has a bias of the first layer at its place.
    pub outputs: Vec<Output>,
    /// How well a fitted network does on rows that it was not fitted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// A chain of layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// Widths of its hidden layers, the first of which is its part of the first layer; none where that is read from as it is.
    pub hidden: Vec<usize>,
    /// After each hidden layer.
    pub activation: Activation,
}

/// What follows a hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// Scaled exponential linear unit (arXiv 1706.02515).
    Selu,
}

/// A metric that is read from a network: offset + scale · x, or offset + scale · sigmoid(x).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The metric.
    pub metric: String,
    /// Which of the last layers' sums it is read from.
    pub column: usize,
    /// Whether through a sigmoid.
    pub sigmoid: bool,
    /// Of it.
    pub scale: f32,
    /// Added to it.
    pub offset: f32,
}

/// How well a fitted network does on rows that it was not fitted on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// So many rows.
    pub rows: usize,
    /// Kendall's τ between their values and the network's.
    pub kendall: f64,
    /// Spearman's ρ.
    pub spearman: f64,
    /// Mean absolute error, in the metric's unit.
    pub mean_error: f64,
}

/// The numbers of a network, as they lie in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// f32 [rows of all slots, width of the first layer].
    pub first: Vec<f32>,
    /// f32 [outputs, width of the first layer].
    pub bias: Vec<f32>,
    /// By branch and layer: f32 [inputs, outputs], and f32 [outputs].
    pub layers: Vec<Vec<(Vec<f32>, Vec<f32>)>>,
}

impl NetworkInfo {
    /// Number of sums that metrics are read from.
    pub fn columns(&self) -> usize {
        self.outputs.iter().map(|output| output.column + 1).max().unwrap_or(0)
    }

    /// Width of a branch's part of the first layer.
    fn first_of(&self, branch: &Branch) -> usize {
        branch.hidden.first().copied().unwrap_or_else(|| self.columns())
    }

    /// Width of the first layer.
    pub fn width(&self) -> usize {
        self.branches.iter().map(|branch| self.first_of(branch)).sum()
    }

    /// Inputs and outputs of each later layer of a branch.
    pub fn layers(&self, branch: &Branch) -> Vec<[usize; 2]> {
        let widths: Vec<usize> = branch.hidden.iter().copied().chain([self.columns()]).collect();
        widths.windows(2).map(|pair| [pair[0], pair[1]]).collect()
    }

    /// Rows of each slot.
    pub fn rows(&self, space: &SearchSpace) -> Vec<usize> {
        let rows = |slot: &Vec<usize>| slot.iter().map(|&d| usize::from(space.arity(d))).product();
        self.slots.iter().map(rows).collect()
    }

    /// Refuses what is no network over this space: names the part.
    pub(super) fn check(&self, space: &SearchSpace) -> Result<(), String> {
        const MOST: usize = 1 << 14;
        const MOST_ROWS: usize = 1 << 24;
        if self.slots.is_empty() || self.branches.is_empty() || self.outputs.is_empty() {
            return Err("its network has no slots, no branches or no outputs".into());
        }
        for slot in &self.slots {
            let known = !slot.is_empty() && slot.len() <= 4 && slot.iter().all(|d| *d < space.len());
            if !known {
                return Err(format!(
                    "a slot of its network is {slot:?}: one to four of the space's {} decisions",
                    space.len()
                ));
            }
        }
        // Products below are of numbers that a file gives.
        let mut rows = self
            .slots
            .iter()
            .map(|slot| slot.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::from(space.arity(d)))));
        let rows = rows.try_fold(0usize, |sum, n| sum.checked_add(n?)).filter(|&rows| rows <= MOST_ROWS);
        let many = self.branches.len() > MOST || self.slots.len() > MOST || self.outputs.len() > MOST;
        if rows.is_none() || many {
            return Err("its network is larger than any: too many slots, rows, branches or outputs".into());
        }
        let mut widths = self.branches.iter().flat_map(|branch| &branch.hidden);
        if let Some(width) = widths.find(|width| **width == 0 || **width > MOST) {
            return Err(format!("a layer of its network is {width} wide; 1 to {MOST} are possible"));
        }
        for (place, output) in self.outputs.iter().enumerate() {
            if self.outputs[..place].iter().any(|other| other.metric == output.metric) {
                return Err(format!("its network gives `{}` twice", output.metric));
            }
            if output.column >= MOST
                || !output.scale.is_finite()
                || !output.offset.is_finite()
                || output.scale == 0.0
            {
                return Err(format!("its network gives `{}` by numbers that are none", output.metric));
            }
        }
        Ok(())
    }
}

/// A network that is ready to be asked.
pub struct Network {
    info: NetworkInfo,
    space: Arc<SearchSpace>,
    weights: Weights,
    /// First row of each slot.
    offsets: Vec<usize>,
}

/// Architectures that go through a layer together: its weights are read once for all of them.
const TOGETHER: usize = 8;

impl Network {
    /// A network from its parts.
    ///
    /// # Errors
    /// Says which part does not fit the description, or is not a number.
    pub fn new(info: NetworkInfo, space: Arc<SearchSpace>, weights: Weights) -> Result<Self, String> {
        info.check(&space)?;
        let (rows, width) = (info.rows(&space), info.width());
        let fits = |what: &str, values: &[f32], expected: usize| match values.iter().all(|v| v.is_finite()) {
            _ if values.len() != expected => {
                Err(format!("{what} of its network has {} numbers, not {expected}", values.len()))
            }
            true => Ok(()),
            false => Err(format!("{what} of its network has something that is not a number")),
        };
        fits("the first layer", &weights.first, rows.iter().sum::<usize>() * width)?;
        fits("the bias", &weights.bias, info.outputs.len() * width)?;
        if weights.layers.len() != info.branches.len() {
            return Err(format!(
                "its network has {} branches, not {}",
                weights.layers.len(),
                info.branches.len()
            ));
        }
        for (b, (branch, layers)) in info.branches.iter().zip(&weights.layers).enumerate() {
            let shapes = info.layers(branch);
            if shapes.len() != layers.len() {
                return Err(format!(
                    "branch {b} of its network has {} layers, not {}",
                    layers.len(),
                    shapes.len()
                ));
            }
            for (l, ([inputs, outputs], (weight, bias))) in shapes.into_iter().zip(layers).enumerate() {
                fits(&format!("layer {l} of branch {b}"), weight, inputs * outputs)?;
                fits(&format!("layer {l} of branch {b}"), bias, outputs)?;
            }
        }
        let offsets = rows.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
        Ok(Self { info, space, weights, offsets })
    }

    /// Its description.
    pub fn info(&self) -> &NetworkInfo {
        &self.info
    }

    /// Its numbers.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Place of a metric among its outputs.
    pub fn output(&self, metric: &str) -> Option<usize> {
        self.info.outputs.iter().position(|output| output.metric == metric)
    }

    /// The values of a metric, by the place of its output, for architectures u8 [architectures, decisions].
    pub fn values(&self, output: usize, architectures: &[u8]) -> Vec<f32> {
        let d = self.space.len();
        let mut all = Vec::with_capacity(architectures.len() / d);
        for together in architectures.chunks(TOGETHER * d) {
            self.add_values(output, together, &mut all);
        }
        all
    }

    /// The value of a metric for one architecture.
    pub fn value(&self, output: usize, choices: &Choices) -> f32 {
        self.values(output, choices)[0]
    }

    fn add_values(&self, output: usize, architectures: &[u8], out: &mut Vec<f32>) {
        let (d, width, columns) = (self.space.len(), self.info.width(), self.info.columns());
        let n = architectures.len() / d;
        let mut first = Vec::with_capacity(n * width);
        let mut active = vec![0; d];
        for choices in architectures.chunks_exact(d) {
            active.copy_from_slice(choices);
            self.space.activate(&mut active);
            first.extend_from_slice(&self.weights.bias[output * width..][..width]);
            self.add_rows(&active, &mut first);
        }
        let mut sums = vec![0.0; n * columns];
        let mut start = 0;
        for (branch, layers) in self.info.branches.iter().zip(&self.weights.layers) {
            let own = self.info.first_of(branch);
            let parts = first.chunks_exact(width).flat_map(|row| &row[start..start + own]);
            let mut values: Vec<f32> = parts.copied().collect();
            for (weight, bias) in layers {
                branch.activation.apply(&mut values);
                values = dense(&values, n, weight, bias);
            }
            sums.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
            start += own;
        }
        let Output { column, sigmoid, scale, offset, .. } = self.info.outputs[output];
        out.extend(sums.chunks_exact(columns).map(|sums| {
            let x = sums[column];
            offset + scale * if sigmoid { 1.0 / (1.0 + (-x).exp()) } else { x }
        }));
    }

    /// Adds the rows that the choices pick to the last row of the first layer.
    fn add_rows(&self, choices: &Choices, first: &mut [f32]) {
        let width = self.info.width();
        let start = first.len() - width;
        let own = &mut first[start..];
        for (slot, offset) in self.info.slots.iter().zip(&self.offsets) {
            let row = slot
                .iter()
                .fold(0, |row, &d| row * usize::from(self.space.arity(d)) + usize::from(choices[d]));
            let picked = &self.weights.first[(offset + row) * width..][..width];
            own.iter_mut().zip(picked).for_each(|(sum, value)| *sum += value);
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Network({} slots, {} branches, {} outputs)",
            self.info.slots.len(),
            self.info.branches.len(),
            self.info.outputs.len()
        )
    }
}

impl Activation {
    fn apply(self, values: &mut [f32]) {
        const ALPHA: f32 = 1.673_263_2;
        const SCALE: f32 = 1.050_701;
        let of = |x: f32| match self {
            Self::Relu => x.max(0.0),
            Self::Selu if x > 0.0 => SCALE * x,
            Self::Selu => SCALE * ALPHA * (x.exp() - 1.0),
        };
        values.iter_mut().for_each(|x| *x = of(*x));
    }
}

/// f32 [rows, inputs] times f32 [inputs, outputs], plus f32 [outputs].
fn dense(values: &[f32], rows: usize, weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (values.len() / rows, bias.len());
    let mut out: Vec<f32> = bias.repeat(rows);
    // Products and sums apart, not fused: the same on every processor, however wide its registers.
    pulp::Arch::new().dispatch(|| {
        // Four inputs at a time: what is summed is read and written a quarter as often.
        let blocks = weight.chunks(4 * outputs).zip((0..inputs).step_by(4));
        for (weights, first) in blocks {
            for (values, out) in values.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
                match values[first..] {
                    [a, b, c, d, ..] if weights.len() == 4 * outputs => {
                        let (wa, rest) = weights.split_at(outputs);
                        let (wb, rest) = rest.split_at(outputs);
                        let (wc, wd) = rest.split_at(outputs);
                        let all = out.iter_mut().zip(wa).zip(wb).zip(wc).zip(wd);
                        all.for_each(|((((o, wa), wb), wc), wd)| *o = *o + a * wa + b * wb + c * wc + d * wd);
                    }
                    ref few => {
                        for (x, row) in few.iter().zip(weights.chunks_exact(outputs)) {
                            out.iter_mut().zip(row).for_each(|(o, w)| *o += x * w);
                        }
                    }
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Condition, Conditional, Decision};

    fn space() -> Arc<SearchSpace> {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b"]);
        // The last does not count where the first is `a`.
        let condition = Condition { decision: 2, depends_on: 0, active_if: vec![1] };
        Arc::new(Conditional::space("s", (0..3).map(decision).collect(), vec![condition]).unwrap())
    }

    fn info() -> NetworkInfo {
        let output = |metric: &str, sigmoid| Output {
            metric: metric.into(),
            column: 0,
            sigmoid,
            scale: 2.0,
            offset: 1.0,
        };
        NetworkInfo {
            rows_are_measured: false,
            slots: vec![vec![0], vec![1, 2]],
            branches: vec![
                Branch { hidden: vec![2, 5], activation: Activation::Relu },
                Branch { hidden: vec![], activation: Activation::Selu },
            ],
            outputs: vec![output("d/linear", false), output("d/squashed", true)],
            held_out: None,
        }
    }

    fn weights() -> Weights {
        // First layer: two columns of the first branch, one of the second, which is what is read.
        let first = vec![
            1.0, -1.0, 0.5, 2.0, 0.0, 0.25, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -0.7, 0.8, 0.9, -1.0, 1.1, 1.2,
        ];
        let bias = vec![0.1, 0.2, 0.3, 0.0, 0.0, 0.0];
        let five =
            (vec![1.0, 2.0, 3.0, 4.0, 5.0, -1.0, -2.0, -3.0, -4.0, -5.0], vec![0.0, 0.1, 0.2, 0.3, 0.4]);
        let last = (vec![1.0, -1.0, 1.0, -1.0, 1.0], vec![0.5]);
        Weights { first, bias, layers: vec![vec![five, last], vec![]] }
    }

    #[test]
    fn a_value_is_what_is_worked_out_by_hand_and_depends_on_what_counts_alone() {
        let network = Network::new(info(), space(), weights()).unwrap();
        // Choices b, a, b: row 1 of the first slot and row 1 of the second.
        let h: [f64; 3] = [2.0 + 0.4 + 0.1, 0.5 + 0.2, 0.25 + 0.6 + 0.3];
        let inner: Vec<f64> =
            (1..=5).map(|k| (f64::from(k) * (h[0] - h[1]) + 0.1 * f64::from(k - 1)).max(0.0)).collect();
        let expected = inner[0] - inner[1] + inner[2] - inner[3] + inner[4] + 0.5 + h[2];
        assert!((f64::from(network.value(0, &[1, 0, 1])) - (1.0 + 2.0 * expected)).abs() < 1e-5);
        let squashed = network.value(1, &[1, 0, 1]);
        assert!(squashed > 1.0 && squashed < 3.0);
        assert_eq!(network.value(0, &[0, 1, 0]), network.value(0, &[0, 1, 1]));
        assert_ne!(network.value(0, &[1, 1, 0]), network.value(0, &[1, 1, 1]));
        assert_eq!((network.output("d/squashed"), network.output("d/other")), (Some(1), None));
    }

    #[test]
    fn together_or_alone_a_value_is_the_same_to_the_bit() {
        let network = Network::new(info(), space(), weights()).unwrap();
        let all: Vec<u8> = (0..40u8).flat_map(|i| [i & 1, i >> 1 & 1, i >> 2 & 1]).collect();
        let together = network.values(0, &all);
        let alone: Vec<f32> = all.chunks_exact(3).map(|choices| network.value(0, choices)).collect();
        assert_eq!(together.len(), 40);
        assert!(together.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(network.values(0, &[]).is_empty());
    }

    #[test]
    fn parts_that_do_not_fit_are_refused_by_name() {
        let refused = |change: fn(&mut NetworkInfo, &mut Weights)| {
            let (mut info, mut weights) = (info(), weights());
            change(&mut info, &mut weights);
            Network::new(info, space(), weights).unwrap_err()
        };
        assert!(
            refused(|_, w| w.first.truncate(17))
                .contains("the first layer of its network has 17 numbers, not 18")
        );
        assert!(
            refused(|_, w| w.bias[0] = f32::NAN)
                .contains("the bias of its network has something that is not a number")
        );
        assert!(refused(|_, w| drop(w.layers.pop())).contains("1 branches, not 2"));
        assert!(
            refused(|_, w| drop(w.layers[0].pop())).contains("branch 0 of its network has 1 layers, not 2")
        );
        assert!(refused(|i, _| i.slots[1] = vec![3]).contains("a slot of its network is [3]"));
        assert!(refused(|i, _| i.outputs[1].metric = "d/linear".into()).contains("`d/linear` twice"));
        assert!(refused(|i, _| i.branches[0].hidden[0] = 0).contains("0 wide"));
        assert!(refused(|i, _| i.outputs.clear()).contains("no outputs"));
    }
}
