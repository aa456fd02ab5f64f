//! The transfer posterior: what the past tasks say, with a slope and a residual.

use super::{Form, Forms, Prior, Process, TransferSettings};
use std::{ops::Range, sync::Arc};

/// Highest value that u may take: with few or equal values the evidence has no maximum.
const SCALE_LIMIT: f64 = 3.0;
/// u beforehand, where it is averaged over: log-normal about this with this deviation, as random architectures of past tasks have it.
const SCALE_BEFORE: (f64, f64) = (0.4, 0.6);
/// It is averaged over so many values, evenly over three deviations to either side.
const SCALES: usize = 25;

/// u·z = f + noise, f ~ GP(m, F·F′ + σ²·m·m′ + r·k + c₀) over some slots, given what was measured. See [`super::Predictor`].
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub prior: Arc<Prior>,
    pub settings: TransferSettings,
    slots: usize,
    /// Values of the past tasks at the slots, f32 [tasks, slots], and their weighted mean.
    tasks: Arc<[f32]>,
    pub mean: Vec<f32>,
    /// Prior variance of each slot.
    own: Vec<f32>,
    /// The same at the points: f32 [points, tasks].
    point_tasks: Vec<f32>,
    pub point_mean: Vec<f32>,
    pub process: Process,
    row: Vec<f32>,
    to_points: Vec<f32>,
    /// Values of the past tasks at one architecture.
    tasks_at: Vec<f32>,
    /// Room to compute them in.
    expected_row: Vec<f32>,
}

/// What the measured values say of a transfer posterior.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judged {
    /// u where the evidence is highest.
    pub scale: f64,
    /// Logarithm of the evidence there.
    pub evidence: f64,
    /// The same, u averaged over.
    pub averaged: f64,
}

impl Transfer {
    /// Room for `capacity` points over `slots` slots: those of a whole space are in the order of its ranks, others are to be placed.
    pub fn new(
        prior: Arc<Prior>,
        settings: TransferSettings,
        capacity: usize,
        slots: usize,
        whole: bool,
    ) -> Self {
        let tasks = prior.tasks().len();
        Self {
            tasks: if whole { prior.values.clone() } else { vec![0.0; tasks * slots].into() },
            settings,
            slots,
            mean: vec![0.0; slots],
            own: vec![0.0; slots],
            point_tasks: vec![0.0; tasks * capacity],
            point_mean: vec![0.0; capacity],
            process: Process::new(capacity, slots),
            row: vec![0.0; slots],
            to_points: vec![0.0; capacity],
            tasks_at: vec![0.0; tasks],
            expected_row: Vec::new(),
            prior,
        }
    }

    /// Weighted mean of the past tasks and prior variance for a range of slots.
    pub fn prior_moments(&mut self, range: Range<usize>, weights: &[f32]) {
        let t = self.settings;
        let (mean, own) = (&mut self.mean[range.clone()], &mut self.own[range.clone()]);
        mean.fill(0.0);
        own.fill(0.0);
        for (task, &w) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            let values = &self.tasks[task * self.slots..][range.clone()];
            for ((m, o), &v) in mean.iter_mut().zip(own.iter_mut()).zip(values) {
                *m += w * v;
                *o += w * v * v;
            }
        }
        for (m, o) in mean.iter().zip(own.iter_mut()) {
            // F·F = Σ w z² − m², plus the slope, the residual (k = 1) and the constant.
            *o = (*o - m * m).max(0.0) + t.slope * t.slope * m * m + t.residual + t.constant;
        }
    }

    /// Takes in the architectures of a range of slots, by their `ranks` and `forms`; `form` is room for one. The values of the prior's
    /// first tasks there may be `known` already: f32 [tasks, n].
    pub fn place(
        &mut self,
        range: Range<usize>,
        ranks: &[u64],
        known: &[Vec<f32>],
        weights: &[f32],
        (forms, form): (&Forms, &mut Form),
    ) {
        let tasks = Arc::make_mut(&mut self.tasks);
        // One look at an architecture for all tasks that were measured in the same places.
        if self.prior.expects_beyond(known.len()) {
            let n = self.slots;
            for slot in range.clone() {
                forms.copy_to(slot, form);
                self.prior.expected_at(form, &mut self.expected_row, |t, value| {
                    tasks[t * n + slot] = value;
                });
            }
        }
        for t in 0..self.prior.tasks().len() {
            let of_task = &mut tasks[t * self.slots..][range.clone()];
            if let Some(known) = known.get(t) {
                of_task.copy_from_slice(known);
            } else if self.prior.has_table(t) {
                let values = self.prior.of_task(t);
                of_task.iter_mut().zip(ranks).for_each(|(slot, &rank)| *slot = values[rank as usize]);
            }
        }
        self.prior_moments(range, weights);
    }

    /// Writes the kernel of a point with a range of slots where [`Process::replace`] reads it; `plain` is the plain kernel there.
    pub fn refresh(&mut self, point: usize, range: Range<usize>, weights: &[f32], plain: &[f32]) {
        let tasks = weights.len();
        let at = TransferRow {
            weights,
            at_x: &self.point_tasks[point * tasks..(point + 1) * tasks],
            mean_x: self.point_mean[point],
            settings: &self.settings,
        };
        let column = self.process.column_mut(point, range.clone());
        at.fill(&self.tasks[range.start..], self.slots, &self.mean[range], plain, column);
    }

    /// Takes in the measurement at `form` as point `n`. `plain_points` and `plain_slots` are the plain kernel with the points before it
    /// and with the slots that are used; `relative` is what was measured.
    pub fn observe(
        &mut self,
        weights: &[f32],
        (rank, form): (u64, &Form),
        plain_points: &[f32],
        plain_slots: &[f32],
        relative: f64,
    ) {
        let (n, tasks, at) = (plain_points.len(), weights.len(), &mut self.tasks_at);
        self.prior.expected_at(form, &mut self.expected_row, |t, value| at[t] = value);
        for (t, v) in at.iter_mut().enumerate().filter(|(t, _)| self.prior.has_table(*t)) {
            *v = self.prior.of_task(t)[rank as usize];
        }
        let mean: f32 = self.tasks_at.iter().zip(weights).map(|(v, w)| v * w).sum();
        let square: f32 = self.tasks_at.iter().zip(weights).map(|(v, w)| v * v * w).sum();
        let s = &self.settings;
        let own = (square - mean * mean).max(0.0)
            + s.slope * s.slope * mean * mean
            + s.residual
            + s.constant
            + s.noise;
        let row = TransferRow { weights, at_x: &self.tasks_at, mean_x: mean, settings: s };
        let to_slots = &mut self.row[..plain_slots.len()];
        row.fill(&self.tasks, self.slots, &self.mean, plain_slots, to_slots);
        for (i, plain) in plain_points.iter().enumerate() {
            self.to_points[i] =
                row.entry(&self.point_tasks[i * tasks..(i + 1) * tasks], self.point_mean[i], *plain);
        }
        self.process.observe(&self.to_points[..n], own, to_slots, relative, mean);
        self.point_tasks[n * tasks..(n + 1) * tasks].copy_from_slice(&self.tasks_at);
        self.point_mean[n] = mean;
    }

    /// What the measured values say of it: their mean and deviation, relative to the first.
    pub fn judged(&self, mean: f64, deviation: f64) -> Judged {
        let n = self.process.len() as f64;
        let [a, b, c] = self.process.products(mean, deviation);
        let scale = if self.process.len() < 2 {
            1.0
        } else if a < 1e-9 {
            // All values are equal.
            SCALE_LIMIT
        } else {
            ((b + (b * b + 4.0 * a * n).sqrt()) / (2.0 * a)).min(SCALE_LIMIT)
        };
        let rest = self.process.log_diagonal();
        let at = |u: f64| -0.5 * (a * u * u - 2.0 * u * b + c) + n * u.ln() - rest;
        let (median, spread) = SCALE_BEFORE;
        // Logarithms of how probable each is beforehand, and of that times its evidence.
        let steps: [f64; SCALES] =
            std::array::from_fn(|step| 3.0 * (2.0 * step as f64 / (SCALES - 1) as f64 - 1.0));
        let before = steps.map(|step| -0.5 * step * step);
        let after: [f64; SCALES] =
            std::array::from_fn(|k| before[k] + at(median * (spread * steps[k]).exp()));
        let averaged = log_sum(&after) - log_sum(&before);
        Judged { scale, evidence: at(scale), averaged }
    }

    /// Mean and deviation of a slot, in units of the past tasks' gap.
    pub fn at(&self, slot: usize, scale: f32, mean: f64, deviation: f64) -> (f32, f32) {
        let expected = self.mean[slot] + scale * self.process.by_standardised(slot, mean, deviation)
            - self.process.by_prior(slot);
        (expected, (self.own[slot] - self.process.explained()[slot]).max(1e-6).sqrt())
    }
}

/// Logarithm of the sum of what these are logarithms of.
pub(super) fn log_sum(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY { top } else { top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln() }
}

/// One row of the transfer kernel: F·F′ + σ²·m·m′ + r·k + c₀ with F·F′ = Σ w z z′ − m m′.
struct TransferRow<'a> {
    weights: &'a [f32],
    at_x: &'a [f32],
    mean_x: f32,
    settings: &'a TransferSettings,
}

impl TransferRow<'_> {
    fn entry(&self, at_y: &[f32], mean_y: f32, plain: f32) -> f32 {
        let s = self.settings;
        let dot: f32 = self.weights.iter().zip(self.at_x).zip(at_y).map(|((w, x), y)| w * x * y).sum();
        dot + (s.slope * s.slope - 1.0) * self.mean_x * mean_y + s.residual * plain + s.constant
    }

    /// The row over slots whose training tasks' values are `tasks[t · stride ..]`.
    fn fill(&self, tasks: &[f32], stride: usize, mean: &[f32], plain: &[f32], out: &mut [f32]) {
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
