//! The predictor inside an episode: two closed-form posteriors over the architectures measured so far.
//!
//! *Plain* needs no data: a Gaussian process on active forms. *Transfer* adds what the training tasks say: their mean
//! with a free slope, their covariance, and the plain kernel as residual. Formulas: [`Predictor`].

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod about;
mod cut;
mod expectation;
mod fit;
mod joint;
mod kernel;
mod learned;
mod observed;
mod prior;
mod process;
mod settings;
mod transfer;
mod two_phase;

pub use expectation::Expectation;
pub use fit::fit;
pub use joint::{Besides, Counted, Joint};
pub use kernel::{Form, Forms, Kernel};
pub use learned::{LearnedPriorError, predictor_inputs, write_predictor_inputs};
pub use observed::Observed;
pub use prior::{Prior, PriorError};
pub use process::Process;
pub use settings::{PlainSettings, PosteriorSettings, TransferSettings};
pub use two_phase::{Turn, TwoPhase};

use cut::Cut;
use transfer::TransferRow;

use srnas_space::{Choices, SearchSpace};
use std::{ops::Range, sync::Arc};

/// Which posterior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Needs no data.
    Plain,
    /// Knows the training tasks.
    Transfer,
}

/// What both posteriors say about every slot after the newest measurement.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
    /// Plain posterior: mean and deviation of each slot, in standard deviations of the measured values.
    pub plain_mean: Vec<f32>,
    /// See `plain_mean`.
    pub plain_deviation: Vec<f32>,
    /// Transfer posterior: mean and deviation of each slot, in units of the training tasks' gap. Empty without a prior.
    pub transfer_mean: Vec<f32>,
    /// See `transfer_mean`.
    pub transfer_deviation: Vec<f32>,
    /// Closed-form amplitude of the plain posterior.
    pub amplitude: f32,
    /// u: gap units per standard deviation of the measured values (1 without a prior).
    pub scale: f32,
    /// Evidence of the transfer over the plain posterior: difference of the logarithms.
    pub evidence: f32,
    /// Mean and standard deviation of the measured values.
    pub centre: f64,
    /// See `centre`.
    pub spread: f64,
}

impl Beliefs {
    /// Standardises a measured value.
    pub fn standardise(&self, value: f32) -> f32 {
        ((f64::from(value) - self.centre) / self.spread) as f32
    }

    /// Mean of a slot in one posterior, in the unit of the measured values.
    pub fn value(&self, kind: Kind, slot: usize) -> f32 {
        let mean = match kind {
            Kind::Transfer if !self.transfer_mean.is_empty() => self.transfer_mean[slot] / self.scale,
            _ => self.plain_mean[slot],
        };
        (self.centre + self.spread * f64::from(mean)) as f32
    }

    /// Mean and deviation of a slot in one posterior; the transfer posterior's without a prior are the plain one's.
    pub fn of(&self, kind: Kind, slot: usize) -> (f32, f32) {
        if kind == Kind::Transfer && !self.transfer_mean.is_empty() {
            (self.transfer_mean[slot], self.transfer_deviation[slot])
        } else {
            (self.plain_mean[slot], self.plain_deviation[slot])
        }
    }
}

/// Highest value that u may take: with few or equal values the evidence has no maximum.
const SCALE_LIMIT: f64 = 3.0;

/// Both posteriors of one episode over a fixed number of slots.
///
/// Plain: k = s·exp(−c/ℓc) + (1−s)·exp(−h/ℓh) plus noise; values standardised; amplitude (a·a + 1)/(n + 1) with a = L⁻¹z.
/// Transfer: u·z = f + noise, f ~ GP(m, F·F′ + σ²·m·m′ + r·k + c₀), where m is the mean of the training tasks and F their
/// deviations from it over √T. With a = L⁻¹z, b = L⁻¹m, A = a·a, B = a·b, C = b·b: u = (B + √(B² + 4An))/2A, at most 3 and 1
/// for a single point; the mean at x is m(x) + k_x·L⁻ᵀ(u·a − b).
#[derive(Clone, Debug)]
pub struct Predictor {
    space: Arc<SearchSpace>,
    settings: PosteriorSettings,
    kernel: Kernel,
    prior: Option<Arc<Prior>>,
    /// Weight of each training task; zero for the ones that are left out.
    weights: Vec<f32>,
    slots: Slots,
    points: Points,
    plain: Process,
    transfer: Option<Process>,
    beliefs: Beliefs,
    stale: bool,
    row: Vec<f32>,
    row_transfer: Vec<f32>,
    to_points: Vec<f32>,
    to_points_transfer: Vec<f32>,
    form: Form,
    /// Values of the training tasks at one architecture.
    tasks_at: Vec<f32>,
    /// Room to compute them in.
    expected_row: Vec<f32>,
}

/// The architectures that are being predicted.
#[derive(Clone, Debug)]
struct Slots {
    n: usize,
    /// The first so many hold something; the others cost nothing and nothing is known of them.
    used: usize,
    forms: Arc<Forms>,
    /// f32 [tasks, slots], and their weighted mean.
    tasks: Arc<[f32]>,
    mean: Vec<f32>,
    /// Prior variance of the transfer posterior.
    own: Vec<f32>,
}

/// The architectures that were measured.
#[derive(Clone, Debug)]
struct Points {
    forms: Forms,
    tasks: Vec<f32>,
    mean: Vec<f32>,
    values: Vec<f32>,
    ranks: Vec<u64>,
    sum: f64,
    sum_squares: f64,
    /// First value: sums are of differences to it, so that large values with a small spread keep their digits.
    first: f64,
}

/// Forms of a whole enumerable space, in order of rank: shared by every episode that maximises over all of it.
#[derive(Clone, Debug)]
pub struct WholeSpace {
    forms: Arc<Forms>,
}

impl WholeSpace {
    /// Forms of every encoding.
    ///
    /// # Errors
    /// Refuses spaces beyond [`Prior::LARGEST`].
    pub fn new(space: &SearchSpace) -> Result<Self, PriorError> {
        let size = space
            .size()
            .filter(|&s| s <= Prior::LARGEST)
            .ok_or_else(|| PriorError::TooLarge(space.name().into()))?;
        let mut forms = Forms::new(space, size as usize);
        let (mut form, mut choices) = (Form::new(space), vec![0; space.len()]);
        for rank in 0..size {
            space.unrank(rank, &mut choices);
            form.assign(space, &choices);
            forms.set(rank as usize, &form);
        }
        Ok(Self { forms: Arc::new(forms) })
    }
}

impl Predictor {
    /// A predictor for up to `points` measurements over `slots` slots, to be filled with [`Predictor::place`].
    pub fn sampled(
        space: Arc<SearchSpace>,
        settings: PosteriorSettings,
        prior: Option<Arc<Prior>>,
        points: usize,
        slots: usize,
    ) -> Self {
        let tasks = prior.as_ref().map_or(0, |p| p.tasks().len());
        let slots = Slots {
            n: slots,
            used: 0,
            forms: Arc::new(Forms::new(&space, slots)),
            tasks: vec![0.0; tasks * slots].into(),
            mean: vec![0.0; slots],
            own: vec![0.0; slots],
        };
        Self::new(space, settings, prior, points, slots)
    }

    /// A predictor over every encoding of an enumerable space: slot = rank.
    pub fn whole(
        space: Arc<SearchSpace>,
        whole: &WholeSpace,
        settings: PosteriorSettings,
        prior: Option<Arc<Prior>>,
        points: usize,
    ) -> Self {
        let n = whole.forms.capacity();
        let slots = Slots {
            n,
            used: n,
            forms: whole.forms.clone(),
            tasks: prior.as_ref().map_or_else(|| Arc::from([]), |p| p.values.clone()),
            mean: vec![0.0; n],
            own: vec![0.0; n],
        };
        Self::new(space, settings, prior, points, slots)
    }

    fn new(
        space: Arc<SearchSpace>,
        settings: PosteriorSettings,
        prior: Option<Arc<Prior>>,
        capacity: usize,
        slots: Slots,
    ) -> Self {
        let tasks = prior.as_ref().map_or(0, |p| p.tasks().len());
        let n = slots.n;
        let beliefs = Beliefs {
            plain_mean: vec![0.0; n],
            plain_deviation: vec![0.0; n],
            transfer_mean: vec![0.0; if prior.is_some() { n } else { 0 }],
            transfer_deviation: vec![0.0; if prior.is_some() { n } else { 0 }],
            spread: 1.0,
            scale: 1.0,
            ..Beliefs::default()
        };
        let weights = prior.as_ref().map_or_else(Vec::new, |p| p.all());
        let mut predictor = Self {
            kernel: Kernel::new(&settings.plain, &space),
            points: Points {
                forms: Forms::new(&space, capacity),
                tasks: vec![0.0; tasks * capacity],
                mean: vec![0.0; capacity],
                values: Vec::with_capacity(capacity),
                ranks: Vec::with_capacity(capacity),
                sum: 0.0,
                sum_squares: 0.0,
                first: 0.0,
            },
            plain: Process::new(capacity, n),
            transfer: prior.is_some().then(|| Process::new(capacity, n)),
            beliefs,
            stale: true,
            row: vec![0.0; n],
            row_transfer: vec![0.0; if prior.is_some() { n } else { 0 }],
            to_points: vec![0.0; capacity],
            to_points_transfer: vec![0.0; capacity],
            form: Form::new(&space),
            tasks_at: vec![0.0; tasks],
            expected_row: Vec::new(),
            weights: Vec::new(),
            slots,
            space,
            settings,
            prior,
        };
        predictor.restart(&weights);
        predictor
    }

    /// Forgets what was measured and takes other weights of the training tasks (none without a prior).
    pub fn restart(&mut self, weights: &[f32]) {
        assert_eq!(weights.len(), self.prior.as_ref().map_or(0, |p| p.tasks().len()));
        self.plain.clear();
        if let Some(t) = &mut self.transfer {
            t.clear();
        }
        self.points.values.clear();
        self.points.ranks.clear();
        (self.points.sum, self.points.sum_squares) = (0.0, 0.0);
        if self.weights != weights {
            self.weights = weights.to_vec();
            self.prior_moments(0..self.slots.n);
        }
        self.stale = true;
    }

    /// Number of slots there is room for.
    pub fn slots(&self) -> usize {
        self.slots.n
    }

    /// Number of measured points.
    pub fn len(&self) -> usize {
        self.points.values.len()
    }

    /// Whether nothing was measured yet.
    pub fn is_empty(&self) -> bool {
        self.points.values.is_empty()
    }

    /// Whether there is a prior that says something: some training task has weight.
    pub fn has_prior(&self) -> bool {
        self.weights.iter().any(|&w| w > 0.0)
    }

    /// Weights of the training tasks; empty without a prior.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The posterior that the base rule follows: transfer where there is a past, else plain.
    pub fn rule(&self) -> Kind {
        if self.has_prior() { Kind::Transfer } else { Kind::Plain }
    }

    /// Prior mean of a slot, in units of the training tasks' gap; 0 without a prior.
    pub fn prior_mean(&self, slot: usize) -> f32 {
        self.slots.mean[slot]
    }

    /// Puts architectures into the slots from `start` on. Not for a predictor over a whole space.
    ///
    /// `architectures` is u8 [n, decisions] with the `ranks` of its n rows.
    pub fn place(&mut self, start: usize, architectures: &[u8], ranks: &[u64]) {
        self.place_expecting(start, architectures, ranks, &[]);
    }

    /// As [`Self::place`], where the values of the prior's first tasks at these architectures are known already: f32 [tasks, n].
    pub fn place_expecting(&mut self, start: usize, architectures: &[u8], ranks: &[u64], known: &[Vec<f32>]) {
        let range = start..start + ranks.len();
        assert!(start <= self.slots.used, "slots are filled from the first on");
        self.slots.used = self.slots.used.max(range.end);
        let width = self.space.len();
        {
            // A copy of a predictor shares its slots until one of the two places others.
            let forms = Arc::make_mut(&mut self.slots.forms);
            for (slot, choices) in range.clone().zip(architectures.chunks_exact(width)) {
                self.form.assign(&self.space, choices);
                forms.set(slot, &self.form);
            }
        }
        if let Some(prior) = &self.prior {
            let tasks = Arc::make_mut(&mut self.slots.tasks);
            // One look at an architecture for all tasks that were measured in the same places.
            if prior.expects_beyond(known.len()) {
                let n = self.slots.n;
                for slot in range.clone() {
                    self.slots.forms.copy_to(slot, &mut self.form);
                    prior.expected_at(&self.form, &mut self.expected_row, |t, value| {
                        tasks[t * n + slot] = value
                    });
                }
            }
            for t in 0..prior.tasks().len() {
                let of_task = &mut tasks[t * self.slots.n..][range.clone()];
                if let Some(known) = known.get(t) {
                    of_task.copy_from_slice(known);
                } else if prior.has_table(t) {
                    let values = prior.of_task(t);
                    of_task.iter_mut().zip(ranks).for_each(|(slot, &rank)| *slot = values[rank as usize]);
                }
            }
            self.prior_moments(range.clone());
        }
        self.refresh(range);
    }

    /// Empties the slots: a measurement costs nothing for them until they hold something again. Not for a predictor over a whole
    /// space.
    pub fn vacate(&mut self) {
        self.slots.used = 0;
        self.stale = true;
    }

    /// Weighted mean of the training tasks and prior variance for a range of slots.
    fn prior_moments(&mut self, range: Range<usize>) {
        if self.prior.is_none() {
            return;
        }
        let t = self.settings.transfer;
        let (mean, own) = (&mut self.slots.mean[range.clone()], &mut self.slots.own[range.clone()]);
        mean.fill(0.0);
        own.fill(0.0);
        for (task, &w) in self.weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            let values = &self.slots.tasks[task * self.slots.n..][range.clone()];
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

    /// Brings slots with new architectures up to date with everything measured.
    fn refresh(&mut self, range: Range<usize>) {
        for i in 0..self.len() {
            self.points.forms.copy_to(i, &mut self.form);
            let column = self.plain.column_mut(i, range.clone());
            self.kernel.row(&self.slots.forms, range.start, &self.form, column);
            if let Some(transfer) = &mut self.transfer {
                self.row[range.clone()].copy_from_slice(self.plain.column_mut(i, range.clone()));
                let tasks = self.weights.len();
                let at = TransferRow {
                    weights: &self.weights,
                    at_x: &self.points.tasks[i * tasks..(i + 1) * tasks],
                    mean_x: self.points.mean[i],
                    settings: &self.settings.transfer,
                };
                at.fill(
                    &self.slots.tasks[range.start..],
                    self.slots.n,
                    &self.slots.mean[range.clone()],
                    &self.row[range.clone()],
                    transfer.column_mut(i, range.clone()),
                );
            }
        }
        self.plain.replace(range.clone());
        if let Some(transfer) = &mut self.transfer {
            transfer.replace(range);
        }
        self.stale = true;
    }

    /// Takes in a measurement.
    ///
    /// # Panics
    /// When more points come than there is room for.
    pub fn observe(&mut self, choices: &Choices, rank: u64, value: f32) {
        let n = self.len();
        if n == 0 {
            self.points.first = f64::from(value);
        }
        let relative = f64::from(value) - self.points.first;
        self.form.assign(&self.space, choices);
        self.kernel.row(&self.points.forms, 0, &self.form, &mut self.to_points[..n]);
        let row = &mut self.row[..self.slots.used];
        self.kernel.row(&self.slots.forms, 0, &self.form, row);
        self.plain.observe(&self.to_points[..n], 1.0 + self.settings.plain.noise, row, relative, 0.0);
        self.observe_transfer(n, rank, relative);
        self.points.forms.set(n, &self.form);
        self.points.values.push(value);
        self.points.ranks.push(rank);
        self.points.sum += relative;
        self.points.sum_squares += relative * relative;
        self.stale = true;
    }

    /// Takes the measurement at `self.form` into the transfer posterior as point `n`; its kernel with the slots and with the points
    /// before it is there already.
    fn observe_transfer(&mut self, n: usize, rank: u64, relative: f64) {
        let (Some(transfer), Some(prior)) = (&mut self.transfer, &self.prior) else { return };
        let (tasks, at) = (self.weights.len(), &mut self.tasks_at);
        prior.expected_at(&self.form, &mut self.expected_row, |t, value| at[t] = value);
        for (t, v) in at.iter_mut().enumerate().filter(|(t, _)| prior.has_table(*t)) {
            *v = prior.of_task(t)[rank as usize];
        }
        let mean: f32 = self.tasks_at.iter().zip(&self.weights).map(|(v, w)| v * w).sum();
        let square: f32 = self.tasks_at.iter().zip(&self.weights).map(|(v, w)| v * v * w).sum();
        let s = &self.settings.transfer;
        let own = (square - mean * mean).max(0.0)
            + s.slope * s.slope * mean * mean
            + s.residual
            + s.constant
            + s.noise;
        let row = TransferRow { weights: &self.weights, at_x: &self.tasks_at, mean_x: mean, settings: s };
        let to_slots = &mut self.row_transfer[..self.slots.used];
        row.fill(&self.slots.tasks, self.slots.n, &self.slots.mean, &self.row, to_slots);
        for i in 0..n {
            self.to_points_transfer[i] = row.entry(
                &self.points.tasks[i * tasks..(i + 1) * tasks],
                self.points.mean[i],
                self.to_points[i],
            );
        }
        transfer.observe(&self.to_points_transfer[..n], own, to_slots, relative, mean);
        self.points.tasks[n * tasks..(n + 1) * tasks].copy_from_slice(&self.tasks_at);
        self.points.mean[n] = mean;
    }

    /// Keeps the measurements and takes another prior with these weights, over every encoding of a space: only what depends on the prior
    /// is computed again. `settings` may differ in the transfer posterior alone.
    ///
    /// # Panics
    /// Over slots that are placed, or with other numbers of the plain posterior.
    pub fn change_prior(&mut self, settings: PosteriorSettings, prior: Arc<Prior>, weights: &[f32]) {
        assert_eq!(settings.plain, self.settings.plain, "the plain posterior stays");
        assert_eq!(prior.encodings(), self.slots.n, "slots are ranks");
        let (tasks, n, capacity) = (prior.tasks().len(), self.slots.n, self.points.mean.len());
        self.slots.tasks = prior.values.clone();
        (self.settings, self.weights) = (settings, weights.to_vec());
        self.tasks_at = vec![0.0; tasks];
        self.points.tasks = vec![0.0; tasks * capacity];
        for values in
            [&mut self.row_transfer, &mut self.beliefs.transfer_mean, &mut self.beliefs.transfer_deviation]
        {
            values.resize(n, 0.0);
        }
        let transfer = self.transfer.get_or_insert_with(|| Process::new(capacity, n));
        transfer.clear();
        self.prior = Some(prior);
        self.prior_moments(0..n);
        for i in 0..self.len() {
            self.points.forms.copy_to(i, &mut self.form);
            self.kernel.row(&self.points.forms, 0, &self.form, &mut self.to_points[..i]);
            self.kernel.row(&self.slots.forms, 0, &self.form, &mut self.row);
            let relative = f64::from(self.points.values[i]) - self.points.first;
            self.observe_transfer(i, self.points.ranks[i], relative);
        }
        self.stale = true;
    }

    /// Mean and deviation of the measured values, relative to the first; a deviation of 0 counts as 1.
    fn moments(&self) -> (f64, f64) {
        let n = self.len().max(1) as f64;
        let mean = self.points.sum / n;
        let deviation = (self.points.sum_squares / n - mean * mean).max(0.0).sqrt();
        (mean, if deviation > 1e-9 { deviation } else { 1.0 })
    }

    /// u and the two log evidences (transfer, plain), without the constant that both share.
    fn evidences(&self) -> (f64, f64, f64, f64) {
        let n = self.len() as f64;
        let (mean, deviation) = self.moments();
        let [a, _, _] = self.plain.products(mean, deviation);
        let amplitude = (a + 1.0) / (n + 1.0);
        let plain = -0.5 * a / amplitude - 0.5 * n * amplitude.ln() - self.plain.log_diagonal();
        let Some(transfer) = &self.transfer else { return (1.0, amplitude, plain, plain) };
        let [a, b, c] = transfer.products(mean, deviation);
        let u = if self.len() < 2 {
            1.0
        } else if a < 1e-9 {
            // All values are equal.
            SCALE_LIMIT
        } else {
            ((b + (b * b + 4.0 * a * n).sqrt()) / (2.0 * a)).min(SCALE_LIMIT)
        };
        let evidence = -0.5 * (a * u * u - 2.0 * u * b + c) + n * u.ln() - transfer.log_diagonal();
        (u, amplitude, evidence, plain)
    }

    /// What is expected anywhere after what was measured, scaled over the slots: 0 is their median, 1 the best that is expected or
    /// was measured; and what that is at the slots. Nothing before the first measurement.
    pub fn expectation(&mut self) -> Option<(Expectation, Vec<f32>)> {
        if self.is_empty() {
            return None;
        }
        let values = &self.points.values;
        let z = Cut::new(values, self.settings.plain.cut)
            .map_or_else(|| expectation::standardised(values), |cut| cut.standardised);
        let mut means = vec![0.0; self.slots.used];
        self.plain.regress(&z, &mut means);
        let coefficients = self.plain.coefficients(&z);
        let expectation =
            Expectation::known(self.kernel.clone(), self.points.forms.clone(), coefficients, &z, &means);
        means.iter_mut().for_each(|mean| *mean = expectation.scaled((*mean).into()));
        Some((expectation, means))
    }

    /// Prior mean of a measured architecture, in units of the training tasks' gap; 0 without a prior.
    pub fn prior_mean_of_point(&self, point: usize) -> f32 {
        self.points.mean[point]
    }

    /// Log evidence of the transfer posterior (of the plain one without a prior) for what was measured.
    pub fn log_evidence(&self) -> f64 {
        self.evidences().2
    }

    /// What both posteriors say now; computed when it was not asked for since the last change.
    pub fn beliefs(&mut self) -> &Beliefs {
        if self.stale {
            self.update_beliefs();
            self.stale = false;
        }
        &self.beliefs
    }

    fn update_beliefs(&mut self) {
        let (u, amplitude, transfer_evidence, plain_evidence) = self.evidences();
        let (mean, deviation) = self.moments();
        let (b, used) = (&mut self.beliefs, self.slots.used);
        let (plain_mean, plain_deviation) = (&mut b.plain_mean[..used], &mut b.plain_deviation[..used]);
        (b.centre, b.spread) = (self.points.first + mean, deviation);
        (b.amplitude, b.scale) = (amplitude as f32, u as f32);
        b.evidence = (transfer_evidence - plain_evidence) as f32;
        // What the plain posterior's unit is in deviations of the measured values.
        let mut unit = 1.0;
        if let Some(cut) = Cut::new(&self.points.values, self.settings.plain.cut) {
            let square = self.plain.regress(&cut.standardised, plain_mean);
            b.amplitude = ((square + 1.0) / (self.points.values.len() as f64 + 1.0)) as f32;
            unit = (cut.spread / deviation) as f32;
            let offset = ((cut.centre - b.centre) / deviation) as f32;
            plain_mean.iter_mut().for_each(|m| *m = offset + unit * *m);
        } else {
            for (s, m) in plain_mean.iter_mut().enumerate() {
                *m = self.plain.by_standardised(s, mean, deviation);
            }
        }
        for (v, explained) in plain_deviation.iter_mut().zip(self.plain.explained()) {
            *v = unit * (b.amplitude * (1.0 - explained).max(1e-6)).sqrt();
        }
        if let Some(transfer) = &self.transfer {
            let slots = b.transfer_mean.iter_mut().zip(&mut b.transfer_deviation).zip(transfer.explained());
            for (s, ((m, v), explained)) in slots.take(used).enumerate() {
                *m = self.slots.mean[s] + b.scale * transfer.by_standardised(s, mean, deviation)
                    - transfer.by_prior(s);
                *v = (self.slots.own[s] - explained).max(1e-6).sqrt();
            }
        }
    }
}
