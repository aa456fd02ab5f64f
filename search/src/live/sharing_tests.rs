//! A search beside others for the same: what these measure is left to them, known when they have, and measured here when they do not.

use super::{
    tests::{Kept, distinct, ended, search, toy},
    *,
};
use srnas_oracle::costly::CostlyOracle;
use std::collections::{BTreeMap, HashMap};

/// Another search: every third architecture is not left to this one. Of these it answers every second, and gives up the others.
struct Other {
    inbox: Inbox,
    space: Arc<SearchSpace>,
    asked: Mutex<HashMap<u64, usize>>,
    released: AtomicUsize,
}

impl Other {
    fn beside(oracle: &dyn CostlyOracle) -> Self {
        Self {
            inbox: Inbox::default(),
            space: oracle.space().clone(),
            asked: Mutex::default(),
            released: AtomicUsize::new(0),
        }
    }
}

impl Sharing for Other {
    fn claim(&self, training: &Training) -> bool {
        let mut asked = self.asked.lock().unwrap();
        let (n, key) = (asked.len(), self.space.canonical_key(&training.choices));
        let times = asked.entry(key).or_insert(0);
        *times += 1;
        if n % 3 != 0 || *times > 1 {
            return true;
        }
        // Told before the slot knows that it was not left to it, too.
        match n % 2 == 0 {
            true => {
                let metrics = BTreeMap::from([("loss".to_string(), n as f64 / 10.0)]);
                self.inbox
                    .leave([First { training: training.clone(), answer: Some(Answer::Metrics(metrics)) }]);
            }
            false => self.inbox.lapsed(training.clone()),
        }
        false
    }

    fn release(&self, _: &Training) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_others_measure_costs_nothing_and_what_they_give_up_is_measured_here() {
    for parallel in [1, 3] {
        let oracle = toy(5);
        let other = Other::beside(&oracle);
        let shares =
            LiveSearch { added: other.inbox.clone(), sharing: Some(&other), ..search(&oracle, 24, parallel) };
        let found = ended(&shares, vec![]).0;
        let (here, there): (Vec<Measured>, Vec<Measured>) =
            found.iter().cloned().partition(|m| !m.is_elsewhere());
        assert_eq!((here.len(), distinct(&found)), (24, found.len()), "{parallel}");
        assert!(there.len() >= 3, "{}", there.len());
        let asked = other.asked.lock().unwrap();
        let given_up = asked.values().filter(|times| **times == 2).count();
        assert!(given_up >= 3 && asked.values().all(|times| *times <= 2), "{asked:?}");
        assert_eq!(oracle.asked(), 24);
        assert_eq!(other.released.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn the_budget_is_for_what_is_measured_here_alone() {
    let oracle = toy(5);
    let mut search = AskTell::new(search(&oracle, 2, 1).asking()).unwrap();
    let next = |search: &mut AskTell| match search.ask().unwrap() {
        Next::Begin(training) => training,
        other => panic!("{other:?}"),
    };
    let theirs: Vec<Training> = (0..2)
        .map(|_| {
            let training = next(&mut search);
            search.leave_elsewhere(&training);
            training
        })
        .collect();
    let ours = [next(&mut search), next(&mut search)];
    assert_eq!((search.under_way(), search.running(), search.ask().unwrap()), (4, 2, Next::Wait));
    assert!(ours.iter().all(|training| search.is_measured_here(training) && !theirs.contains(training)));
    let (mut journal, one) = (Kept::default(), Answer::Metrics(BTreeMap::from([("loss".to_string(), 1.0)])));
    // What is measured here stays as it is; what was left elsewhere is known once.
    assert!(!search.add(ours[0].clone(), one.clone(), &mut journal).unwrap());
    assert!(search.add(theirs[0].clone(), one.clone(), &mut journal).unwrap());
    assert!(!search.add(theirs[0].clone(), one.clone(), &mut journal).unwrap());
    assert_eq!(
        (search.left_elsewhere(&theirs[0]), search.left_elsewhere(&theirs[1])),
        (None, Some(theirs[1].clone()))
    );
    search.give_up(&theirs[1]);
    assert!(search.is_new(&theirs[1]) && search.left_elsewhere(&theirs[1]).is_none());
    for training in ours {
        search.tell(training, one.clone(), &mut journal).unwrap();
    }
    assert_eq!(
        (search.is_spent(), search.paid_for(), search.known().len(), search.under_way()),
        (true, 2, 3, 0)
    );
}
