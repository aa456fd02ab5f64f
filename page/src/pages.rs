//! Looking at what is watched, while somebody watches.

use crate::{Deed, View};
use serde_json::{Value, json};
use srnas_security::Token;
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Between two looks at least.
const PAUSE: Duration = Duration::from_millis(500);
/// Looking takes no more than this share of a thread.
const SHARE: u32 = 10;

/// Something that is watched.
pub trait Source: Send + Sync {
    /// How it stands. It may block.
    ///
    /// # Errors
    /// Why that cannot be told, for people.
    fn look(&self) -> Result<View, String>;

    /// Names of what can be asked of it, see [`Deed::name`].
    fn deeds(&self) -> Vec<&'static str>;

    /// Does what was asked, and says in a sentence what came of it. It may block.
    ///
    /// # Errors
    /// Why it is not done, for people.
    fn act(&self, deed: &Deed) -> Result<String, String>;
}

/// Everything that a server shows.
pub struct Pages {
    shared: Arc<Shared>,
    nudge: SyncSender<()>,
}

struct Shared {
    sources: Vec<Box<dyn Source>>,
    token: Option<Token>,
    looked: Mutex<Vec<Looked>>,
    /// Counts looks that brought something; its receivers are who watches.
    pulse: watch::Sender<u64>,
    /// Of this process: what was sent by an earlier one is not gone on with.
    process: u64,
}

/// What was seen of one source.
#[derive(Clone, Default)]
struct Looked {
    view: Option<Arc<View>>,
    trouble: Option<String>,
    /// Another one whenever rows are not what they were.
    epoch: u64,
    /// Another one whenever anything is not what it was.
    version: u64,
}

/// How much of one source a reader has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sent {
    epoch: Option<u64>,
    rows: usize,
    version: u64,
}

impl Pages {
    /// Shows these; whoever asks needs the token, if there is one.
    ///
    /// # Errors
    /// The system's, if there is no thread.
    pub fn start(sources: Vec<Box<dyn Source>>, token: Option<Token>) -> io::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Arc::new(Shared {
            looked: Mutex::new(vec![Looked::default(); sources.len()]),
            sources,
            token,
            pulse: watch::channel(0).0,
            process: since.as_millis() as u64,
        });
        let (nudge, nudged) = sync_channel(1);
        let looking = shared.clone();
        // It ends when the pages, and the sender with them, are gone.
        std::thread::Builder::new().name("page".into()).spawn(move || looking.follow(&nudged))?;
        Ok(Self { shared, nudge })
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.shared.token.as_ref()
    }

    /// Does something with a source; it may block.
    pub(crate) fn act(&self, source: usize, deed: &Deed) -> Result<String, String> {
        let source = self.shared.sources.get(source).ok_or("there is no such page")?;
        if !source.deeds().contains(&deed.name()) {
            return Err(format!("it cannot be asked to {}", deed.name()));
        }
        let done = source.act(deed);
        let _ = self.nudge.try_send(());
        done
    }

    /// A reader that has what its last id says.
    pub(crate) fn reader(&self, last: &str) -> Reader {
        let pulse = self.shared.pulse.subscribe();
        let _ = self.nudge.try_send(());
        Reader { sent: self.shared.had(last), shared: self.shared.clone(), pulse }
    }
}

impl Shared {
    fn looked(&self) -> MutexGuard<'_, Vec<Looked>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks as long as the pages are there, and while somebody watches.
    fn follow(&self, nudged: &Receiver<()>) {
        let mut pause = PAUSE;
        loop {
            if let Err(RecvTimeoutError::Disconnected) = nudged.recv_timeout(pause) {
                return;
            }
            if self.pulse.receiver_count() == 0 {
                continue;
            }
            let began = Instant::now();
            for (place, source) in self.sources.iter().enumerate() {
                let found = source.look();
                let mut looked = self.looked();
                if looked[place].take(found) {
                    drop(looked);
                    self.pulse.send_modify(|n| *n += 1);
                }
            }
            pause = PAUSE.max(began.elapsed() * SHARE);
        }
    }

    /// What a reader has that says so: of each source the epoch and the number of rows.
    fn had(&self, last: &str) -> Vec<Sent> {
        let mut parts = last.split(',');
        let same_process = parts.next().and_then(|p| p.parse().ok()) == Some(self.process);
        let one = |text: &str| {
            let (epoch, rows) = text.split_once(':')?;
            Some(Sent { epoch: Some(epoch.parse().ok()?), rows: rows.parse().ok()?, version: 0 })
        };
        let mut of = || parts.next().filter(|_| same_process).and_then(one).unwrap_or_default();
        self.sources.iter().map(|_| of()).collect()
    }
}

impl Looked {
    /// Takes in what was found; whether it is something new.
    fn take(&mut self, found: Result<View, String>) -> bool {
        match found {
            Ok(view) => {
                let before = self.view.as_deref();
                if self.trouble.is_none() && before == Some(&view) {
                    return false;
                }
                let goes_on = before.is_some_and(|b| b.about == view.about && view.rows.continues(&b.rows));
                self.epoch += u64::from(!goes_on);
                (self.view, self.trouble) = (Some(Arc::new(view)), None);
            }
            Err(reason) => {
                if self.trouble.as_ref() == Some(&reason) {
                    return false;
                }
                self.trouble = Some(reason);
            }
        }
        self.version += 1;
        true
    }

    /// What a reader lacks, if it lacks anything.
    fn lacking(&self, sent: &Sent) -> Option<Value> {
        if sent.version == self.version {
            return None;
        }
        if let Some(trouble) = &self.trouble {
            return Some(json!({ "trouble": trouble }));
        }
        let view = self.view.as_ref()?;
        Some(match sent.epoch == Some(self.epoch) && sent.rows <= view.rows.len() {
            true => json!({ "head": view.head, "rows": view.rows.after(sent.rows) }),
            false => json!({ "view": **view }),
        })
    }
}

/// Somebody who watches.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    sent: Vec<Sent>,
    pulse: watch::Receiver<u64>,
}

impl Reader {
    /// Waits until there may be something new.
    pub async fn changed(&mut self) {
        // The sender lives as long as `shared`, which is here.
        let _ = self.pulse.changed().await;
    }

    /// Events with everything that it lacks, as they are sent; empty where it lacks nothing. Large ones take some milliseconds.
    pub fn events(&mut self) -> String {
        let looked = self.shared.looked().clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let mut text = String::new();
        for (place, one) in looked.iter().enumerate() {
            let Some(mut message) = one.lacking(&self.sent[place]) else { continue };
            message["source"] = place.into();
            message["now"] = now.into();
            // Without a token nothing can be done here.
            message["actions"] = match self.shared.token {
                Some(_) => self.shared.sources[place].deeds().into(),
                None => Value::Null,
            };
            if one.trouble.is_none()
                && let Some(view) = &one.view
            {
                (self.sent[place].epoch, self.sent[place].rows) = (Some(one.epoch), view.rows.len());
            }
            self.sent[place].version = one.version;
            text += &format!("id: {}\ndata: {message}\n\n", self.id());
        }
        text
    }

    fn id(&self) -> String {
        let one = |sent: &Sent| format!(",{}:{}", sent.epoch.unwrap_or_default(), sent.rows);
        self.shared.process.to_string() + &self.sent.iter().map(one).collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    fn view(values: &[f64], state: &str) -> View {
        View {
            about: json!({ "kind": "search" }),
            head: json!(state),
            rows: Rows::new(values.len()).with("value", values.iter().copied()),
        }
    }

    struct Fixed(Mutex<Result<View, String>>);

    impl Source for Arc<Fixed> {
        fn look(&self) -> Result<View, String> {
            self.0.lock().unwrap().clone()
        }

        fn deeds(&self) -> Vec<&'static str> {
            vec!["drain"]
        }

        fn act(&self, deed: &Deed) -> Result<String, String> {
            Ok(format!("{} done", deed.name()))
        }
    }

    /// The messages that a reader is sent next.
    fn next(reader: &mut Reader) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let events = reader.events();
            if !events.is_empty() {
                let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
                return data.map(|data| serde_json::from_str(data).unwrap()).collect();
            }
            assert!(Instant::now() < until, "nothing came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_reader_is_sent_what_it_lacks_and_all_where_rows_were_taken_back() {
        let fixed = Arc::new(Fixed(Mutex::new(Ok(view(&[1.0, 2.0], "a")))));
        let set = |now: Result<View, String>| *fixed.0.lock().unwrap() = now;
        let pages = Pages::start(vec![Box::new(fixed.clone())], None).unwrap();
        let mut reader = pages.reader("");
        let first = &next(&mut reader)[0];
        assert_eq!(first["view"]["rows"]["count"], 2);
        assert!(first["actions"].is_null(), "nothing can be done without a token");
        set(Ok(view(&[1.0, 2.0, 3.0], "b")));
        let more = &next(&mut reader)[0];
        assert_eq!((&more["head"], &more["rows"]["columns"]["value"]), (&json!("b"), &json!([3.0])));
        // Another connection goes on where that one was.
        let mut again = pages.reader(&reader.id());
        set(Ok(view(&[1.0, 2.0, 3.0, 4.0], "b")));
        let mut rows: Vec<Value> = Vec::new();
        while rows.is_empty() {
            for message in next(&mut again) {
                assert!(message["view"].is_null());
                rows.extend(message["rows"]["columns"]["value"].as_array().unwrap().clone());
            }
        }
        assert_eq!(rows, [json!(4.0)]);
        set(Err("the disk is gone".into()));
        let mut trouble = next(&mut again);
        if trouble[0]["trouble"].is_null() {
            trouble = next(&mut again);
        }
        assert_eq!(trouble[0]["trouble"], "the disk is gone");
        set(Ok(view(&[1.0, 5.0], "c")));
        assert_eq!(next(&mut again)[0]["view"]["rows"]["count"], 2);
        // An id of another process, and one that is none.
        for id in ["7,1:4", "what", "", ",,,:"] {
            let mut other = pages.reader(id);
            assert_eq!(next(&mut other)[0]["view"]["rows"]["count"], 2, "{id}");
        }
    }

    #[test]
    fn only_what_a_source_offers_is_done() {
        let fixed = Arc::new(Fixed(Mutex::new(Ok(view(&[], "")))));
        let pages = Pages::start(vec![Box::new(fixed)], None).unwrap();
        assert_eq!(pages.act(0, &Deed::Drain).unwrap(), "drain done");
        assert!(pages.act(0, &Deed::Stop).unwrap_err().contains("cannot be asked to stop"));
        assert!(pages.act(1, &Deed::Drain).unwrap_err().contains("no such page"));
    }
}
