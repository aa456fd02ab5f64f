//! What is known of architectures before any training, such as parameters or zero-cost proxies: descriptors, which the kernel knows as
//! features.

use super::{Form, Forms, Prior};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics::normal_quantile;
use srnas_space::{Choices, SearchSpace};
use srnas_task::Task;
use std::{collections::HashMap, fmt::Debug, ops::Range, sync::Arc, thread};

/// Length of a descriptor's kernel in standard deviations of its score, chosen on NAS-Bench-201 (docs/results.md).
const LENGTH: f32 = 2.0;
/// The choices keep so much of the kernel, however many descriptors there are: a program may say a lot that is of no use, and more than
/// seven descriptors were not measured.
const LEAST: f32 = 1.0 / 8.0;
/// Random architectures that stand for a space that is too large to be listed.
const SAMPLE: usize = 2_000;
/// What takes no more multiply-adds than this is half a minute's work of two cores.
const CHEAP: f64 = 4e11;

/// Describes architectures without training them.
pub trait Describe: Debug + Send + Sync {
    /// Names of the descriptors.
    fn names(&self) -> &[String];

    /// The descriptors of an architecture in its active form, f32 [descriptors]; NaN where one is not known.
    fn describe(&self, active: &Choices, descriptors: &mut [f32]);

    /// About how many multiply-adds it takes to describe an architecture.
    fn work(&self) -> f64 {
        0.0
    }
}

/// Columns of a table that take no training.
#[derive(Debug)]
pub struct Columns {
    names: Vec<String>,
    tasks: Vec<Arc<Task>>,
}

impl Columns {
    /// Columns by their names.
    pub fn new(columns: impl IntoIterator<Item = (String, Arc<Task>)>) -> Self {
        let (names, tasks) = columns.into_iter().unzip();
        Self { names, tasks }
    }
}

impl Describe for Columns {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn describe(&self, active: &Choices, descriptors: &mut [f32]) {
        for (descriptor, task) in descriptors.iter_mut().zip(&self.tasks) {
            *descriptor = task.value(active).unwrap_or(f32::NAN);
        }
    }
}

/// The formulas of a space.
#[derive(Debug)]
pub struct Formulas {
    names: Vec<String>,
    space: Arc<SearchSpace>,
}

impl Formulas {
    /// Those of a space that has some.
    pub fn of(space: &Arc<SearchSpace>) -> Option<Self> {
        let names: Vec<String> =
            space.descriptors().iter().map(|formula| formula.text().to_string()).collect();
        (!names.is_empty()).then(|| Self { names, space: space.clone() })
    }
}

impl Describe for Formulas {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn describe(&self, active: &Choices, descriptors: &mut [f32]) {
        for (descriptor, formula) in descriptors.iter_mut().zip(self.space.descriptors()) {
            *descriptor = formula.number(|decision| active[decision]) as f32;
        }
    }
}

/// Descriptors of a space as normal scores: the quantile of the standard normal distribution at the place that an architecture has among
/// all of its space, so that neither the unit of a descriptor nor how it is spread out matters. Where one is not known its score is 0.
///
/// With φ the F scores of an architecture, k = (1 − s)·plain + s/F·Σ exp(−|φ − φ′|/ℓ) takes the place of the plain kernel: beside what the
/// choices say a sum of functions of one descriptor each, which may rise, fall, or have their top in the middle. The share s is
/// F/(F + 1), at most 7/8: what the choices say counts as a descriptor does.
#[derive(Clone, Debug)]
pub struct Untrained {
    describe: Arc<dyn Describe>,
    share: f32,
    /// Those that say something, by their places among all that are described.
    places: Vec<usize>,
    /// Their names.
    names: Vec<String>,
    /// Of each: its values in the space, sorted.
    sorted: Arc<[Vec<f32>]>,
    /// f32 [descriptors, encodings] of a space that can be listed.
    table: Option<Arc<[f32]>>,
    /// Name of the space, and of the list that it is.
    space: (String, Option<u64>),
}

impl Untrained {
    /// Whether it takes no more than half a minute to know what is described of a space, or of a sample where it is too large; the same on
    /// every machine.
    pub fn is_cheap(space: &SearchSpace, describe: &dyn Describe) -> bool {
        let size = space.size().filter(|&size| size <= Prior::LARGEST).map_or(SAMPLE, |size| size as usize);
        describe.work() * size as f64 <= CHEAP
    }

    /// Asks for the descriptors of a whole space, or of a sample where it is too large. What is the same everywhere, or not known, is left
    /// out; nothing where that is all.
    pub fn new(space: &SearchSpace, describe: Arc<dyn Describe>) -> Option<Self> {
        let count = describe.names().len();
        if count == 0 {
            return None;
        }
        let mut choices = vec![0; space.len()];
        let size = space.size().filter(|&size| size <= Prior::LARGEST).map(|size| size as usize);
        let (mut rng, n) = (ChaCha8Rng::seed_from_u64(0), size.unwrap_or(SAMPLE));
        // What has one active form is described once: by that form its place, and by architecture that of its form.
        let (mut places, mut forms, mut place_of) = (HashMap::new(), Vec::new(), vec![None; n]);
        for (i, place) in place_of.iter_mut().enumerate() {
            match size {
                Some(_) => space.unrank(i as u64, &mut choices),
                None => space.sample(&mut rng, &mut choices),
            }
            if space.is_valid(&choices) {
                space.activate(&mut choices);
                let next = places.len();
                *place = Some(*places.entry(choices.clone()).or_insert_with(|| {
                    forms.extend_from_slice(&choices);
                    next
                }));
            }
        }
        let found = described(&*describe, &forms, space.len());
        let mut values = vec![f32::NAN; count * n];
        for (i, place) in place_of.into_iter().enumerate() {
            let Some(place) = place else { continue };
            for k in 0..count {
                values[k * n + i] = found[place * count + k];
            }
        }
        let (mut places, mut sorted, mut table) = (Vec::new(), Vec::new(), Vec::new());
        for (place, values) in values.chunks_exact(n.max(1)).enumerate() {
            let mut known: Vec<f32> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            known.sort_by(f32::total_cmp);
            if known.first() != known.last() {
                if size.is_some() {
                    table.extend(values.iter().map(|&value| score(&known, value)));
                }
                places.push(place);
                sorted.push(known);
            }
        }
        if places.is_empty() {
            return None;
        }
        Some(Self {
            names: places.iter().map(|&place| describe.names()[place].clone()).collect(),
            describe,
            share: share_of(places.len()),
            places,
            sorted: sorted.into(),
            table: size.map(|_| table.into()),
            space: (space.name().to_string(), space.list_hash()),
        })
    }

    /// The same with another share of the kernel, from 0 to 1.
    pub fn sharing(self, share: f32) -> Self {
        Self { share, ..self }
    }

    /// Names of the descriptors that say something.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it was made of descriptors with these names, of this space.
    pub fn is_of(&self, space: &SearchSpace, names: &[String]) -> bool {
        self.describe.names() == names && self.space == (space.name().to_string(), space.list_hash())
    }

    /// Number of descriptors.
    fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Scores of an architecture: f32 [descriptors].
    fn at(&self, active: &Choices, rank: u64, scores: &mut [f32]) {
        match &self.table {
            Some(table) => {
                let encodings = table.len() / self.len();
                scores.iter_mut().enumerate().for_each(|(k, s)| *s = table[k * encodings + rank as usize]);
            }
            None => {
                let mut all = vec![f32::NAN; self.describe.names().len()];
                self.describe.describe(active, &mut all);
                let known = self.sorted.iter().zip(&self.places);
                scores.iter_mut().zip(known).for_each(|(s, (sorted, place))| *s = score(sorted, all[*place]));
            }
        }
    }
}

/// Descriptors of architectures in their active forms, u8 [architectures, decisions]: f32 [architectures, descriptors].
fn described(describe: &dyn Describe, forms: &[u8], decisions: usize) -> Vec<f32> {
    let (count, n) = (describe.names().len(), forms.len() / decisions.max(1));
    let mut found = vec![f32::NAN; n * count];
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = n.div_ceil(cores).max(1);
    thread::scope(|scope| {
        for (forms, found) in forms.chunks(share * decisions).zip(found.chunks_mut((share * count).max(1))) {
            scope.spawn(move || {
                for (form, found) in forms.chunks_exact(decisions).zip(found.chunks_exact_mut(count)) {
                    describe.describe(form, found);
                }
            });
        }
    });
    found
}

/// Share of the kernel that so many descriptors have.
fn share_of(descriptors: usize) -> f32 {
    1.0 - (1.0 / (descriptors as f32 + 1.0)).max(LEAST)
}

/// The normal score of a value among others: equal ones share the middle of their places.
fn score(sorted: &[f32], value: f32) -> f32 {
    let n = sorted.len() as f64;
    if sorted.is_empty() || value.is_nan() {
        return 0.0;
    }
    let below = sorted.partition_point(|&other| other < value) as f64;
    let not_above = sorted.partition_point(|&other| other <= value) as f64;
    normal_quantile(((below + not_above) / 2.0).clamp(0.5, n - 0.5) / n) as f32
}

/// The descriptors of a predictor's slots and points.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub untrained: Arc<Untrained>,
    stride: usize,
    /// f32 [descriptors, slots].
    slots: Arc<[f32]>,
    /// f32 [descriptors, points].
    points: Vec<f32>,
    capacity: usize,
    at: Vec<f32>,
}

impl Described {
    pub fn new(untrained: Arc<Untrained>, capacity: usize, slots: usize, whole: bool) -> Self {
        let count = untrained.len();
        let table = untrained.table.clone().filter(|_| whole);
        Self {
            stride: slots,
            slots: table.unwrap_or_else(|| vec![0.0; count * slots].into()),
            points: vec![0.0; count * capacity],
            capacity,
            at: vec![0.0; count],
            untrained,
        }
    }

    /// Takes in the architectures of a range of slots.
    pub fn place(&mut self, range: Range<usize>, ranks: &[u64], (forms, form): (&Forms, &mut Form)) {
        let slots = Arc::make_mut(&mut self.slots);
        for (slot, &rank) in range.zip(ranks) {
            forms.copy_to(slot, form);
            self.untrained.at(form.active(), rank, &mut self.at);
            self.at.iter().enumerate().for_each(|(k, &score)| slots[k * self.stride + slot] = score);
        }
    }

    /// Takes in the architecture of a new point.
    pub fn observe(&mut self, point: usize, form: &Form, rank: u64) {
        self.untrained.at(form.active(), rank, &mut self.at);
        for (k, &score) in self.at.iter().enumerate() {
            self.points[k * self.capacity + point] = score;
        }
    }

    /// From the plain kernel of a point with the slots from `start` on to the one that knows the descriptors, too.
    pub fn with_slots(&self, point: usize, start: usize, row: &mut [f32]) {
        self.mix(point, &self.slots, self.stride, start, row);
    }

    /// The same with the points.
    pub fn with_points(&self, point: usize, row: &mut [f32]) {
        self.mix(point, &self.points, self.capacity, 0, row);
    }

    fn mix(&self, point: usize, others: &[f32], stride: usize, start: usize, row: &mut [f32]) {
        let (share, count) = (self.untrained.share, self.at.len());
        row.iter_mut().for_each(|k| *k *= 1.0 - share);
        for descriptor in 0..count {
            let own = self.points[descriptor * self.capacity + point];
            let others = &others[descriptor * stride + start..][..row.len()];
            let alike = |other: &f32| share / count as f32 * (-(own - other).abs() / LENGTH).exp();
            row.iter_mut().zip(others).for_each(|(k, other)| *k += alike(other));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PosteriorSettings, Predictor, WholeSpace};
    use srnas_space::{Conditional, Decision};

    fn space(decisions: usize) -> Arc<SearchSpace> {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        Arc::new(Conditional::space("made-up", (0..decisions).map(decision).collect(), vec![]).unwrap())
    }

    /// What no kernel of choices knows: a hash of them; and something that is the same everywhere, and not known of most.
    #[derive(Debug)]
    struct Hash(Vec<String>);

    impl Hash {
        fn of(active: &Choices) -> f32 {
            let hash = active.iter().fold(7u32, |h, &c| h.wrapping_mul(31).wrapping_add(u32::from(c) + 1));
            (hash.wrapping_mul(2_654_435_761) >> 8) as f32
        }
    }

    impl Describe for Hash {
        fn names(&self) -> &[String] {
            &self.0
        }

        fn describe(&self, active: &Choices, descriptors: &mut [f32]) {
            descriptors[0] = Self::of(active);
            descriptors[1..].fill(if active[0] == 0 { 3.0 } else { f32::NAN });
        }
    }

    fn hash(names: &[&str]) -> Arc<Hash> {
        Arc::new(Hash(names.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn scores_are_those_of_a_standard_normal_whatever_the_unit_and_0_where_nothing_is_known() {
        let sorted = [1.0, 2.0, 2.0, 1e9];
        assert_eq!(score(&sorted, 1e9), -score(&sorted, 1.0));
        assert!(score(&sorted, 2.0).abs() < 1e-6 && score(&sorted, f32::NAN) == 0.0);
        // What is beyond all that were seen is as the last one.
        assert_eq!(score(&sorted, -5.0), score(&sorted, 1.0));
        assert_eq!(score(&sorted, f32::INFINITY), score(&sorted, 1e9));
        assert_eq!(score(&[], 1.0), 0.0);
        let untrained = Untrained::new(&space(6), hash(&["hash", "same"])).unwrap();
        assert_eq!(untrained.names(), ["hash"], "what is the same everywhere says nothing");
        assert_eq!((untrained.share, share_of(7), share_of(100)), (0.5, 0.875, 0.875));
        let table = untrained.table.unwrap();
        assert_eq!(table.len(), 729);
        let square = table[..729].iter().map(|v| v * v).sum::<f32>() / 729.0;
        assert!((square - 1.0).abs() < 0.02, "{square}");
        assert!(Untrained::new(&space(6), hash(&[])).is_none());
    }

    #[test]
    fn a_descriptor_is_learned_with_either_sign_listed_or_placed() {
        let (space, settings) = (space(6), PosteriorSettings::default());
        let untrained = Arc::new(Untrained::new(&space, hash(&["hash"])).unwrap());
        let whole = WholeSpace::new(&space).unwrap();
        let all = |rank: u64| {
            let mut choices = vec![0; 6];
            space.unrank(rank, &mut choices);
            choices
        };
        for sign in [1.0, -1.0] {
            let mut knowing = Predictor::whole(space.clone(), &whole, settings, None, 20);
            let mut blind = knowing.clone();
            knowing.describe(untrained.clone());
            let mut placed = Predictor::sampled(space.clone(), settings, None, 20, 729);
            placed.describe(untrained.clone());
            let every = (0..729).flat_map(all).collect::<Vec<_>>();
            for (turn, rank) in (0..20).map(|i| (i, i * 36 + 5)) {
                // In the middle of it, for both orders of what is placed and what is measured.
                if turn == 10 {
                    placed.place(0, &every, &(0..729).collect::<Vec<_>>());
                }
                let choices = all(rank);
                let value = sign * untrained.table.as_ref().unwrap()[rank as usize];
                for predictor in [&mut knowing, &mut blind, &mut placed] {
                    predictor.observe(&choices, rank, value);
                }
            }
            let error = |predictor: &mut Predictor| {
                let beliefs = predictor.beliefs().clone();
                let missed = (0..729).map(|rank| {
                    let value = sign * untrained.table.as_ref().unwrap()[rank];
                    f64::from(beliefs.value(crate::Kind::Plain, rank) - value).powi(2)
                });
                (missed.sum::<f64>() / 729.0, beliefs)
            };
            let ((knows, by_rank), (guesses, _), (_, by_place)) =
                (error(&mut knowing), error(&mut blind), error(&mut placed));
            assert!(knows < 0.2 && guesses > 0.8, "{knows} {guesses}");
            for rank in 0..729 {
                let of = |beliefs: &crate::Beliefs| beliefs.of(crate::Kind::Plain, rank);
                let ((a, b), (c, d)) = (of(&by_rank), of(&by_place));
                assert!((a - c).abs() < 1e-3 && (b - d).abs() < 1e-3, "{rank}: {a} {c}, {b} {d}");
            }
        }
    }
}
