//! What an agent that compresses is trained on: teachers within a space, each within budgets, on the tasks of a run.

use crate::{catalog::Catalog, run_tasks::RunTasksError, tasks::resolve_objectives};
use rand::{Rng, seq::IndexedRandom};
use srnas_basics::check::WrongValue;
use srnas_config::{CompressConfig, ConfigError};
use srnas_environment::compress::{Compression, Costs, Judge, choices_of_heads, lipschitz_beside};
use srnas_space::{
    SearchSpace,
    wrn::{self, Block, Stage, Teacher, WideResNet},
};
use srnas_task::{Count, Task, TaskName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Architectures of the largest space on which an agent is trained: what keeps the budget is looked at as a whole.
const LARGEST: u64 = 1 << 16;

/// By teacher and budget what a teacher may become; none where no student keeps the budget.
type Made = HashMap<[usize; 2], Option<Arc<Compression>>>;
/// By task, teacher and budget the best and the median student; none where they are equal.
type Ranges = HashMap<[usize; 3], Option<[f32; 2]>>;

/// Teachers, budgets, and how their students are judged.
#[derive(Debug)]
pub struct Teachers {
    costs: Costs,
    /// Of each task the Lipschitz term that goes with it, where the benchmark has one.
    lipschitz: Vec<Option<Arc<Task>>>,
    teachers: Vec<Vec<u8>>,
    config: CompressConfig,
    made: Mutex<Made>,
    ranges: Mutex<Ranges>,
}

/// A teacher within a budget on a task.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The task, by its place among the run's.
    pub task: usize,
    /// What the teacher may become.
    pub compression: Arc<Compression>,
    /// How a student is judged.
    pub judge: Judge,
    /// Best and median of all students within the budget.
    range: [f32; 2],
}

impl Offer {
    /// Normalised regret of a value: 0 is the best student within the budget, 1 the median one.
    pub fn normalised_regret(&self, value: f32) -> f32 {
        let [best, median] = self.range;
        (best - value) / (best - median)
    }
}

impl Teachers {
    /// What a configuration names; `names` are those of the tasks.
    ///
    /// # Errors
    /// A space without stages or with too many architectures, a cost that the benchmark has not, a teacher that is not in the space.
    pub fn resolve(
        config: &CompressConfig,
        catalog: &Catalog,
        names: &[TaskName],
        tasks: &[Arc<Task>],
        count: Count,
    ) -> Result<Self, RunTasksError> {
        let wrong = |key, reason| RunTasksError::from(ConfigError::from(WrongValue { key, reason }));
        let space = tasks[0].space();
        if choices_of_heads(space).is_none() || space.size().is_none_or(|size| size > LARGEST) {
            let reason = format!(
                "compresses wide residual networks that are listed in a table, as digits-wrn/val/pgd20@16 does; {} has none",
                space.name()
            );
            return Err(wrong("compress.train", reason));
        }
        let metric = |benchmark: &str, metric: &str| format!("{benchmark}/{metric}").parse::<TaskName>();
        let cost = metric(&names[0].benchmark, &config.cost).map_err(ConfigError::from)?;
        let cost = resolve_objectives(catalog, &[cost], count)?.swap_remove(0);
        let lipschitz = names.iter().map(|name| lipschitz(catalog, name, count)).collect();
        let read = |key, texts: &[String]| -> Result<Vec<Vec<u8>>, RunTasksError> {
            let teacher = |text: &String| teacher(space, text).map_err(|reason| wrong(key, reason));
            texts.iter().map(teacher).collect()
        };
        let held_out = read("compress.held_out", &config.held_out)?;
        let mut teachers = match config.teachers.is_empty() {
            true => all_teachers(space),
            false => read("compress.teachers", &config.teachers)?,
        };
        teachers.retain(|teacher| !held_out.contains(teacher));
        if teachers.is_empty() {
            return Err(wrong("compress.held_out", "leaves no teacher to train on".into()));
        }
        Ok(Self {
            costs: Costs::Metric(cost),
            lipschitz,
            teachers,
            config: config.clone(),
            made: Mutex::default(),
            ranges: Mutex::default(),
        })
    }

    /// What the agent is like and how it learns.
    pub fn config(&self) -> &CompressConfig {
        &self.config
    }

    /// A teacher and a budget on one of some tasks; none where nothing drawn has two students that differ.
    pub fn draw(&self, tasks: &[Arc<Task>], among: &[usize], rng: &mut impl Rng) -> Option<Offer> {
        const TRIES: usize = 200;
        (0..TRIES).find_map(|_| {
            let task = *among.choose(rng)?;
            let teacher = rng.random_range(0..self.teachers.len());
            let budget = rng.random_range(0..self.config.budgets.len());
            self.offer(tasks, task, teacher, budget)
        })
    }

    /// One of them; none where no student keeps the budget, or all are equal.
    fn offer(&self, tasks: &[Arc<Task>], task: usize, teacher: usize, budget: usize) -> Option<Offer> {
        let (space, choices) = (tasks[task].space(), &self.teachers[teacher]);
        let compression = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let share = self.config.budgets[budget];
            let make = || Compression::new(space, choices, share, self.costs.clone()).ok().map(Arc::new);
            made.entry([teacher, budget]).or_insert_with(make).clone()?
        };
        let range = {
            let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
            let range = || range(&tasks[task], &compression.students());
            *ranges.entry([task, teacher, budget]).or_insert_with(range)
        }?;
        let lipschitz = self.lipschitz.get(task).cloned().flatten();
        let judge = Judge::new(choices, Some(&tasks[task]), lipschitz, self.config.reward);
        Some(Offer { task, compression, judge, range })
    }
}

/// Best and median of what a task knows of some architectures; none where they are equal.
fn range(task: &Task, students: &[Vec<u8>]) -> Option<[f32; 2]> {
    let mut values: Vec<f32> = students.iter().filter_map(|choices| task.value(choices)).collect();
    values.sort_unstable_by(f32::total_cmp);
    let (best, median) = (*values.last()?, values[values.len() / 2]);
    (best > median).then_some([best, median])
}

/// The Lipschitz term at a task's data set and radius, where its benchmark has one.
pub fn lipschitz(catalog: &Catalog, task: &TaskName, count: Count) -> Option<Arc<Task>> {
    let metric = lipschitz_beside(&task.alone()?.metric)?;
    let name: TaskName = format!("{}/{metric}", task.benchmark).parse().ok()?;
    resolve_objectives(catalog, &[name], count).ok()?.pop()
}

/// A teacher by its notation in the space, or as `WRN-16-2`, all of whose stages are alike.
///
/// # Errors
/// What it is not, and what it could be.
pub fn teacher(space: &SearchSpace, text: &str) -> Result<Vec<u8>, String> {
    let space = space.whole().map_or(space, |whole| whole);
    let own = Teacher::of(space).ok_or_else(|| {
        format!("{} has no teachers: it is no space of wide residual networks", space.name())
    })?;
    let named = text.strip_prefix("WRN-").or_else(|| text.strip_prefix("wrn-"));
    let Some(uniform) = named else {
        return space.parse(text).map_err(|error| error.to_string());
    };
    let name = format!("{}-{uniform}", wrn::PREFIX);
    let of = SearchSpace::named(&name).map_err(|error| error.to_string())?;
    let network = Teacher::of(&of).ok_or("no teacher")?.network();
    own.choices(&network).map_err(|error| format!("{text}: {error}"))
}

/// Every network with a stem of stride 1 whose stages are two blocks deep and twice as wide or more, of basic blocks.
fn all_teachers(space: &SearchSpace) -> Vec<Vec<u8>> {
    let whole = space.whole().map_or(space, |whole| whole);
    let mut choices = vec![0; whole.len()];
    let large = |network: &WideResNet| {
        let large = |stage: &Stage| stage.depth >= 2 && stage.width >= 2 && stage.block == Block::Basic;
        network.stem_stride == 1 && network.stages.iter().all(large)
    };
    let of_rank = |rank| {
        whole.unrank(rank, &mut choices);
        WideResNet::of(whole, &choices).filter(large).map(|_| choices.clone())
    };
    (0..whole.size().unwrap_or(0)).filter_map(of_rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn resolve(config: &CompressConfig) -> Result<(Teachers, Vec<Arc<Task>>), RunTasksError> {
        let catalog = Catalog::new(None);
        let names: Vec<TaskName> =
            ["digits-wrn/val/pgd20@16", "digits-wrn/val/cw40@32"].map(|name| name.parse().unwrap()).into();
        let tasks = resolve_objectives(&catalog, &names, Count::Classes)?;
        Ok((Teachers::resolve(config, &catalog, &names, &tasks, Count::Classes)?, tasks))
    }

    #[test]
    fn offers_are_of_teachers_that_are_not_held_out_and_of_students_within_the_budget() {
        let config =
            CompressConfig { held_out: vec!["WRN-16-2".into(), "WRN-22-3".into()], ..Default::default() };
        let (teachers, tasks) = resolve(&config).unwrap();
        assert_eq!(teachers.teachers.len(), 64 - 2);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..300 {
            let offer = teachers.draw(&tasks, &[0, 1], &mut rng).unwrap();
            assert_ne!(offer.compression.teacher(), [0, 1, 1, 1, 1, 1, 1]);
            let student = offer.compression.random(&mut rng);
            let task = &tasks[offer.task];
            let value = task.value(&student).unwrap();
            assert!(offer.normalised_regret(value) >= -1e-6);
            let teacher = task.value(offer.compression.teacher()).unwrap();
            let reward = offer.judge.reward(&offer.compression, &student, value);
            assert!((reward - value / teacher).abs() < 1e-6);
            let lipschitz = offer.judge.lipschitz(&student);
            assert!(lipschitz.is_finite() && offer.judge.lipschitz(offer.compression.teacher()) == 0.0);
        }
        let offer = teachers.draw(&tasks, &[1], &mut rng).unwrap();
        let students = offer.compression.students();
        assert!(
            students.iter().any(|choices| offer.judge.lipschitz(choices).abs() > 0.1),
            "a term that differs"
        );
        let best = students.iter().filter_map(|c| tasks[1].value(c)).fold(f32::MIN, f32::max);
        assert_eq!(offer.normalised_regret(best), 0.0);
    }

    #[test]
    fn teachers_are_named_and_strangers_refused() {
        let space = crate::digits_wrn::space();
        assert_eq!(teacher(&space, "WRN-16-2").unwrap(), [0, 1, 1, 1, 1, 1, 1]);
        let text = "stem_stride=1,depth1=2,width1=3x,depth2=1,width2=1x,depth3=3,width3=2x";
        assert_eq!(teacher(&space, text).unwrap(), [0, 1, 2, 0, 0, 2, 1]);
        for (text, says) in [
            ("WRN-28-3", "the depth of stage 1 is 4, and the teacher's is 3"),
            ("WRN-17-2", "such as 16 or 22"),
            ("WRN-16", "as in wrn-compress-28-10"),
        ] {
            let error = teacher(&space, text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let other = SearchSpace::named("nb201").unwrap();
        assert!(teacher(&other, "WRN-16-2").unwrap_err().contains("no space of wide residual networks"));
        for (config, key) in [
            (CompressConfig { cost: "cost/parametres".into(), ..Default::default() }, "parametres"),
            (
                CompressConfig { teachers: vec!["WRN-28-10".into()], ..Default::default() },
                "compress.teachers",
            ),
            (
                CompressConfig {
                    teachers: vec!["WRN-16-2".into()],
                    held_out: vec!["WRN-16-2".into()],
                    ..Default::default()
                },
                "compress.held_out",
            ),
        ] {
            let error = resolve(&config).unwrap_err();
            let chain = format!("{error} {:?}", error);
            assert!(chain.contains(key), "{chain}");
        }
    }
}
