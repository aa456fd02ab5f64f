//! `srnas top`: a run or a search on the terminal, live.

mod run;
mod search;

use super::{Usage, admin::LearnerAddress, live::look::Look, resume::Kind};
use anyhow::Context;
use clap::Args;
use ratatui::{
    DefaultTerminal, Frame, Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Stylize},
    text::Line,
};
use run::RunLook;
use srnas_basics::text::with_causes;
use std::{
    io::IsTerminal,
    path::PathBuf,
    time::{Duration, Instant},
};

/// The size of one look where there is no terminal.
const SIZE: (u16, u16) = (120, 40);
/// Nobody reads faster.
const SHORTEST: Duration = Duration::from_millis(100);

/// Watch a run or a search on the terminal
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas top runs/search-1                   a search: what runs, the best so far, every measurement
  srnas top runs/latest                     a run, by what it writes into its directory
  srnas top --learner http://learner:7777 --token-file token
  srnas top runs/search-1 --once            one look, printed

Keys: q quits, up and down (or j and k) move through the measurements.")]
pub struct TopCommand {
    /// Run directory of a search by --oracle or of a run; without it a learner is asked
    #[arg(value_name = "DIR", conflicts_with = "learner")]
    dir: Option<PathBuf>,
    /// Time between looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: humantime::Duration,
    /// Print one look and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    learner: LearnerAddress,
}

/// What is watched.
enum View {
    Search(Box<Look>),
    Run(RunLook),
}

impl TopCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let view = self.look()?;
        if self.once {
            println!("{}", printed(&view)?);
            return Ok(());
        }
        if !std::io::stdout().is_terminal() {
            return Err(Usage("stdout is no terminal; --once prints one look".into()).into());
        }
        let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
        let done = self.watch(view, &mut terminal);
        ratatui::restore();
        done
    }

    fn look(&self) -> anyhow::Result<View> {
        let Some(dir) = &self.dir else { return Ok(View::Run(RunLook::of_learner(&self.learner)?)) };
        match Kind::of(dir) {
            Some(Kind::Training) => Ok(View::Run(RunLook::of_directory(dir)?)),
            // What is none is said by the search.
            _ => Ok(View::Search(Box::new(Look::at(dir)?))),
        }
    }

    /// Looks again and again, until somebody has seen enough.
    fn watch(&self, mut view: View, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let every = Duration::from(self.every).max(SHORTEST);
        let (mut scrolled, mut trouble) = (0usize, None);
        loop {
            terminal.draw(|frame| view.draw(frame, scrolled, trouble.as_deref()))?;
            let next = Instant::now() + every;
            loop {
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() || !event::poll(left)? {
                    break;
                }
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                        KeyCode::Down | KeyCode::Char('j') => scrolled = scrolled.saturating_add(1),
                        KeyCode::PageDown | KeyCode::Char(' ') => scrolled = scrolled.saturating_add(10),
                        KeyCode::Up | KeyCode::Char('k') => scrolled = scrolled.saturating_sub(1),
                        KeyCode::PageUp => scrolled = scrolled.saturating_sub(10),
                        KeyCode::Home => scrolled = 0,
                        _ => continue,
                    },
                    Event::Resize(..) => {}
                    _ => continue,
                }
                scrolled = scrolled.min(view.rows().saturating_sub(1));
                terminal.draw(|frame| view.draw(frame, scrolled, trouble.as_deref()))?;
            }
            match self.look() {
                Ok(now) => (view, trouble) = (now, None),
                // What was seen last stays.
                Err(error) => trouble = Some(with_causes(error.as_ref())),
            }
        }
    }
}

impl View {
    /// Rows that can be moved through.
    fn rows(&self) -> usize {
        match self {
            Self::Search(look) => look.report.rows.len(),
            Self::Run(_) => 0,
        }
    }

    fn draw(&self, frame: &mut Frame, scrolled: usize, trouble: Option<&str>) {
        let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
        match self {
            Self::Search(look) => search::draw(frame, body, look, scrolled),
            Self::Run(look) => run::draw(frame, body, look),
        }
        let line = match trouble {
            Some(trouble) => Line::from(trouble.to_string()).fg(Color::Red),
            None if self.rows() > 0 => Line::from("q quit · ↑ ↓ measurements").dim(),
            None => Line::from("q quit").dim(),
        };
        frame.render_widget(line, foot);
    }
}

/// One look as text.
fn printed(view: &View) -> anyhow::Result<String> {
    let (width, height) =
        ratatui::crossterm::terminal::size().ok().filter(|_| std::io::stdout().is_terminal()).unwrap_or(SIZE);
    let mut terminal = Terminal::new(TestBackend::new(width.max(1), height.max(2)))?;
    terminal.draw(|frame| {
        let area = frame.area();
        match view {
            View::Search(look) => search::draw(frame, area, look, 0),
            View::Run(look) => run::draw(frame, area, look),
        }
    })?;
    Ok(text_of(terminal.backend().buffer()))
}

/// What is written in a buffer, without blank ends.
fn text_of(buffer: &Buffer) -> String {
    let row = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_string()
    };
    let rows: Vec<String> = buffer.content().chunks(usize::from(buffer.area.width).max(1)).map(row).collect();
    rows.join("\n").trim_end().to_string()
}
