//! The training of a policy as it is watched: by what it writes into its directory, or by what its learner says.

use crate::commands::{
    Usage,
    admin::{ANSWER, Admin, LearnerAddress},
    live::look::shortly,
};
use anyhow::Context;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::Line,
    widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table},
};
use srnas_learner::RunDir;
use srnas_proto::v1;
use std::{fs, path::Path, time::Duration};

/// The file with a row every ten seconds.
const METRICS: &str = "metrics.csv";
/// So many of its rows are plotted.
const PLOTTED: usize = 400;

/// How a run stands.
pub struct RunLook {
    title: String,
    /// Share of the run that is over.
    share: f64,
    /// Lines of numbers.
    facts: Vec<String>,
    /// Environment steps per second, in the order of time.
    rates: Vec<u64>,
    /// Tables, each with a title and the names of its columns.
    tables: Vec<(String, Vec<String>, Vec<Vec<String>>)>,
}

impl RunLook {
    /// By what a run writes into its directory.
    ///
    /// # Errors
    /// Where it has written nothing yet.
    pub fn of_directory(run_dir: &Path) -> anyhow::Result<Self> {
        let path = run_dir.join(METRICS);
        let text = fs::read_to_string(&path).map_err(|e| {
            Usage(format!("{} cannot be read ({e}); a run writes it every ten seconds", path.display()))
        })?;
        let (columns, rows) = table(&text);
        let last = rows.last().with_context(|| format!("{} has no row yet", path.display()))?;
        let of = |name: &str| {
            let place = columns.iter().position(|column| column == name)?;
            Some(last.get(place)?.as_str()).filter(|text| !text.is_empty())
        };
        let said = |name: &str| of(name).unwrap_or("–").to_string();
        let seconds = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let elapsed = Duration::try_from_secs_f64(seconds(of("elapsed_seconds"))).unwrap_or_default();
        let state = match RunDir::holder(run_dir) {
            Some(holder) => format!("running ({holder})"),
            None => "not running".into(),
        };
        let rate = columns.iter().position(|column| column == "environment_steps_per_second");
        let rate = |row: &Vec<String>| rate.and_then(|place| row.get(place)?.parse::<f64>().ok());
        let rates: Vec<u64> = rows.iter().filter_map(rate).map(|rate| rate.max(0.0) as u64).collect();
        let regrets = columns.iter().filter_map(|column| {
            Some(vec![column.strip_prefix("regret/")?.to_string(), of(column)?.to_string()])
        });
        let facts = vec![
            format!(
                "{} environment steps ({}/s) · {} transitions ({}/s) · {} updates ({}/s) · {} measurements",
                said("environment_steps"),
                said("environment_steps_per_second"),
                said("transitions"),
                said("transitions_per_second"),
                said("updates"),
                said("updates_per_second"),
                said("measurements")
            ),
            format!(
                "{} actors · replay {} · policy {} · loss {} · gain {} · rejects {} stale {} malformed",
                said("actors"),
                said("replay_transitions"),
                said("policy_version"),
                said("loss"),
                said("validation_gain"),
                said("batches_stale"),
                said("batches_malformed")
            ),
            format!("limited by {}", said("limited_by")),
        ];
        Ok(Self {
            title: format!("run {} · {state} · {}", run_dir.display(), shortly(elapsed)),
            share: seconds(of("done")),
            facts,
            rates: rates[rates.len().saturating_sub(PLOTTED)..].to_vec(),
            tables: vec![(
                "normalised regret of recent episodes".into(),
                ["group", "mean"].map(String::from).to_vec(),
                regrets.collect(),
            )],
        })
    }

    /// By what a learner says.
    ///
    /// # Errors
    /// As asking it.
    pub fn of_learner(learner: &LearnerAddress) -> anyhow::Result<Self> {
        let (s, best) = learner.ask(ANSWER, async |mut admin: Admin| {
            let status = admin.status(v1::StatusRequest {}).await?.into_inner();
            Ok((status, admin.best(v1::BestRequest {}).await?.into_inner()))
        })?;
        let elapsed = Duration::try_from_secs_f64(s.elapsed_s).unwrap_or_default();
        let actor = |a: &v1::ActorStatus| {
            vec![
                a.id.clone(),
                a.episodes.to_string(),
                format!("{:.0}", a.environment_steps_per_s),
                a.policy_lag.to_string(),
                format!("{:.1} s", a.silent_s),
            ]
        };
        let incumbent = |i: &v1::Incumbent| {
            let (value, measurements) = (format!("{:.4}", i.value), i.measurements.to_string());
            vec![i.task.clone(), value, measurements, i.architecture.clone()]
        };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Ok(Self {
            title: format!("run {} · {} · {}", s.run_id, s.software, shortly(elapsed)),
            share: s.share,
            facts: vec![
                format!(
                    "{} environment steps ({:.0}/s) · {} transitions ({:.0}/s) · {} updates ({:.1}/s) · {} measurements",
                    s.environment_steps,
                    s.environment_steps_per_s,
                    s.transitions,
                    s.transitions_per_s,
                    s.updates,
                    s.updates_per_s,
                    s.measurements
                ),
                format!(
                    "replay {} · {:.2} draws per transition · policy {} · rejects {} stale {} malformed",
                    s.replay, s.samples_per_insert, s.policy_version, s.stale_batches, s.malformed_batches
                ),
                s.limit.clone(),
            ],
            rates: Vec::new(),
            tables: vec![
                (
                    "actors".into(),
                    names(&["actor", "episodes", "env steps/s", "lag", "silent"]),
                    s.actors.iter().map(actor).collect(),
                ),
                (
                    "best of each task".into(),
                    names(&["task", "best", "measurements", "architecture"]),
                    best.incumbents.iter().map(incumbent).collect(),
                ),
            ],
        })
    }
}

/// Columns and whole rows of a file that is written meanwhile.
fn table(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    // Only names of groups may be quoted, and none has a line's end in it.
    let fields = |line: &str| line.split(',').map(|field| field.trim_matches('"').to_string()).collect();
    let mut lines = whole.lines();
    let columns: Vec<String> = lines.next().map(fields).unwrap_or_default();
    let rows = lines.map(fields).filter(|row: &Vec<String>| row.len() == columns.len()).collect();
    (columns, rows)
}

/// Draws it.
pub fn draw(frame: &mut Frame, area: Rect, look: &RunLook) {
    let plot = if look.rates.is_empty() { 0 } else { 6 };
    let [title, gauge, facts, rates, tables] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(look.facts.len() as u16 + 1),
        Constraint::Length(plot),
        Constraint::Min(0),
    ])
    .areas(area);
    frame.render_widget(Line::from(look.title.as_str()).bold(), title);
    let share = if look.share.is_finite() { look.share.clamp(0.0, 1.0) } else { 0.0 };
    frame.render_widget(Gauge::default().ratio(share).gauge_style(Style::new().fg(Color::Cyan)), gauge);
    frame.render_widget(Paragraph::new(look.facts.join("\n")), facts);
    if plot > 0 {
        // The newest that fit.
        let shown = &look.rates[look.rates.len().saturating_sub(rates.width.into())..];
        let sparkline = Sparkline::default().data(shown).style(Style::new().fg(Color::Green));
        frame.render_widget(sparkline.block(Block::new().title("environment steps a second")), rates);
    }
    let each =
        Layout::vertical(look.tables.iter().map(|(_, _, rows)| Constraint::Length(rows.len() as u16 + 3)));
    for ((name, columns, rows), area) in look.tables.iter().zip(each.split(tables).iter()) {
        let width = |place: usize| {
            let cells = rows.iter().filter_map(|row| row.get(place));
            let widest = cells.chain([&columns[place]]).map(|text| text.chars().count()).max().unwrap_or(0);
            Constraint::Length(widest as u16 + 1)
        };
        let widths = (0..columns.len()).map(width);
        let lines = rows.iter().map(|row| Row::new(row.iter().map(String::as_str)));
        let head = Row::new(columns.iter().map(String::as_str)).bold();
        let table = Table::new(lines, widths).header(head).block(Block::new().title(name.as_str()));
        frame.render_widget(table, *area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_row_is_read_and_a_half_one_is_not() {
        let (columns, rows) = table("a,\"regret/x y\"\n1,2\n3,\n4");
        assert_eq!(columns, ["a", "regret/x y"]);
        assert_eq!(rows, [["1", "2"], ["3", ""]]);
        assert_eq!(table(""), (vec![], vec![]));
        assert_eq!(table("a,b"), (vec![], vec![]));
    }
}
