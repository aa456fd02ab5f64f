//! `srnas view`: searches and runs on a page, live or when they are over, several beside each other.

use super::{
    Usage, address::listen_address, live::page::SearchSource, resume::Kind, security::ListenerSecurity,
    stop_on_signal,
};
use anyhow::Context;
use clap::Args;
use srnas_learner::{http, page::RunSource};
use srnas_page::{Pages, Source, frozen};
use srnas_security::Token;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Show searches and runs on a page in the browser, while they run or after, several beside each other
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas view runs/search-1                          then open the address that it says
  srnas view runs/search-1 runs/search-2            beside each other, their curves in one plot
  srnas view runs/latest --to run.html              the page as a file, to be kept or sent
  srnas view runs/search-1 --http 0.0.0.0:7780 --token-file token")]
pub struct ViewCommand {
    /// Run directories of searches by --oracle and of runs
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,
    /// Address of the page
    #[arg(long, value_name = "ADDR", value_parser = listen_address, default_value = "127.0.0.1:7780", conflicts_with = "to")]
    http: SocketAddr,
    /// Write the page into this file and serve nothing
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    security: ListenerSecurity,
}

impl ViewCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let sources: Vec<Box<dyn Source>> =
            self.dirs.iter().map(|dir| source(dir)).collect::<Result<_, _>>()?;
        if let Some(to) = &self.to {
            let views = sources.iter().map(|source| source.look()).collect::<Result<Vec<_>, _>>();
            let page = frozen(&views.map_err(anyhow::Error::msg)?);
            srnas_basics::files::write_whole(to, page.as_bytes())
                .with_context(|| format!("cannot write {}", to.display()))?;
            println!("{}", to.display());
            return Ok(());
        }
        let bound = Bound::at(self.http, self.security.load(self.http, None)?.token)?;
        println!("http://{}", bound.address);
        let Bound { runtime, listener, token, .. } = bound;
        let pages = Arc::new(Pages::start(sources, token)?);
        runtime.block_on(async {
            let stop = stop_on_signal();
            http::serve_pages(listener, pages, stop).await;
        });
        Ok(())
    }
}

/// What is in a directory, as it is watched.
fn source(dir: &Path) -> anyhow::Result<Box<dyn Source>> {
    match Kind::of(dir) {
        Some(Kind::Training) => Ok(Box::new(RunSource::of_directory(dir))),
        Some(Kind::Search) => Ok(Box::new(SearchSource::of(dir, None))),
        None if dir.is_file() => Err(Usage(format!(
            "{} is a file, and a run directory is shown; of a ledger of srnas.Search, search.plot() draws the measurements, and `srnas export` \
             takes them out",
            dir.display()
        ))
        .into()),
        None => {
            let place = dir.display();
            Err(Usage(format!(
                "{place} holds neither a search by --oracle nor a run: name its run directory"
            ))
            .into())
        }
    }
}

/// An address that is listened on for those who watch.
pub struct Bound {
    address: SocketAddr,
    token: Option<Token>,
    listener: TcpListener,
    runtime: Runtime,
}

impl Bound {
    /// Listens; whoever comes needs the token, if there is one.
    ///
    /// # Errors
    /// What the system says, such as that a port is in use.
    pub fn at(address: SocketAddr, token: Option<Token>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(http::bind(address))?;
        Ok(Self { address: listener.local_addr()?, token, listener, runtime })
    }

    /// Shows these from now on, until what is returned is dropped.
    ///
    /// # Errors
    /// The system's, if there is no thread.
    pub fn show(self, sources: Vec<Box<dyn Source>>) -> anyhow::Result<Watched> {
        let Self { address, token, listener, runtime } = self;
        let pages = Arc::new(Pages::start(sources, token)?);
        let over = CancellationToken::new();
        let until = over.clone();
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(move || runtime.block_on(http::serve_pages(listener, pages, until)))?;
        info!("watch it on http://{address}");
        Ok(Watched { over, thread: Some(thread) })
    }
}

/// Pages that are served as long as this is there.
pub struct Watched {
    over: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.over.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
