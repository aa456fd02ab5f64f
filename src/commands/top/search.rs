//! A search as it is watched.

use crate::commands::live::{
    look::{Look, shortly},
    status::now,
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    symbols::Marker,
    text::Line,
    widgets::{Axis, Block, Cell, Chart, Dataset, Gauge, GraphType, Paragraph, Row, Table, Wrap},
};
use srnas_basics::text::number;
use srnas_search::report::{Row as Measurement, Said};
use std::time::Duration;

/// Rows of the plot.
const PLOT: u16 = 11;

/// Draws it; the table of measurements begins so many below the newest.
pub fn draw(frame: &mut Frame, area: Rect, look: &Look, scrolled: usize) {
    let running = look.status.as_ref().map_or(0, |status| status.running.len());
    let [title, gauge, best, plot, now, all] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(if look.report.best.is_some() { PLOT } else { 0 }),
        Constraint::Length(if running > 0 { running.min(8) as u16 + 1 } else { 0 }),
        Constraint::Min(0),
    ])
    .areas(area);
    let name = look.run_dir.display().to_string();
    frame.render_widget(Line::from(format!("search {name} · {}", look.headline())).bold(), title);
    if let Some(status) = &look.status {
        let share = (look.report.spent / status.budget.max(1) as f64).clamp(0.0, 1.0);
        frame.render_widget(Gauge::default().ratio(share).gauge_style(Style::new().fg(Color::Cyan)), gauge);
    }
    frame.render_widget(Paragraph::new(look.best_in_words()).wrap(Wrap { trim: true }), best);
    if let Some(points) = best_so_far(look) {
        draw_plot(frame, plot, look, &points);
    }
    draw_running(frame, now, look);
    draw_measurements(frame, all, look, scrolled);
}

/// The best after what was paid, as the steps of a line; nothing where there is none.
fn best_so_far(look: &Look) -> Option<Vec<(f64, f64)>> {
    let (mut spent, mut best, mut points): (f64, Option<f64>, Vec<(f64, f64)>) = (0.0, None, Vec::new());
    let minimise = look.report.minimise;
    for row in &look.report.rows {
        spent += row.cost;
        let Some(value) = row.counting().filter(|_| row.full) else { continue };
        if best.is_none_or(|best| if minimise { value < best } else { value > best }) {
            points.extend(best.map(|best| (spent, best)));
            points.push((spent, value));
            best = Some(value);
        }
    }
    points.push((spent, best?));
    Some(points)
}

fn draw_plot(frame: &mut Frame, area: Rect, look: &Look, points: &[(f64, f64)]) {
    let values = || points.iter().map(|(_, value)| *value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // Where all is the same, the line is in the middle.
    let margin = if high > low { 0.0 } else { low.abs().max(1.0) * 0.1 };
    let (low, high) = (low - margin, high + margin);
    let budget = look.status.as_ref().map_or(0.0, |status| status.budget as f64);
    let right = look.report.spent.max(budget).max(1.0);
    let line = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(Color::Green))
        .data(points);
    let cost = if look.fidelities.shorter() > 0 { "full trainings paid" } else { "measurements" };
    let chart = Chart::new(vec![line])
        .block(Block::new().title(format!("best {} so far, over {cost}", look.report.metric)))
        .x_axis(Axis::default().bounds([0.0, right]).labels(["0".to_string(), format!("{right:.0}")]))
        .y_axis(Axis::default().bounds([low, high]).labels([number(low), number(high)]));
    frame.render_widget(chart, area);
}

fn draw_running(frame: &mut Frame, area: Rect, look: &Look) {
    let Some(status) = &look.status else { return };
    let row = |running: &crate::commands::live::status::Running| {
        let since = Duration::try_from_secs_f64(now() - running.since).unwrap_or_default();
        let trained = running.trained.clone().unwrap_or_default();
        Row::new([shortly(since), trained, running.architecture.clone()])
    };
    let trained = if look.fidelities.shorter() > 0 { 16 } else { 0 };
    let widths = [Constraint::Length(9), Constraint::Length(trained), Constraint::Min(20)];
    let head = Row::new(["for", "", "measured now"]).bold();
    frame.render_widget(Table::new(status.running.iter().map(row), widths).header(head), area);
}

fn draw_measurements(frame: &mut Frame, area: Rect, look: &Look, scrolled: usize) {
    let row = |(place, row): (usize, &Measurement)| {
        let (said, colour) = match (&row.said, &row.broken) {
            (Said::Value(value), None) => (number(*value), Color::Reset),
            (Said::Value(value), Some(broken)) => (format!("{} ({broken})", number(*value)), Color::Yellow),
            (Said::Infeasible(_), _) => ("infeasible".into(), Color::Red),
        };
        let trained = match row.cost == 0.0 {
            true => "elsewhere".to_string(),
            false if look.fidelities.shorter() > 0 => format!("{} {}", row.trained, look.fidelities.unit()),
            false => String::new(),
        };
        let what = match &row.said {
            Said::Infeasible(reason) => format!("{} · {reason}", row.architecture),
            Said::Value(_) => row.architecture.clone(),
        };
        let cells = [(place + 1).to_string(), said, trained, what];
        Row::new(cells.map(Cell::from)).style(Style::new().fg(colour))
    };
    let some = look.fidelities.shorter() > 0 || look.report.elsewhere > 0;
    let value = if look.report.limits.is_empty() { 14 } else { 36 };
    let widths = [
        Constraint::Length(6),
        Constraint::Length(value),
        Constraint::Length(if some { 12 } else { 0 }),
        Constraint::Min(20),
    ];
    let head = Row::new(["#", look.report.metric.as_str(), "", "measured, the newest first"]).bold();
    let rows = look.report.rows.iter().enumerate().rev().skip(scrolled).map(row);
    frame.render_widget(Table::new(rows.take(area.height.into()), widths).header(head), area);
}
