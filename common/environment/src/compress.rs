//! Compressing a wide residual network as RC-NAS does (arXiv 2406.06792): an agent decides stage after stage what a *teacher* becomes, within
//! a budget, and earns the *student*'s accuracy beside the teacher's, and what was saved.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_space::{
    Choices, SearchSpace,
    wrn::{Block, Measure, Scale, Teacher, WideResNet},
};
use srnas_task::Task;
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// Numbers that are seen of a stage: [stride of the stem, depth, width, whether its blocks are robust], depth and width as shares of the
/// space's largest.
pub const STAGE_FEATURES: usize = 4;
/// Numbers that are seen of a whole network: [Lipschitz term, cost, budget]; the first as a logarithm, beside the teacher's, the others as
/// shares of its cost.
pub const WHOLE_FEATURES: usize = 3;
/// Architectures of the largest space in which it is known beforehand what keeps the budget.
const LARGEST: u64 = 1 << 16;

/// What a student earns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Earns {
    /// Its accuracy over the teacher's. The budget is what keeps it small.
    #[default]
    Accuracy,
    /// C (2 − C) times that, C the share of the teacher's cost that is saved: as published (N2N, arXiv 1709.06030).
    Compression,
}

impl Earns {
    /// The reward of a student with a share of the teacher's cost and so many times its accuracy. Below 0, as of a loss, more would be worth
    /// less: then savings do not count.
    pub fn of(self, share: f32, accuracy: f32) -> f32 {
        let saved = 1.0 - share;
        match self {
            Self::Compression if accuracy > 0.0 => saved * (2.0 - saved) * accuracy,
            Self::Accuracy | Self::Compression => accuracy,
        }
    }

    /// The reward of one that breaks a limit in a round, from 0 on: less and less of its own, and −1 in the end (N2N).
    pub fn beyond(reward: f32, round: usize) -> f32 {
        let own = (1.0 - round as f32 / 15.0).max(0.0).powi(4);
        (own - 1.0) + own * reward
    }
}

/// How a network's cost is known.
#[derive(Clone, Debug)]
pub enum Costs {
    /// A metric that needs no training.
    Metric(Arc<Task>),
    /// Multiply-adds of the network at the published size.
    Published,
    /// A count of the network at another size.
    Counted(Scale, Measure),
}

impl Costs {
    fn of(&self, space: &SearchSpace, choices: &Choices) -> Option<f64> {
        let counted = |scale, measure| {
            let cost = WideResNet::of(space, choices)?.cost(scale)?;
            Some(cost.of(measure) as f64)
        };
        match self {
            Self::Metric(task) => Some(task.shown(task.value(choices)?)),
            Self::Published => counted(Scale::CIFAR10, Measure::MultiplyAdds),
            Self::Counted(scale, measure) => counted(*scale, *measure),
        }
    }
}

/// Why nothing can be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The space has no stages.
    #[error("{0} is no space of wide residual networks; wrn-compress-28-10 and its like are")]
    Space(String),
    /// The teacher has no cost.
    #[error("what the teacher costs is not known")]
    Cost,
    /// Nothing is left.
    #[error("no student within the teacher costs at most {budget} % of it; the smallest has {smallest} %")]
    Budget {
        /// Per cent of the teacher's cost.
        budget: String,
        /// The same of the smallest.
        smallest: String,
    },
}

/// A teacher and a budget.
#[derive(Debug)]
pub struct Compression {
    space: Arc<SearchSpace>,
    heads: Vec<Range<usize>>,
    teacher: Vec<u8>,
    network: WideResNet,
    /// Depth and width of the largest network of the space.
    most: (usize, usize),
    budget: f32,
    costs: Costs,
    full: f64,
    /// Of each head: by the rank of all that is decided with it, whether a student within the budget begins so. None where the space is too
    /// large to be looked at.
    open: Option<Vec<Vec<bool>>>,
}

/// Decisions of each stage; the first stage has the stem's.
fn heads(space: &SearchSpace) -> Option<Vec<Range<usize>>> {
    let (stages, teacher) = (WideResNet::STAGES, Teacher::of(space)?);
    let each = (space.len() - 1) / stages;
    debug_assert_eq!(each, if teacher.has_blocks() { 3 } else { 2 });
    Some(
        (0..stages)
            .map(|stage| if stage == 0 { 0..1 + each } else { 1 + stage * each..1 + (stage + 1) * each })
            .collect(),
    )
}

/// Number of choices of each head of an agent for a space; none of a space of another kind.
pub fn choices_of_heads(space: &SearchSpace) -> Option<Vec<usize>> {
    let choices = |head: Range<usize>| head.map(|d| usize::from(space.arity(d))).product();
    Some(heads(space)?.into_iter().map(choices).collect())
}

/// Whether a network is within a teacher: no stage deeper or wider. The stem and the blocks are free.
pub fn is_within(network: &WideResNet, teacher: &WideResNet) -> bool {
    let mut stages = network.stages.iter().zip(&teacher.stages);
    stages.all(|(own, most)| own.depth <= most.depth && own.width <= most.width)
}

impl Compression {
    /// What a teacher may become: what is in the space and costs at most `budget` times as much; within the teacher, unless the budget is
    /// beyond its cost.
    ///
    /// # Errors
    /// See [`CompressionError`].
    pub fn new(
        space: &Arc<SearchSpace>,
        teacher: &Choices,
        budget: f32,
        costs: Costs,
    ) -> Result<Self, CompressionError> {
        let whole = space.whole().unwrap_or(space);
        let wrong = || CompressionError::Space(space.name().into());
        let heads = heads(whole).ok_or_else(wrong)?;
        let network = WideResNet::of(whole, teacher).ok_or_else(wrong)?;
        let largest = Teacher::of(whole).ok_or_else(wrong)?.network().stages[0];
        let full = costs.of(whole, teacher).filter(|cost| *cost > 0.0).ok_or(CompressionError::Cost)?;
        let mut compression = Self {
            space: whole.clone(),
            heads,
            teacher: teacher.to_vec(),
            network,
            most: (largest.depth, largest.width),
            budget,
            costs,
            full,
            open: None,
        };
        if whole.size().is_some_and(|size| size <= LARGEST) {
            compression.look(space)?;
        }
        Ok(compression)
    }

    fn look(&mut self, space: &SearchSpace) -> Result<(), CompressionError> {
        let sizes: Vec<usize> = choices_of_heads(&self.space).unwrap_or_default();
        let mut open: Vec<Vec<bool>> = Vec::new();
        for head in 0..sizes.len() {
            open.push(vec![false; sizes[..=head].iter().product()]);
        }
        let (mut choices, mut smallest) = (vec![0; self.space.len()], f32::INFINITY);
        for rank in 0..self.space.size().unwrap_or(0) {
            self.space.unrank(rank, &mut choices);
            let network = WideResNet::of(&self.space, &choices);
            if !network.is_some_and(|network| self.may_be(&network)) || !space.is_valid(&choices) {
                continue;
            }
            let share = self.share(&choices);
            smallest = smallest.min(share);
            if share <= self.budget * (1.0 + 1e-6) {
                open.iter_mut().enumerate().for_each(|(head, open)| open[self.rank(&choices, head)] = true);
            }
        }
        if !open[0].contains(&true) {
            let percent = |share: f32| format!("{:.1}", 100.0 * share);
            return Err(CompressionError::Budget {
                budget: percent(self.budget),
                smallest: percent(smallest),
            });
        }
        self.open = Some(open);
        Ok(())
    }

    fn may_be(&self, network: &WideResNet) -> bool {
        self.budget > 1.0 || is_within(network, &self.network)
    }

    /// Rank of what the heads up to this one have decided.
    fn rank(&self, choices: &Choices, head: usize) -> usize {
        let arity = |d: usize| usize::from(self.space.arity(d));
        (0..self.heads[head].end).fold(0, |rank, d| rank * arity(d) + usize::from(choices[d]))
    }

    /// Number of heads.
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// The teacher's choices.
    pub fn teacher(&self) -> &Choices {
        &self.teacher
    }

    /// The space, with nothing left out.
    pub fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    /// Cost of a network over the teacher's; 1 where it is not known.
    pub fn share(&self, choices: &Choices) -> f32 {
        self.costs.of(&self.space, choices).map_or(1.0, |cost| (cost / self.full) as f32)
    }

    /// Which choices of a head there are after what those before it have decided; at least one, if that was allowed.
    pub fn allowed(&self, choices: &Choices, head: usize) -> Vec<bool> {
        let arity = |d: usize| usize::from(self.space.arity(d));
        let size: usize = self.heads[head].clone().map(arity).product();
        match &self.open {
            Some(open) => {
                let before = if head == 0 { 0 } else { self.rank(choices, head - 1) };
                open[head][before * size..][..size].to_vec()
            }
            None => {
                let mut choices = choices.to_vec();
                let mut within = |choice| {
                    self.decide(&mut choices, head, choice);
                    self.begins_a_student(&choices, head)
                };
                (0..size).map(&mut within).collect()
            }
        }
    }

    /// Whether what the heads up to one have decided is a student, where those that follow take as little as they can.
    fn begins_a_student(&self, choices: &Choices, head: usize) -> bool {
        let later = self.heads.len() - head - 1;
        // The last decision of a head is the kind of its blocks, where there is a choice of them: bottlenecks may cost less or more.
        let kinds = usize::from(self.space.arity(self.space.len() - 1));
        let kinds = if self.heads[self.heads.len() - 1].len() == 3 { kinds } else { 1 };
        let mut least = choices.to_vec();
        (0..kinds.pow(later as u32)).any(|mut kind| {
            for stage in head + 1..self.heads.len() {
                let decisions = self.heads[stage].clone();
                least[decisions.clone()].fill(0);
                if kinds > 1 {
                    least[decisions.end - 1] = (kind % kinds) as u8;
                    kind /= kinds;
                }
            }
            let network = WideResNet::of(&self.space, &least);
            network.is_some_and(|network| self.may_be(&network)) && self.space.is_valid(&least)
        })
    }

    /// Takes a choice of a head.
    pub fn decide(&self, choices: &mut Choices, head: usize, mut choice: usize) {
        for d in self.heads[head].clone().rev() {
            let arity = usize::from(self.space.arity(d));
            choices[d] = (choice % arity) as u8;
            choice /= arity;
        }
    }

    /// The choice of a head that an architecture has.
    pub fn choice(&self, choices: &Choices, head: usize) -> usize {
        let arity = |d: usize| usize::from(self.space.arity(d));
        self.heads[head].clone().fold(0, |choice, d| choice * arity(d) + usize::from(choices[d]))
    }

    /// What is seen of a network: f32 [stages, [`STAGE_FEATURES`]] and then [[`WHOLE_FEATURES`]]. `lipschitz` is the logarithm of its term
    /// over the teacher's, 0 where that is not known.
    pub fn see(&self, choices: &Choices, lipschitz: f32) -> Vec<f32> {
        let Some(network) = WideResNet::of(&self.space, choices) else { return Vec::new() };
        let mut seen = Vec::with_capacity(self.heads.len() * STAGE_FEATURES + WHOLE_FEATURES);
        let share = |own: usize, most: usize| own as f32 / most as f32;
        for stage in &network.stages {
            let robust = f32::from(u8::from(stage.block == Block::Robust));
            seen.push((network.stem_stride - 1) as f32);
            seen.extend([share(stage.depth, self.most.0), share(stage.width, self.most.1), robust]);
        }
        seen.extend([lipschitz, self.share(choices), self.budget.min(2.0)]);
        seen
    }

    /// A student that keeps the budget, each choice as likely as another that is allowed.
    pub fn random(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut choices = self.teacher.clone();
        for head in 0..self.heads() {
            let allowed = self.allowed(&choices, head);
            let open: Vec<usize> = (0..allowed.len()).filter(|&choice| allowed[choice]).collect();
            if let Some(&choice) = open.get(rng.random_range(0..open.len().max(1))) {
                self.decide(&mut choices, head, choice);
            }
        }
        choices
    }

    /// Every student that keeps the budget, where the space is small enough to be looked at; else nothing.
    pub fn students(&self) -> Vec<Vec<u8>> {
        let Some(open) = self.open.as_ref().and_then(|open| open.last()) else { return Vec::new() };
        let mut choices = vec![0; self.space.len()];
        let kept = open.iter().enumerate().filter(|(_, open)| **open);
        let student = |(mut rank, _): (usize, &bool)| {
            for d in (0..choices.len()).rev() {
                let arity = usize::from(self.space.arity(d));
                choices[d] = (rank % arity) as u8;
                rank /= arity;
            }
            choices.clone()
        };
        kept.map(student).collect()
    }
}

/// The metric of the Lipschitz term that goes with an accuracy under attack, as `val/lipschitz@32` does with `val/worst@32`.
pub fn lipschitz_beside(metric: &str) -> Option<String> {
    let (images, attack) = metric.rsplit_once('/')?;
    let (_, radius) = attack.split_once('@')?;
    Some(format!("{images}/lipschitz@{radius}"))
}

/// What a student is judged by: the teacher's accuracy and Lipschitz term, where they are known; else those of the first student that was
/// measured.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    accuracy: Option<f32>,
    lipschitz: Option<(Arc<Task>, f32)>,
    found: Option<Arc<Mutex<Found>>>,
    earns: Earns,
}

/// What was measured of students, where nothing is known of them before.
#[derive(Debug, Default)]
struct Found {
    /// Accuracy and Lipschitz term of the first.
    first: Option<(f32, Option<f32>)>,
    /// By their choices.
    terms: HashMap<Vec<u8>, f32>,
}

impl Judge {
    /// With the metrics of a table, of which the teacher's values are the measure.
    pub fn new(
        teacher: &Choices,
        accuracy: Option<&Task>,
        lipschitz: Option<Arc<Task>>,
        earns: Earns,
    ) -> Self {
        let positive = |task: &Task, choices: &Choices| task.value(choices).filter(|value| *value > 0.0);
        let accuracy = accuracy.and_then(|task| positive(task, teacher));
        let shown = |task: &Task| task.value(teacher).map(|value| task.shown(value) as f32);
        let lipschitz =
            lipschitz.and_then(|task| shown(&task).filter(|term| *term > 0.0).map(|term| (task, term)));
        Self { accuracy, lipschitz, found: None, earns }
    }

    /// Where students are measured one after another, and nothing is known of any.
    pub fn of_measured() -> Self {
        Self { found: Some(Arc::default()), ..Self::default() }
    }

    /// Takes in what was measured of a student: its accuracy, as it is maximised, and its Lipschitz term, if that was measured.
    pub fn found(&self, choices: &Choices, accuracy: f32, lipschitz: Option<f32>) {
        let Some(found) = &self.found else { return };
        let lipschitz = lipschitz.filter(|term| *term > 0.0);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.first.get_or_insert((accuracy, lipschitz));
        found.terms.extend(lipschitz.map(|term| (choices.to_vec(), term)));
    }

    /// The same with another reward.
    pub fn earning(self, earns: Earns) -> Self {
        Self { earns, ..self }
    }

    /// Reward of a student of this accuracy; of a teacher whose accuracy is not known it is taken as it is.
    pub fn reward(&self, compression: &Compression, choices: &Choices, accuracy: f32) -> f32 {
        let first = || {
            let found = self.found.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
            found.first.map(|(accuracy, _)| accuracy).filter(|accuracy| *accuracy > 0.0)
        };
        let whole = self.accuracy.or_else(first).unwrap_or(1.0);
        self.earns.of(compression.share(choices), accuracy / whole)
    }

    /// Logarithm of a student's Lipschitz term over the teacher's (or the first student's), once it is measured; 0 where it is not known.
    pub fn lipschitz(&self, choices: &Choices) -> f32 {
        if let Some(found) = &self.found {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            let first = found.first.and_then(|(_, term)| term);
            let own = found.terms.get(choices);
            return own.zip(first).map_or(0.0, |(own, first)| (own / first).ln());
        }
        let Some((task, full)) = &self.lipschitz else { return 0.0 };
        let term = task.value(choices).map(|value| task.shown(value) as f32);
        term.filter(|term| *term > 0.0).map_or(0.0, |term| (term / full).ln())
    }
}

/// What a teacher may become, and how that is judged.
#[derive(Clone, Debug)]
pub struct Students {
    /// What it may become.
    pub compression: Arc<Compression>,
    /// How that is judged.
    pub judge: Judge,
}

impl Students {
    /// Everything in a space that is within a teacher; the space may be a list or a part of what keeps a budget. None where it has no stages, or
    /// nothing is left.
    pub fn new(space: &Arc<SearchSpace>, teacher: &Choices, costs: Costs, judge: Judge) -> Option<Self> {
        Self::within(space, teacher, 1.0, costs, judge)
    }

    /// The same where `budget` is what there is to spend, in shares of the teacher's cost, in a space that is too large to be looked at.
    pub fn within(
        space: &Arc<SearchSpace>,
        teacher: &Choices,
        budget: f32,
        costs: Costs,
        judge: Judge,
    ) -> Option<Self> {
        let all = Compression::new(space, teacher, f32::INFINITY, costs.clone()).ok()?;
        // What the most expensive one has of the teacher's cost is what there is to spend.
        let shares = all.students().into_iter().map(|choices| all.share(&choices));
        let budget = shares.reduce(f32::max).unwrap_or(budget);
        let compression = Arc::new(Compression::new(space, teacher, budget, costs).ok()?);
        Some(Self { compression, judge })
    }

    /// The same, of which nothing is found yet.
    pub fn anew(&self) -> Self {
        let found = self.judge.found.as_ref().map(|_| Arc::default());
        Self { compression: self.compression.clone(), judge: Judge { found, ..self.judge.clone() } }
    }

    /// Everything within the largest network of a space, of which nothing else is known.
    pub fn of_space(space: &Arc<SearchSpace>) -> Option<Self> {
        let whole = space.whole().unwrap_or(space);
        let teacher = Teacher::of(whole)?;
        let choices = teacher.choices(&teacher.network()).ok()?;
        Self::new(space, &choices, Costs::Published, Judge::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::ListedBy;

    fn space() -> Arc<SearchSpace> {
        SearchSpace::named("wrn-compress-22-3-basic").unwrap()
    }

    fn parse(depths: [usize; 3], widths: [usize; 3]) -> Vec<u8> {
        let stage = |(&d, &w): (&usize, &usize)| [d as u8 - 1, w as u8 - 1];
        [0].into_iter().chain(depths.iter().zip(&widths).flat_map(stage)).collect()
    }

    fn compression(budget: f32) -> Compression {
        Compression::new(&space(), &parse([2, 3, 2], [3, 2, 3]), budget, Costs::Published).unwrap()
    }

    #[test]
    fn what_is_masked_is_what_no_student_within_the_budget_begins_with() {
        let compression = compression(0.5);
        let students = compression.students();
        let (space, mut kept, mut choices) = (space(), Vec::new(), vec![0; 7]);
        for rank in 0..1458 {
            space.unrank(rank, &mut choices);
            let network = WideResNet::of(&space, &choices).unwrap();
            if is_within(&network, &compression.network) && compression.share(&choices) <= 0.5 {
                kept.push(choices.clone());
            }
        }
        assert_eq!(students.len(), kept.len());
        assert!(students.len() > 50 && kept.iter().all(|choices| students.contains(choices)));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2000 {
            let student = compression.random(&mut rng);
            assert!(students.contains(&student));
            for head in 0..3 {
                let allowed = compression.allowed(&student, head);
                assert!(allowed[compression.choice(&student, head)]);
                let mut again = student.clone();
                compression.decide(&mut again, head, compression.choice(&student, head));
                assert_eq!(again, student);
            }
            seen.insert(student);
        }
        assert!(seen.len() > students.len() / 3);
    }

    #[test]
    fn networks_are_seen_by_their_shares_of_the_largest() {
        let compression = compression(0.7);
        let teacher = compression.see(compression.teacher(), 0.0);
        let third = |n: f32| n / 3.0;
        let stages = [0., third(2.), 1., 0., 0., 1., third(2.), 0., 0., third(2.), 1., 0.];
        assert_eq!((&teacher[..12], &teacher[12..]), (&stages[..], &[0., 1., 0.7][..]));
        let mut student = parse([1, 3, 1], [3, 1, 3]);
        student[0] = 1;
        let seen = compression.see(&student, -0.3);
        assert_eq!(seen[..12], [1., third(1.), 1., 0., 1., 1., third(1.), 0., 1., third(1.), 1., 0.]);
        assert_eq!((seen[12], seen[14]), (-0.3, 0.7));
        assert!(seen[13] > 0.0 && seen[13] < 0.3, "{seen:?}");
    }

    #[test]
    fn a_budget_beyond_the_teacher_s_cost_lets_students_grow() {
        let compression = compression(1.5);
        let students = compression.students();
        let larger = |choices: &&Vec<u8>| {
            !is_within(&WideResNet::of(&space(), choices).unwrap(), &compression.network)
        };
        assert!(students.iter().filter(larger).count() > 50);
        assert!(students.iter().all(|choices| compression.share(choices) <= 1.5 + 1e-5));
    }

    #[test]
    fn a_list_masks_what_is_not_on_it() {
        let space = space();
        let listed = [parse([1, 1, 1], [1, 1, 1]), parse([2, 3, 2], [3, 2, 3])];
        let list = space.listed(listed.iter().map(Vec::as_slice), ListedBy::Encoding).unwrap();
        let compression =
            Compression::new(&list, &parse([2, 3, 2], [3, 2, 3]), 1.0, Costs::Published).unwrap();
        assert_eq!(compression.students(), listed);
        let second = compression.allowed(&listed[1], 1);
        assert_eq!(second.iter().filter(|open| **open).count(), 1);
    }

    #[test]
    fn nothing_to_compress_is_said_with_the_numbers() {
        let error = Compression::new(&space(), &parse([1, 1, 1], [2, 2, 2]), 0.01, Costs::Published);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("at most 1.0 % of it; the smallest has "), "{error}");
        let other = SearchSpace::named("nb201").unwrap();
        let error = Compression::new(&other, &[0; 6], 0.5, Costs::Published).unwrap_err().to_string();
        assert!(error.starts_with("nb201 is no space of wide residual networks"), "{error}");
        assert_eq!(choices_of_heads(&other), None);
    }

    #[test]
    fn a_space_too_large_to_be_looked_at_leaves_the_teacher_s_choices() {
        let space = SearchSpace::named("wrn-compress-70-16").unwrap();
        let teacher = space.parse("stem_stride=1,depth1=5,width1=16x,block1=basic,depth2=11,width2=3x,block2=basic,depth3=2,width3=2x,block3=basic").unwrap();
        let compression = Compression::new(&space, &teacher, 0.5, Costs::Published).unwrap();
        assert_eq!(choices_of_heads(&space).unwrap(), [2 * 11 * 16 * 2, 11 * 16 * 2, 11 * 16 * 2]);
        let open = |head| compression.allowed(&teacher, head).iter().filter(|open| **open).count();
        assert_eq!([open(0), open(1), open(2)], [2 * 5 * 16 * 2, 11 * 3 * 2, 2 * 2 * 2]);
        assert!(compression.students().is_empty());
    }

    #[test]
    fn rewards_are_the_published_ones() {
        assert_eq!(Earns::Compression.of(0.25, 0.8), 0.75 * 1.25 * 0.8);
        assert_eq!(Earns::Compression.of(0.25, -0.8), -0.8);
        assert_eq!((Earns::Compression.of(1.0, 1.0), Earns::Accuracy.of(1.0, 0.9)), (0.0, 0.9));
        assert_eq!(
            (Earns::beyond(0.5, 0), Earns::beyond(0.5, 15), Earns::beyond(0.5, 99)),
            (0.5, -1.0, -1.0)
        );
    }
}
