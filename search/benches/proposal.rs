//! What a proposal costs a search by a costly oracle that answers at once: 300 measurements of a space of 60 decisions are known,
//! and one more is made, or ten. The first takes in what is known, as a search does that goes on after a stop; the others what
//! is new. And ten that are asked for and told one by one, as `benches/python_proposal.py` does in Python.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use srnas_search::{
    AskTell, Asking, Ends, Goal, Guide, Inbox, Journal, LiveSearch, Measured, Next, Past, Values,
};
use srnas_space::{Conditional, Decision, SearchSpace};
use srnas_task::{Fidelities, Training};
use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Arc, atomic::AtomicBool},
};

struct Sum(Arc<SearchSpace>);

impl CostlyOracle for Sum {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.0
    }

    fn identity(&self) -> (String, String) {
        ("sum".into(), String::new())
    }

    fn metric_names(&self) -> Vec<String> {
        vec!["sum".into()]
    }

    fn measure(&self, training: &Training, _: &AtomicBool) -> Result<Answer, CostlyError> {
        let sum = training.choices.iter().enumerate().map(|(d, &c)| f64::from(c) * (d as f64).sin()).sum();
        Ok(Answer::Metrics(BTreeMap::from([("sum".into(), sum)])))
    }
}

struct Nowhere;

impl Journal for Nowhere {
    fn keep(&mut self, _: &Measured, _: &Result<Values, String>) -> Result<(), String> {
        Ok(())
    }
}

fn proposal(c: &mut Criterion) {
    let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c", "d", "e"]);
    let space = Conditional::space("sixty", (0..60).map(decision).collect(), vec![]);
    let oracle = Sum(Arc::new(space.expect("sixty decisions are a space")));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let stop = AtomicBool::new(false);
    let mut known = Vec::new();
    for _ in 0..300 {
        let mut choices = vec![0; 60];
        oracle.0.sample(&mut rng, &mut choices);
        let (key, training) = (oracle.0.canonical_key(&choices), Training::full(choices));
        let answer = oracle.measure(&training, &stop).expect("it answers");
        known.push(Measured { key, training, cost: 1.0, answer });
    }
    for more in [1, 10] {
        let search = LiveSearch {
            first: Vec::new(),
            added: Inbox::default(),
            sharing: None,
            ends: Ends::default(),
            oracle: &oracle,
            goal: Goal::single("sum", false),
            guide: Guide::default(),
            method: None,
            students: None,
            past: Past::default(),
            budget: 300 + more,
            parallel: 1,
            seed: 1,
        };
        c.bench_function(&format!("proposals, 300 measurements of 60 decisions: {more}"), |b| {
            b.iter_batched(
                || known.clone(),
                |known| black_box(search.run(known, &mut Nowhere, &stop, &|_| ()).expect("it ends")),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    let asking = Asking {
        space: oracle.0.clone(),
        fidelities: Fidelities::FULL,
        resumes: false,
        goal: Goal::single("sum", false),
        guide: Guide::default(),
        method: None,
        past: Past::default(),
        students: None,
        budget: 400,
        ends: Ends::default(),
        seed: 1,
    };
    let answered = |search: &mut AskTell| match search.ask().expect("it goes on") {
        Next::Begin(training) => {
            let answer = oracle.measure(&training, &stop).expect("it answers");
            search.tell(training, answer, &mut Nowhere).expect("it goes on");
        }
        other => panic!("{other:?}"),
    };
    let begun = || {
        let mut search = AskTell::new(asking.clone()).expect("it begins");
        search.know(known.clone()).expect("it takes it in");
        answered(&mut search);
        search
    };
    c.bench_function("asked and told, 300 measurements of 60 decisions: 10", |b| {
        b.iter_batched(
            begun,
            |mut search| (0..10).for_each(|_| answered(black_box(&mut search))),
            criterion::BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, proposal);
criterion_main!(benches);
