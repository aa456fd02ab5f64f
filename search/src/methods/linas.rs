//! LINAS: Cummings et al. (arXiv 2205.10358). A random population of 50; then, round after round, one predictor for each
//! objective (and each limit) on everything measured, NSGA-II on the predictors alone (20,000 evaluations), and the next 50 from its
//! last population. Ridge regression is the predictor, its penalty chosen by cross-validation.

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter,
    nsga2::{Individual, child, survivors},
    random::unmeasured,
    ridge::Ridge,
};
use hashbrown::HashSet;
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;

const INNER_EVALUATIONS: usize = 20_000;
const PENALTIES: [f64; 3] = [0.1, 1.0, 10.0];
const FOLDS: usize = 5;

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let population = options.whole("population", 50, 2)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        Ok(Box::new(Linas {
            rng: begin.rng(),
            begin: begin.clone(),
            population,
            told: Vec::new(),
            measured: HashSet::new(),
            queue: Vec::new(),
        }))
    }))
}

struct Linas {
    begin: Begin,
    rng: ChaCha8Rng,
    population: usize,
    told: Vec<Individual>,
    measured: HashSet<u64>,
    queue: Vec<Vec<u8>>,
}

impl Linas {
    fn plan(&mut self) {
        let architectures: Vec<&[u8]> = self.told.iter().map(|i| i.choices.as_slice()).collect();
        let told = |i: &Individual, m: usize| *i.values.iter().chain(&i.slacks).nth(m).expect("all are told");
        let models: Vec<Ridge> = (0..self.begin.objectives + self.begin.limits)
            .map(|m| {
                let values: Vec<f64> = self.told.iter().map(|i| f64::from(told(i, m))).collect();
                let error = |&penalty: &f64| cross_validated(&self.begin, &architectures, &values, penalty);
                let best = PENALTIES.iter().map(|p| (error(p), *p)).min_by(|a, b| a.0.total_cmp(&b.0));
                Ridge::fit(&self.begin, &architectures, &values, best.expect("some penalties").1)
            })
            .collect();
        let guess = |choices: Vec<u8>| {
            let values: Vec<f32> = models.iter().map(|model| model.predict(&choices) as f32).collect();
            Individual::told(&self.begin, &choices, &values)
        };
        let known = self.told.iter().map(|i| guess(i.choices.clone())).collect();
        let mut parents = survivors(known, self.population);
        for _ in 0..INNER_EVALUATIONS / self.population {
            let mut children = Vec::with_capacity(self.population);
            while children.len() < self.population {
                let next = child(&self.begin.space, &parents, &children, &mut self.rng);
                children.push(guess(next));
            }
            parents.append(&mut children);
            parents = survivors(parents, self.population);
        }
        // What was measured already is not asked for again (the published program does).
        let mut seen = HashSet::new();
        self.queue = parents
            .into_iter()
            .rev()
            .map(|individual| individual.choices)
            .filter(|choices| {
                let key = self.begin.key(choices);
                !self.measured.contains(&key) && seen.insert(key)
            })
            .collect();
    }
}

/// Mean squared error of predictions of every fifth by the others.
fn cross_validated(begin: &Begin, architectures: &[&[u8]], values: &[f64], penalty: f64) -> f64 {
    let mut sum = 0.0;
    for fold in 0..FOLDS {
        let inside = |i: &usize| i % FOLDS != fold;
        let train: Vec<usize> = (0..values.len()).filter(inside).collect();
        let x: Vec<&[u8]> = train.iter().map(|&i| architectures[i]).collect();
        let y: Vec<f64> = train.iter().map(|&i| values[i]).collect();
        let model = Ridge::fit(begin, &x, &y, penalty);
        let test = (fold..values.len()).step_by(FOLDS);
        sum += test.map(|i| (model.predict(architectures[i]) - values[i]).powi(2)).sum::<f64>();
    }
    sum
}

impl Method for Linas {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        if self.told.len() >= self.population && self.queue.is_empty() {
            self.plan();
        }
        Ok(self.queue.pop().or_else(|| unmeasured(&self.begin, &self.measured, &mut self.rng)))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if self.measured.insert(self.begin.key(choices)) {
            self.told.push(Individual::told(&self.begin, choices, values));
        }
        Ok(())
    }
}
