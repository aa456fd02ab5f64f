//! Small languages of the command line and of the configuration.

use srnas_config::Config;
use srnas_task::{Fidelities, Fidelity, Reward, TaskName, expand_braces};

/// Text is refused in each of them, or means the same when it is written and read again.
pub fn words(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(task) = text.parse::<TaskName>() {
        assert_eq!(task.to_string(), text);
        assert!(!task.terms.is_empty() && task.terms.iter().all(|term| term.weight.is_finite()));
        let same = task.over(|term| term.metric.clone()).expect("its own metrics");
        assert_eq!((same.terms.len(), &same.factors), (task.terms.len(), &task.factors));
        let _ = task.family();
    }
    if let Ok(reward) = text.parse::<Reward>() {
        assert_eq!(reward.to_string().parse().as_ref(), Ok(&reward));
        let _ = reward.of(|_| Ok(1.0));
    }
    for name in expand_braces(text).unwrap_or_default() {
        assert!(name.len() <= text.len());
    }
    if let Ok(fidelities) = text.parse::<Fidelities>() {
        assert_eq!(fidelities.to_string().parse::<Fidelities>().as_ref(), Ok(&fidelities));
        for (place, cost) in fidelities.costs().enumerate() {
            assert!(0.0 < cost && cost < 1.0);
            assert_eq!(fidelities.of_share(cost), Some(Fidelity::Shorter(place)));
        }
    }
    if let Ok(config) = Config::parse(text, "text") {
        let written = config.to_toml();
        let again = Config::parse(&written, "written").expect("what was written can be read");
        assert_eq!(again.to_toml(), written);
        let _ = config.train_tasks();
    }
}
