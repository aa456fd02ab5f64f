//! The predictor inside an episode: two closed-form posteriors over the architectures measured so far.
//!
//! *Plain* needs no data: a Gaussian process on active forms. *Transfer* adds what the training tasks say: their mean
//! with a free slope, their covariance, and the plain kernel as residual. Formulas: [`Predictor`].

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod about;
mod asked;
mod cut;
mod expectation;
mod fit;
mod joint;
mod kernel;
mod learned;
mod observed;
mod portfolio;
mod prior;
mod process;
mod settings;
mod smooth;
mod transfer;
mod two_phase;
mod untrained;

pub use asked::Asked;
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
pub use untrained::{Columns, Describe, Formulas, Untrained};

use cut::Cut;
use transfer::{Judged, Transfer, log_sum};
use untrained::Described;

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

/// Beforehand the training tasks' tables as they are are so many times as probable as the same smoothed.
const AS_THEY_ARE: f64 = 4.0;
/// Odds count by this power: what lies between two posteriors is neither of them, so an average is for where the evidence is undecided.
const DECIDED: f64 = 3.0;

/// Both posteriors of one episode over a fixed number of slots.
///
/// Plain: k = s·exp(−c/ℓc) + (1−s)·exp(−h/ℓh) plus noise; values standardised; amplitude (a·a + 1)/(n + 1) with a = L⁻¹z.
/// Transfer: u·z = f + noise, f ~ GP(m, F·F′ + σ²·m·m′ + r·k + c₀), where m is the mean of the training tasks and F their
/// deviations from it over √T. With a = L⁻¹z, b = L⁻¹m, A = a·a, B = a·b, C = b·b: u = (B + √(B² + 4An))/2A, at most 3 and 1
/// for a single point; the mean at x is m(x) + k_x·L⁻ᵀ(u·a − b).
///
/// Where [`TransferSettings::smoothing`] asks for it there are two transfer posteriors, of the past's tables as they are and of the same
/// smoothed, and what is believed is their average: means and deviations in units of the measured values, each weighed by the cube of its
/// evidence (Bayesian model averaging at a temperature of a third, so that an upper bound is the average of theirs).
///
/// Where architectures are described without being trained ([`Self::describe`]), k knows that too: see [`Untrained`].
#[derive(Clone, Debug)]
pub struct Predictor {
    space: Arc<SearchSpace>,
    settings: PosteriorSettings,
    kernel: Kernel,
    /// Weight of each training task; zero for the ones that are left out.
    weights: Vec<f32>,
    slots: Slots,
    points: Points,
    plain: Process,
    /// What is known without training.
    described: Option<Described>,
    /// Of the training tasks' tables as they are, then of the same smoothed; none without a prior.
    transfers: Vec<Transfer>,
    beliefs: Beliefs,
    stale: bool,
    row: Vec<f32>,
    to_points: Vec<f32>,
    form: Form,
}

/// The architectures that are being predicted.
#[derive(Clone, Debug)]
struct Slots {
    n: usize,
    /// The first so many hold something; the others cost nothing and nothing is known of them.
    used: usize,
    forms: Arc<Forms>,
    /// Whether they are a whole space, in the order of its ranks.
    whole: bool,
}

/// The architectures that were measured.
#[derive(Clone, Debug)]
struct Points {
    forms: Forms,
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
        let forms = Arc::new(Forms::new(&space, slots));
        let slots = Slots { n: slots, used: 0, forms, whole: false };
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
        let slots = Slots { n, used: n, forms: whole.forms.clone(), whole: true };
        Self::new(space, settings, prior, points, slots)
    }

    fn new(
        space: Arc<SearchSpace>,
        settings: PosteriorSettings,
        prior: Option<Arc<Prior>>,
        capacity: usize,
        slots: Slots,
    ) -> Self {
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
                values: Vec::with_capacity(capacity),
                ranks: Vec::with_capacity(capacity),
                sum: 0.0,
                sum_squares: 0.0,
                first: 0.0,
            },
            plain: Process::new(capacity, n),
            described: None,
            transfers: prior.map_or_else(Vec::new, |prior| {
                posteriors(&space, &settings.transfer, prior, capacity, &slots)
            }),
            beliefs,
            stale: true,
            row: vec![0.0; n],
            to_points: vec![0.0; capacity],
            form: Form::new(&space),
            weights: Vec::new(),
            slots,
            space,
            settings,
        };
        predictor.restart(&weights);
        predictor
    }

    /// Forgets what was measured and takes other weights of the training tasks (none without a prior).
    pub fn restart(&mut self, weights: &[f32]) {
        assert_eq!(weights.len(), self.transfers.first().map_or(0, |t| t.prior.tasks().len()));
        self.plain.clear();
        self.transfers.iter_mut().for_each(|transfer| transfer.process.clear());
        self.points.values.clear();
        self.points.ranks.clear();
        (self.points.sum, self.points.sum_squares) = (0.0, 0.0);
        if self.weights != weights {
            self.weights = weights.to_vec();
            let all = 0..self.slots.n;
            self.transfers.iter_mut().for_each(|transfer| transfer.prior_moments(all.clone(), weights));
        }
        self.stale = true;
    }

    /// Knows what is known of architectures without training them from now on, in the kernel of every posterior.
    ///
    /// # Panics
    /// After the first measurement, or after slots were placed.
    pub fn describe(&mut self, untrained: Arc<Untrained>) {
        let slots = &self.slots;
        assert!(self.points.values.is_empty() && (slots.whole || slots.used == 0), "it begins with it");
        let capacity = self.points.forms.capacity();
        self.described = Some(Described::new(untrained, capacity, slots.n, slots.whole));
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
        self.transfers.first().map_or(0.0, |transfer| transfer.mean[slot])
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
        if let Some(described) = &mut self.described {
            described.place(range.clone(), ranks, (&self.slots.forms, &mut self.form));
        }
        for transfer in &mut self.transfers {
            let room = (&*self.slots.forms, &mut self.form);
            transfer.place(range.clone(), ranks, known, &self.weights, room);
        }
        self.refresh(range);
    }

    /// Empties the slots: a measurement costs nothing for them until they hold something again. Not for a predictor over a whole
    /// space.
    pub fn vacate(&mut self) {
        self.slots.used = 0;
        self.stale = true;
    }

    /// Brings slots with new architectures up to date with everything measured.
    fn refresh(&mut self, range: Range<usize>) {
        for i in 0..self.len() {
            self.points.forms.copy_to(i, &mut self.form);
            let column = self.plain.column_mut(i, range.clone());
            self.kernel.row(&self.slots.forms, range.start, &self.form, column);
            if let Some(described) = &self.described {
                described.with_slots(i, range.start, column);
            }
            for transfer in &mut self.transfers {
                transfer.refresh(i, range.clone(), &self.weights, column);
            }
        }
        self.plain.replace(range.clone());
        self.transfers.iter_mut().for_each(|transfer| transfer.process.replace(range.clone()));
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
        self.kernel_of(n, rank);
        let row = &self.row[..self.slots.used];
        self.plain.observe(&self.to_points[..n], 1.0 + self.settings.plain.noise, row, relative, 0.0);
        self.observe_transfers(n, rank, relative);
        self.points.forms.set(n, &self.form);
        self.points.values.push(value);
        self.points.ranks.push(rank);
        self.points.sum += relative;
        self.points.sum_squares += relative * relative;
        self.stale = true;
    }

    /// Computes the kernel of point `n`, which is `self.form`, with the slots and with the points before it.
    fn kernel_of(&mut self, n: usize, rank: u64) {
        let (points, slots) = (&mut self.to_points[..n], &mut self.row[..self.slots.used]);
        self.kernel.row(&self.points.forms, 0, &self.form, points);
        self.kernel.row(&self.slots.forms, 0, &self.form, slots);
        if let Some(described) = &mut self.described {
            described.observe(n, &self.form, rank);
            described.with_points(n, points);
            described.with_slots(n, 0, slots);
        }
    }

    /// Takes the measurement at `self.form` into the transfer posteriors as point `n`; the plain kernel with the slots and with the
    /// points before it is there already.
    fn observe_transfers(&mut self, n: usize, rank: u64, relative: f64) {
        let (points, slots) = (&self.to_points[..n], &self.row[..self.slots.used]);
        for transfer in &mut self.transfers {
            transfer.observe(&self.weights, (rank, &self.form), points, slots, relative);
        }
    }

    /// Keeps the measurements and takes another prior with these weights, over every encoding of a space: only what depends on the prior
    /// is computed again. `settings` may differ in the transfer posterior alone.
    ///
    /// # Panics
    /// Over slots that are placed, or with other numbers of the plain posterior.
    pub fn change_prior(&mut self, settings: PosteriorSettings, prior: Arc<Prior>, weights: &[f32]) {
        assert_eq!(settings.plain, self.settings.plain, "the plain posterior stays");
        assert_eq!(prior.encodings(), self.slots.n, "slots are ranks");
        let n = self.slots.n;
        (self.settings, self.weights) = (settings, weights.to_vec());
        for values in [&mut self.beliefs.transfer_mean, &mut self.beliefs.transfer_deviation] {
            values.resize(n, 0.0);
        }
        let capacity = self.points.forms.capacity();
        self.transfers = posteriors(&self.space, &settings.transfer, prior, capacity, &self.slots);
        self.transfers.iter_mut().for_each(|transfer| transfer.prior_moments(0..n, weights));
        for i in 0..self.len() {
            self.points.forms.copy_to(i, &mut self.form);
            let rank = self.points.ranks[i];
            self.kernel_of(i, rank);
            let relative = f64::from(self.points.values[i]) - self.points.first;
            self.observe_transfers(i, rank, relative);
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

    /// Amplitude of the plain posterior and the logarithm of its evidence, without the constant that all share.
    fn plain_evidence(&self) -> (f64, f64) {
        let n = self.len() as f64;
        let (mean, deviation) = self.moments();
        let [a, _, _] = self.plain.products(mean, deviation);
        let amplitude = (a + 1.0) / (n + 1.0);
        (amplitude, -0.5 * a / amplitude - 0.5 * n * amplitude.ln() - self.plain.log_diagonal())
    }

    /// What the measured values say of each transfer posterior; room for both, and how many there are.
    fn judged(&self) -> ([Judged; 2], usize) {
        let (mean, deviation) = self.moments();
        let mut judged = [Judged::default(); 2];
        for (judged, transfer) in judged.iter_mut().zip(&self.transfers) {
            *judged = transfer.judged(mean, deviation);
        }
        (judged, self.transfers.len())
    }

    /// What is expected anywhere after what was measured, scaled over the slots: 0 is their median, 1 the best that is expected or
    /// was measured; and what that is at the slots. Nothing before the first measurement.
    ///
    /// # Panics
    /// Where architectures are described, which an expectation does not know.
    pub fn expectation(&mut self) -> Option<(Expectation, Vec<f32>)> {
        assert!(self.described.is_none(), "an expectation knows no descriptors");
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
        self.transfers.first().map_or(0.0, |transfer| transfer.point_mean[point])
    }

    /// Log evidence of the transfer posterior (of the plain one without a prior) for what was measured.
    pub fn log_evidence(&self) -> f64 {
        match self.judged() {
            (_, 0) => self.plain_evidence().1,
            (judged, n) => mean_evidence(&judged[..n]),
        }
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
        let ((amplitude, plain_evidence), (judged, n)) = (self.plain_evidence(), self.judged());
        let judged = &judged[..n];
        let (mean, deviation) = self.moments();
        let (b, used) = (&mut self.beliefs, self.slots.used);
        let (plain_mean, plain_deviation) = (&mut b.plain_mean[..used], &mut b.plain_deviation[..used]);
        (b.centre, b.spread) = (self.points.first + mean, deviation);
        b.amplitude = amplitude as f32;
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
        let Some(first) = judged.first() else {
            (b.scale, b.evidence) = (1.0, 0.0);
            return;
        };
        b.evidence = (mean_evidence(judged) - plain_evidence) as f32;
        let (means, deviations) = (&mut b.transfer_mean[..used], &mut b.transfer_deviation[..used]);
        if let [transfer] = &self.transfers[..] {
            b.scale = first.scale as f32;
            for (s, (m, v)) in means.iter_mut().zip(deviations).enumerate() {
                (*m, *v) = transfer.at(s, b.scale, mean, deviation);
            }
            return;
        }
        let logs = [judged[0].averaged + AS_THEY_ARE.ln(), judged[1].averaged].map(|log| DECIDED * log);
        let weights = logs.map(|log| (log - log_sum(&logs)).exp());
        let scale: f64 = weights.iter().zip(judged).map(|(w, judged)| w * judged.scale).sum();
        b.scale = scale as f32;
        means.fill(0.0);
        deviations.fill(0.0);
        for ((transfer, judged), weight) in self.transfers.iter().zip(judged).zip(&weights) {
            // In units of the measured values these are averaged, and shown in those of the average gap.
            let factor = (weight * scale / judged.scale) as f32;
            for (s, (m, v)) in means.iter_mut().zip(deviations.iter_mut()).enumerate() {
                let (expected, spread) = transfer.at(s, judged.scale as f32, mean, deviation);
                *m += factor * expected;
                *v += factor * spread;
            }
        }
    }
}

/// The transfer posteriors over a prior: of its tables, and where that is asked for and there are tables, of the same smoothed.
fn posteriors(
    space: &SearchSpace,
    settings: &TransferSettings,
    prior: Arc<Prior>,
    capacity: usize,
    slots: &Slots,
) -> Vec<Transfer> {
    let smoothed = (settings.smoothing > 0.0).then(|| prior.smoothed(space, settings.smoothing)).flatten();
    let smoothed =
        smoothed.map(|prior| (prior, TransferSettings { slope: settings.smoothed_slope, ..*settings }));
    let all = std::iter::once((prior, *settings)).chain(smoothed);
    all.map(|(prior, settings)| Transfer::new(prior, settings, capacity, slots.n, slots.whole)).collect()
}

/// Logarithm of the mean evidence of several posteriors, which are equally probable beforehand.
fn mean_evidence(judged: &[Judged]) -> f64 {
    let logs = [judged[0].evidence, judged.last().map_or(f64::NEG_INFINITY, |second| second.evidence)];
    log_sum(&logs[..judged.len()]) - (judged.len() as f64).ln()
}
