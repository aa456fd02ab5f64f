//! Fits a surrogate of a partial table: a few networks whose mean answers for what nobody measured. What was measured keeps its own
//! values, and every answer says which of the two it is.
//!
//! A value is learned as the logit of its place between a little below the worst and a little above the best that is known: so the best,
//! which a search is after, lie apart, and no prediction is far from what was seen.

use crate::benchmark::{
    Activation, Benchmark, BenchmarkError, BenchmarkWriter, Branch, Fidelity, HeldOut, Network, NetworkInfo,
    Output, Weights,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics::{kendall, mean, median, rank_correlation};
use srnas_network::{self as network, Adam, AdamConfig, Gradients, Named, PredictorConfig, PredictorNetwork};
use srnas_space::{Choices, SearchSpace};

/// Hidden layers of a network.
const HIDDEN: [usize; 2] = [128, 128];
/// Networks whose mean is the surrogate.
const NETWORKS: usize = 3;
const BATCH: usize = 256;
/// Passes over what is known, and steps at most.
const PASSES: usize = 30;
const MOST_STEPS: usize = 12_000;
const LEARNING_RATE: f64 = 2e-3;
const HUBER: f32 = 1.0;
/// Architectures held out: this share of them, and no more than that.
const HELD_OUT: (f64, usize) = (0.1, 3_000);
/// With fewer there is nothing to learn from and to check with.
const LEAST: usize = 100;
/// How far beyond the best and the worst known a prediction may go, as a share of their distance to the median.
const BEYOND: f64 = 0.1;

/// Why there is no surrogate.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// A metric is not there.
    #[error(transparent)]
    Metric(#[from] BenchmarkError),
    /// There is nothing to stand in for, or nothing to learn from.
    #[error("{benchmark}: {reason}")]
    Unfit {
        /// The benchmark.
        benchmark: String,
        /// Why.
        reason: String,
    },
    /// It is worse than it has to be.
    #[error(
        "on {rows} architectures held out Kendall's τ of `{metric}` is {found:.3}, and {least} is asked for: nothing is written; measure more, or \
         ask for less with --least-tau"
    )]
    Poor {
        /// The metric.
        metric: String,
        /// Architectures held out.
        rows: usize,
        /// τ on them.
        found: f64,
        /// τ that was asked for.
        least: f64,
    },
    /// The network failed.
    #[error(transparent)]
    Network(#[from] network::Error),
}

/// What was fitted.
#[derive(Debug)]
pub struct Fitted {
    /// The benchmark, ready to be written.
    pub benchmark: BenchmarkWriter,
    /// How well each metric is predicted, the one that was asked for first.
    pub held_out: Vec<(String, HeldOut)>,
}

/// A metric on its way into a network: z = (logit − middle)/scale of its place between `low` and `high`.
struct Curve {
    metric: String,
    low: f64,
    high: f64,
    middle: f64,
    scale: f64,
}

impl Curve {
    /// None where all values are equal.
    fn new(metric: &str, values: &[f64]) -> Option<Self> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let middle = median(&mut values.iter().map(|v| *v as f32).collect::<Vec<_>>());
        // As wide as the range where the median is at one of its ends.
        let beyond = |end: f64| {
            let gap = (end - f64::from(middle)).abs();
            BEYOND * if gap > 0.0 { gap } else { high - low }
        };
        let mut curve = Self {
            metric: metric.into(),
            low: low - beyond(low),
            high: high + beyond(high),
            middle: 0.0,
            scale: 1.0,
        };
        let logits: Vec<f64> = values.iter().map(|&v| curve.to_z(v)).collect();
        let centre = mean(&logits);
        let spread = mean(&logits.iter().map(|z| (z - centre).powi(2)).collect::<Vec<_>>()).sqrt();
        (curve.middle, curve.scale) = (centre, spread);
        (high > low && spread > 1e-9).then_some(curve)
    }

    fn to_z(&self, value: f64) -> f64 {
        (((value - self.low) / (self.high - value)).ln() - self.middle) / self.scale
    }
}

/// Fits metrics of a benchmark, each with its shorter trainings, into a new benchmark of this name. The same table and seed give the same
/// numbers. `progress` hears how many steps of how many are done.
///
/// # Errors
/// Refuses a table that covers its space or is too small, a metric that is the same everywhere, and a surrogate whose τ on architectures
/// held out is below `least_tau` in one of the metrics asked for.
pub fn fit(
    benchmark: &Benchmark,
    metrics: &[String],
    name: &str,
    least_tau: f64,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Fitted, FitError> {
    let unfit = |reason: String| FitError::Unfit { benchmark: benchmark.name().into(), reason };
    if benchmark.covers_space() {
        return Err(unfit(
            "every architecture of its space has a row, so there is nothing to stand in for".into(),
        ));
    }
    if benchmark.network().is_some() {
        return Err(unfit("it has a network already".into()));
    }
    // Each with what says it early.
    let (mut wanted, mut fidelities): (Vec<String>, Vec<Fidelity>) = (Vec::new(), Vec::new());
    for metric in metrics {
        benchmark.metric(metric)?;
        let shorter = benchmark.fidelities(metric);
        for name in std::iter::once(metric).chain(shorter.iter().map(|f| &f.metric)) {
            if !wanted.contains(name) {
                wanted.push(name.clone());
            }
        }
        fidelities
            .extend(shorter.into_iter().filter(|f| !fidelities.contains(f)).cloned().collect::<Vec<_>>());
    }
    let space = benchmark.space();
    let mut rows = benchmark.distinct();
    let known = |metric: &String| -> Vec<(usize, f64)> {
        let view = benchmark.metric(metric).expect("looked up above");
        rows.iter().map(|&row| (row, view.mean(row))).filter(|(_, value)| !value.is_nan()).collect()
    };
    let mut curves = Vec::new();
    for metric in &wanted {
        let values = known(metric);
        if values.len() < LEAST {
            return Err(unfit(format!(
                "`{metric}` is known of {} architectures, and {LEAST} are needed",
                values.len()
            )));
        }
        let values: Vec<f64> = values.into_iter().map(|(_, value)| value).collect();
        let curve = Curve::new(metric, &values);
        curves.push(curve.ok_or_else(|| unfit(format!("`{metric}` is the same everywhere")))?);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rows.shuffle(&mut rng);
    let held_out = ((rows.len() as f64 * HELD_OUT.0) as usize).clamp(1, HELD_OUT.1);
    let (check, train) = rows.split_at(held_out);
    let samples = samples(benchmark, &curves, train);
    let steps = (PASSES * samples.len().div_ceil(BATCH)).min(MOST_STEPS);
    let mut networks = Vec::with_capacity(NETWORKS);
    for place in 0..NETWORKS {
        let mut done = |step| progress(place * steps + step, NETWORKS * steps);
        networks.push(learn(space, benchmark, &samples, curves.len(), steps, &mut rng, &mut done)?);
    }
    let mut found = Vec::new();
    let mut info = description(space, &curves);
    let weights = joined(space, &networks, &curves)?;
    let built = Network::new(info.clone(), space.clone(), weights).map_err(unfit)?;
    for (output, metric) in wanted.iter().enumerate() {
        let held = quality(benchmark, &built, output, metric, check);
        if metrics.contains(metric) && (held.kendall.is_nan() || held.kendall < least_tau) {
            let (rows, found) = (held.rows, held.kendall);
            return Err(FitError::Poor { metric: metric.clone(), rows, found, least: least_tau });
        }
        found.push((metric.clone(), held));
    }
    info.held_out = Some(found[0].1);
    let built = Network::new(info, space.clone(), built.weights().clone()).map_err(unfit)?;
    Ok(Fitted { benchmark: written(benchmark, name, &wanted, fidelities, &built), held_out: found })
}

/// Row, metric and what is to be learned.
fn samples(benchmark: &Benchmark, curves: &[Curve], rows: &[usize]) -> Vec<(usize, u32, f32)> {
    let of = |(place, curve): (usize, &Curve)| {
        let view = benchmark.metric(&curve.metric).expect("a metric of it");
        let known = rows.iter().map(move |&row| (row, view.mean(row))).filter(|(_, value)| !value.is_nan());
        known.map(|(row, value)| (row, place as u32, curve.to_z(value) as f32)).collect::<Vec<_>>()
    };
    curves.iter().enumerate().flat_map(of).collect()
}

/// One-hot codes of the active form.
fn write_inputs(space: &SearchSpace, choices: &Choices, out: &mut Vec<f32>) {
    let mut active = choices.to_vec();
    space.activate(&mut active);
    for (decision, &choice) in active.iter().enumerate() {
        out.extend((0..space.arity(decision)).map(|c| f32::from(u8::from(c == choice))));
    }
}

fn learn(
    space: &SearchSpace,
    benchmark: &Benchmark,
    samples: &[(usize, u32, f32)],
    heads: usize,
    steps: usize,
    rng: &mut ChaCha8Rng,
    done: &mut dyn FnMut(usize),
) -> network::Result<Named> {
    let inputs = (0..space.len()).map(|d| usize::from(space.arity(d))).sum();
    let config = PredictorConfig { inputs, width: HIDDEN[0], layers: HIDDEN.len(), heads };
    let network = PredictorNetwork::new(config, rng)?;
    let mut adam =
        Adam::new(AdamConfig { weight_decay: 1e-4, ..AdamConfig::default() }, network.parameters());
    let mut order: Vec<usize> = Vec::new();
    for step in 0..steps {
        if order.len() < BATCH.min(samples.len()) {
            order = (0..samples.len()).collect();
            order.shuffle(rng);
        }
        let (mut rows, mut tasks, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for sample in order.split_off(order.len() - BATCH.min(order.len())) {
            let (row, task, value) = samples[sample];
            write_inputs(space, benchmark.choices(row), &mut rows);
            tasks.push(task);
            values.push(value);
        }
        let loss = network.loss(&rows, &tasks, &values, &vec![1.0; tasks.len()], HUBER)?;
        let gradients = Gradients::of(&loss, network.parameters())?;
        let rate = LEARNING_RATE * (1.0 - 0.98 * step as f64 / steps as f64);
        adam.step(network.parameters(), &gradients, rate)?;
        done(step + 1);
    }
    network.to_tensors()
}

fn description(space: &SearchSpace, curves: &[Curve]) -> NetworkInfo {
    let output = |(column, curve): (usize, &Curve)| Output {
        metric: curve.metric.clone(),
        column,
        sigmoid: true,
        scale: (curve.high - curve.low) as f32,
        offset: curve.low as f32,
    };
    let branch = Branch { hidden: HIDDEN.to_vec(), activation: Activation::Relu };
    NetworkInfo {
        rows_are_measured: true,
        slots: (0..space.len()).map(|decision| vec![decision]).collect(),
        branches: vec![branch; NETWORKS],
        outputs: curves.iter().enumerate().map(output).collect(),
        held_out: None,
    }
}

/// The networks side by side: their sum is the mean of what they say, as a logit.
fn joined(space: &SearchSpace, networks: &[Named], curves: &[Curve]) -> network::Result<Weights> {
    let inputs: usize = (0..space.len()).map(|d| usize::from(space.arity(d))).sum();
    let numbers = |named: &Named, name: &str| -> network::Result<Vec<f32>> {
        Ok(named[name].flatten_all()?.to_vec1::<f32>()?)
    };
    // A matrix as [inputs, outputs].
    let turned = |weight: &[f32], inputs: usize| -> Vec<f32> {
        (0..inputs).flat_map(|i| weight.iter().skip(i).step_by(inputs).copied()).collect()
    };
    let mut first = vec![Vec::new(); inputs];
    let (mut bias, mut layers) = (Vec::new(), Vec::new());
    for named in networks {
        let own = turned(&numbers(named, "layers.0.weight")?, inputs);
        first.iter_mut().zip(own.chunks_exact(HIDDEN[0])).for_each(|(row, own)| row.extend_from_slice(own));
        bias.extend(numbers(named, "layers.0.bias")?);
        let inner =
            (turned(&numbers(named, "layers.1.weight")?, HIDDEN[0]), numbers(named, "layers.1.bias")?);
        // Back from standardised logits, and a share of the sum.
        let share = |curve: &Curve| curve.scale as f32 / NETWORKS as f32;
        let mut last = turned(&numbers(named, "heads.weight")?, HIDDEN[1]);
        last.chunks_exact_mut(curves.len()).for_each(|row| {
            row.iter_mut().zip(curves).for_each(|(w, curve)| *w *= share(curve));
        });
        let of_heads = numbers(named, "heads.bias")?.into_iter().zip(curves);
        let of_heads = of_heads.map(|(b, curve)| b * share(curve) + curve.middle as f32 / NETWORKS as f32);
        layers.push(vec![inner, (last, of_heads.collect())]);
    }
    Ok(Weights { first: first.concat(), bias: bias.repeat(curves.len()), layers })
}

fn quality(benchmark: &Benchmark, network: &Network, output: usize, metric: &str, rows: &[usize]) -> HeldOut {
    let view = benchmark.metric(metric).expect("a metric of it");
    let rows: Vec<usize> = rows.iter().copied().filter(|&row| !view.mean(row).is_nan()).collect();
    let all: Vec<u8> = rows.iter().flat_map(|&row| benchmark.choices(row)).copied().collect();
    let said: Vec<f64> = network.values(output, &all).into_iter().map(f64::from).collect();
    let known: Vec<f64> = rows.iter().map(|&row| view.mean(row)).collect();
    let errors: Vec<f64> = said.iter().zip(&known).map(|(a, b)| (a - b).abs()).collect();
    HeldOut {
        rows: rows.len(),
        kendall: kendall(&said, &known),
        spearman: rank_correlation(&said, &known),
        mean_error: mean(&errors),
    }
}

/// The measured rows, and the network.
fn written(
    benchmark: &Benchmark,
    name: &str,
    metrics: &[String],
    fidelities: Vec<Fidelity>,
    network: &Network,
) -> BenchmarkWriter {
    let choices = (0..benchmark.rows()).flat_map(|row| benchmark.choices(row)).copied().collect();
    let provenance = format!(
        "a surrogate fitted by srnas on {}, whose rows it has as they were measured; all else is predicted. {}",
        benchmark.name(),
        benchmark.provenance()
    );
    let mut written = BenchmarkWriter::new(name, benchmark.space(), choices, provenance, benchmark.licence());
    if let Some(definition) = benchmark.space_definition() {
        written.define_space(definition.clone());
    }
    for metric in metrics {
        let view = benchmark.metric(metric).expect("a metric of it");
        let values: Vec<f64> = (0..benchmark.rows()).map(|row| view.mean(row)).collect();
        written.exact_metric(metric.clone(), view.info().clone(), 1, &values);
    }
    fidelities.into_iter().for_each(|fidelity| written.fidelity(fidelity));
    written.network(network);
    written
}
