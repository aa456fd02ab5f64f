//! A comparison as it is watched: how many of its searches are made.

use serde_json::json;
use srnas_page::{Deed, Rows, Source, View};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Counts searches, for whoever makes them and whoever watches.
#[derive(Clone)]
pub struct Searches {
    title: String,
    all: usize,
    done: Arc<AtomicUsize>,
    /// Those that an earlier call made.
    before: Arc<AtomicUsize>,
    began: Instant,
}

impl Searches {
    /// None of `all` yet.
    pub fn new(title: String, all: usize) -> Self {
        let before = Arc::new(AtomicUsize::new(usize::MAX));
        Self { title, all, done: Arc::default(), before, began: Instant::now() }
    }

    /// So many are made.
    pub fn done(&self, done: usize) {
        self.before.fetch_min(done, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }
}

impl Source for Searches {
    fn look(&self) -> Result<View, String> {
        let (done, before) = (self.done.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed));
        let now = done.saturating_sub(before);
        let elapsed = self.began.elapsed().as_secs_f64();
        let left = (now > 0).then(|| (elapsed * (self.all - done) as f64 / now as f64).round());
        Ok(View {
            about: json!({ "kind": "document", "title": self.title }),
            head: json!({
                "headline": format!("{done} of {} searches", self.all),
                "share": done as f64 / self.all.max(1) as f64,
                "left": left,
                "basis": format!("{now} searches took {elapsed:.0} s"),
                "blocks": [{ "paragraph": "The comparison is on this page when the last search is made, and in report.html." }],
            }),
            rows: Rows::default(),
        })
    }

    fn deeds(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn act(&self, _: &Deed) -> Result<String, String> {
        Err("a comparison goes on by the same command: end it by its signals".into())
    }
}
