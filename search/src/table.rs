//! A search of a table: trainings end on a simulated clock, what ends first is told first.

use crate::{
    clock::Durations,
    method::{Begin, Fidelity, Method, MethodError, Training},
    search::{Next, Prices, Search},
};
use std::time::Duration;

/// A paid query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The architecture.
    pub choices: Vec<u8>,
    /// Its objectives, each to be maximised.
    pub values: Vec<f32>,
    /// How long it was trained.
    pub fidelity: Fidelity,
    /// What was paid for by then, in full trainings; what was under way still does not count.
    pub spent: f64,
    /// When its training began, on the simulated clock; a second is a full training where no latency is simulated.
    pub began: Duration,
    /// When its training ended.
    pub ended: Duration,
}

/// The paid queries of a search, in the order in which they ended; the start is the first.
pub type Trace = Vec<Query>;

/// A training that has begun.
struct UnderWay {
    training: Training,
    values: Vec<f32>,
    cost: f64,
    began: Duration,
    ends: Duration,
}

/// Lets a method search until its budget is spent, the next training does not fit into what is left, or there is nothing left
/// to ask. The start is trained alone, for every method is told it before it is asked for anything; then as many trainings run
/// at a time as there are workers and the method can have under way, and each takes as long as `durations` say. What is under way
/// counts against the budget. `measure` says what a training finds; of a shorter one the first value counts.
///
/// # Errors
/// The method's own; and of one that asks for what is no architecture, for what was not measured, or for nothing new for ever.
pub fn search(
    method: &mut dyn Method,
    begin: &Begin,
    workers: usize,
    mut durations: Durations,
    measure: impl Fn(&Training) -> Option<Vec<f32>>,
) -> Result<Trace, MethodError> {
    let prices = Prices { budget: begin.budget, shorter: begin.shorter.clone(), resumes: false };
    let mut search = Search::new(begin.space.clone(), begin.count, prices.clone());
    // Times are by the ranks of the table's own space.
    let times = begin.space.whole().unwrap_or(&begin.space);
    let (mut now, mut trace) = (Duration::ZERO, Vec::with_capacity(begin.budget));
    let mut under_way: Vec<UnderWay> = Vec::new();
    search.begin(Box::new(method))?;
    let mut next = search.start(Training::full(begin.start.clone()));
    loop {
        while let Next::Begin(training) = next {
            let cost = prices.of(training.fidelity);
            let values = measure(&training).ok_or_else(|| {
                let name = begin.space.format(&training.choices);
                MethodError(format!("asked for {name}, which is not in the table"))
            })?;
            let takes = durations.of(times.rank(&training.choices), training.fidelity, cost);
            let ends = now.saturating_add(takes);
            under_way.push(UnderWay { training, values, cost, began: now, ends });
            let free = under_way.len() < workers && !trace.is_empty();
            next = if free { search.next(|| None)? } else { Next::Wait };
        }
        // Of those that end together the first begun.
        let first = (0..under_way.len()).min_by_key(|&i| under_way[i].ends);
        let Some(first) = first else { return Ok(trace) };
        let UnderWay { training, values, cost, began, ends } = under_way.remove(first);
        search.end(training.clone(), Some(values.clone()), cost)?;
        now = ends;
        let (Training { choices, fidelity }, spent) = (training, search.spent());
        trace.push(Query { choices, values, fidelity, spent, began, ended: ends });
        next = search.next(|| None)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        method::{MethodSpec, Past, Whole},
        methods::{
            Preparation, Priors,
            tests::{OURS, concurrent},
        },
    };
    use srnas_config::Latency;
    use srnas_oracle::{catalog::Catalog, simulated::Delays};
    use srnas_space::{Choices, Conditional, Decision, SearchSpace};
    use srnas_task::Count;
    use std::{collections::HashSet, sync::Arc};

    const SHORTER: [f64; 2] = [0.1, 0.3];

    fn space() -> Arc<SearchSpace> {
        let decisions = (0..6).map(|d| Decision::new(format!("d{d}"), &["a", "b", "c"])).collect();
        Arc::new(Conditional::space("made-up", decisions, vec![]).unwrap())
    }

    fn begin(budget: usize, seed: u64) -> Begin {
        let space = space();
        Begin {
            count: Count::Strings,
            objectives: 1,
            limits: 0,
            budget,
            shorter: Arc::from(SHORTER),
            start: vec![1; space.len()],
            seed,
            start_seed: seed,
            whole: Whole::new(&space, Count::Strings).map(Arc::new),
            past: Past::default(),
            space,
        }
    }

    fn value(training: &Training) -> f32 {
        let high = |choices: &Choices| choices.iter().zip(1..).map(|(&c, i)| f32::from(c) / i as f32).sum();
        let high: f32 = high(&training.choices);
        high * (1.0 - 0.1 * training.fidelity.place().map_or(0.0, |place| 2.0 - place as f32))
    }

    fn method(text: &str, begin: &Begin) -> Box<dyn Method> {
        let priors = Priors::default();
        let preparation = Preparation {
            space: &begin.space,
            table: &begin.space,
            tasks: &[],
            objectives: 1,
            limits: 0,
            shorter: SHORTER.len(),
            budget: begin.budget,
            past: &[],
            known: &Past::default(),
            students: None,
            priors: &priors,
        };
        let spec: MethodSpec = text.parse().unwrap();
        (spec.prepare(&preparation).unwrap().start)(begin).unwrap()
    }

    /// Log-normal, so that what begins first seldom ends first.
    fn durations(seed: u64) -> Durations {
        let latency: Latency = "lognormal:1h:0.5".parse().unwrap();
        Durations::new(Delays::new(&latency, &[], &Catalog::new(None), seed).unwrap())
    }

    fn run(text: &str, begin: &Begin, workers: usize, durations: Durations) -> Trace {
        search(method(text, begin).as_mut(), begin, workers, durations, |t| Some(vec![value(t)])).unwrap()
    }

    /// What a method is told and asked, in order.
    struct Noted {
        method: Box<dyn Method>,
        events: Vec<&'static str>,
    }

    impl Method for Noted {
        fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
            unreachable!("trainings are asked for")
        }
        fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
            self.events.push("ask");
            self.method.ask_training()
        }
        fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
            self.events.push("tell");
            self.method.tell(choices, values)
        }
        fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
            self.events.push("tell");
            self.method.tell_shorter(training, value)
        }
        fn begun(&mut self, training: &Training) {
            self.events.push("begun");
            self.method.begun(training);
        }
        fn concurrent(&self) -> bool {
            self.method.concurrent()
        }
    }

    fn noted(text: &str, begin: &Begin, workers: usize) -> Vec<&'static str> {
        let mut noted = Noted { method: method(text, begin), events: Vec::new() };
        search(&mut noted, begin, workers, Durations::default(), |t| Some(vec![value(t)])).unwrap();
        noted.events
    }

    #[test]
    fn one_worker_is_told_each_result_before_it_is_asked_again() {
        let begin = begin(12, 3);
        for text in concurrent() {
            let events = noted(text, &begin, 1);
            assert_eq!(events[..2], ["begun", "tell"], "{text}");
            // What was measured before is told at once.
            let mut after_asking = events.split(|event| *event == "ask").skip(1);
            let told = |between: &[&str]| matches!(between, ["begun", "tell"] | ["tell"] | []);
            assert!(after_asking.all(told), "{text}: {events:?}");
            // The clock says what was paid.
            for query in run(text, &begin, 1, Durations::default()) {
                assert!((query.ended.as_secs_f64() - query.spent).abs() < 1e-6, "{text}");
            }
        }
        // The start first, then all three.
        let beginning = ["begun", "tell", "ask", "begun", "ask", "begun", "ask", "begun", "tell", "ask"];
        assert_eq!(noted("random", &begin, 3)[..10], beginning);
    }

    /// Most trainings under way at any time, and what all that had begun by a time cost, at most.
    fn most(trace: &Trace) -> (usize, f64) {
        let under_way = |at: Duration| trace.iter().filter(|q| q.began <= at && at < q.ended).count();
        let cost = |q: &Query| q.fidelity.place().map_or(1.0, |place| SHORTER[place]);
        (trace.iter().map(|q| under_way(q.began)).max().unwrap(), trace.iter().map(cost).sum())
    }

    #[test]
    fn workers_are_never_more_than_there_are_and_nothing_is_paid_twice_or_beyond_the_budget() {
        let begin = begin(30, 5);
        for text in concurrent() {
            assert!(method(text, &begin).concurrent(), "{text}");
            for workers in [2, 8] {
                let trace = run(text, &begin, workers, durations(1));
                let (at_a_time, cost) = most(&trace);
                assert_eq!(at_a_time, workers, "{text}");
                assert!(cost <= 30.0 + 1e-6 && cost > 29.0 - 1e-6, "{text}: {cost}");
                assert!((trace.last().unwrap().spent - cost).abs() < 1e-6, "{text}");
                let distinct: HashSet<_> = trace.iter().map(|q| (&q.choices, q.fidelity)).collect();
                assert_eq!(distinct.len(), trace.len(), "{text}");
                assert_eq!((&trace[0].choices, trace[0].fidelity), (&begin.start, Fidelity::Full), "{text}");
                assert!(trace.windows(2).all(|pair| pair[0].ended <= pair[1].ended), "{text}");
                assert_eq!(trace, run(text, &begin, workers, durations(1)), "{text} repeats");
            }
        }
        for (text, _) in OURS.iter().filter(|(_, concurrent)| !concurrent) {
            assert!(!method(text, &begin).concurrent(), "{text}");
        }
    }

    #[test]
    fn asha_never_waits_and_the_others_wait_for_the_end_of_a_level() {
        let begin = begin(30, 5);
        let idle = |text: &str| {
            let trace = run(text, &begin, 4, durations(2));
            let last_begun = trace.iter().map(|q| q.began).max().unwrap();
            // A worker that has ended something begins something at the same time.
            let of_worker = trace.iter().map(|q| q.ended).filter(|ended| *ended < last_begun);
            of_worker.skip(1).filter(|ended| trace.iter().all(|q| q.began != *ended)).count()
        };
        assert_eq!(idle("asha"), 0);
        for text in ["halving", "hyperband", "bohb"] {
            assert!(idle(text) > 3, "{text}: {}", idle(text));
        }
    }

    #[test]
    fn a_small_space_is_searched_to_its_end_by_many_workers() {
        let mut begin = begin(1000, 5);
        begin.shorter = Arc::from([]);
        for text in ["random", "universal"] {
            assert_eq!(run(text, &begin, 16, durations(3)).len(), 729, "{text}");
        }
    }

    #[test]
    fn what_is_under_way_is_not_asked_for_again_for_ever() {
        struct Stubborn(usize);
        impl Method for Stubborn {
            fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
                Ok(Some(if self.0 < 2 { vec![0; 6] } else { vec![2; 6] }))
            }
            fn tell(&mut self, _: &Choices, _: &[f32]) -> Result<(), MethodError> {
                self.0 += 1;
                Ok(())
            }
        }
        let found = search(&mut Stubborn(0), &begin(3, 1), 2, durations(1), |t| Some(vec![value(t)]));
        // It waits for the result, and only then goes on to something else.
        let trace = found.unwrap();
        assert_eq!((trace.len(), trace[2].began), (3, trace[1].ended));
        let ended = search(&mut Stubborn(0), &begin(9, 1), 2, durations(1), |t| Some(vec![value(t)]));
        assert!(ended.unwrap_err().0.contains("times in a row"));
    }
}
