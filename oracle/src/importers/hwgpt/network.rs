//! The published perplexity network of HW-GPT-Bench: four layers of 128 over one-hot choices, what a layer beyond the depth would have being
//! all zero.

use super::super::csv;
use crate::benchmark::{Activation, Branch, Network, NetworkInfo, Output, Weights};
use serde::Deserialize;
use srnas_space::SearchSpace;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Hidden layers.
const HIDDEN: [usize; 4] = [128; 4];
/// Choices of width, depth, heads and MLP ratio.
const CHOICES: usize = 3;

/// A tensor as the file has it.
#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// Reads the network over the space of so many layers at most, of which depth `k` of the choices has `depths[k]`.
///
/// # Errors
/// Says which part is missing or of another shape.
pub(super) fn read(
    path: &Path,
    space: &Arc<SearchSpace>,
    depths: [u32; 3],
    metric: &str,
) -> Result<Network, String> {
    let text = csv::read_bytes(path).map_err(|e| e.to_string())?;
    let mut tensors: BTreeMap<String, Tensor> =
        serde_json::from_slice(&text).map_err(|e| format!("it is no network in JSON: {e}"))?;
    let mut take = |name: String, shape: &[usize]| match tensors.remove(&name) {
        None => Err(format!("it has no `{name}`")),
        Some(found) if found.shape != shape || found.data.len() != shape.iter().product::<usize>() => Err(
            format!("`{name}` has {} numbers of shape {:?}, not {shape:?}", found.data.len(), found.shape),
        ),
        Some(found) => Ok(found.data),
    };
    let layers = depths[2] as usize;
    let inputs = 2 * CHOICES + 2 * CHOICES * layers + 2;
    let first = take("fc1.weight".into(), &[HIDDEN[0], inputs])?;
    let bias = take("fc1.bias".into(), &[HIDDEN[0]])?;
    let mut later = Vec::new();
    for (l, [from, to]) in [[128, 128], [128, 128], [128, 128], [128, 1]].into_iter().enumerate() {
        let weight = take(format!("fc{}.weight", l + 2), &[to, from])?;
        let turned = (0..from).flat_map(|i| weight.iter().skip(i).step_by(from).copied()).collect();
        later.push((turned, take(format!("fc{}.bias", l + 2), &[to])?));
    }
    // A row of the first layer for each choice: that of an input, or nothing.
    let mut rows = Vec::new();
    let mut add = |input: Option<usize>| match input {
        Some(input) => rows.extend(first.iter().skip(input).step_by(inputs)),
        None => rows.extend([0.0; HIDDEN[0]]),
    };
    (0..2 * CHOICES).for_each(|input| add(Some(input)));
    let mut slots = vec![vec![0], vec![1]];
    // The network has MLP ratios before heads; the space has heads first.
    let starts = [2 * CHOICES + CHOICES * layers, 2 * CHOICES];
    for (what, start) in starts.into_iter().enumerate() {
        for layer in 0..layers {
            slots.push(vec![1, 2 + what * layers + layer]);
            for depth in depths {
                let there = (depth as usize) > layer;
                (0..CHOICES).for_each(|choice| add(there.then_some(start + CHOICES * layer + choice)));
            }
        }
    }
    // With a bias first.
    slots.push(vec![2 + 2 * layers]);
    [inputs - 1, inputs - 2].into_iter().for_each(|input| add(Some(input)));
    let info = NetworkInfo {
        rows_are_measured: false,
        slots,
        branches: vec![Branch { hidden: HIDDEN.to_vec(), activation: Activation::Relu }],
        outputs: vec![Output { metric: metric.into(), column: 0, sigmoid: false, scale: 1.0, offset: 0.0 }],
        held_out: None,
    };
    Network::new(info, space.clone(), Weights { first: rows, bias, layers: vec![later] })
}
