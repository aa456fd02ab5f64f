//! The plots of a comparison, as SVG that follows the reader's light or dark scheme and prints in black on white.

use super::{ReportError, series::Series, summary::Summary};
use crate::{
    comparison::{Outcome, Plan},
    pareto::non_dominated,
    problem::Problem,
};
use plotters::{
    chart::MeshStyle,
    coord::{Shift, ranged1d::ValueFormatter},
    prelude::*,
    style::text_anchor::*,
};
use srnas_task::Task;
use std::sync::Arc;

/// A plot.
pub struct Plot {
    /// Name of its file, without the ending.
    pub name: String,
    /// What it shows.
    pub caption: String,
    pub svg: String,
}

const SIZE: (u32, u32) = (860, 480);
/// Height of a row of the rank diagram.
const ROW: i32 = 28;
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd9, 0xdd, 0xe2);
/// Colours that people with any colour vision tell apart (Okabe and Ito), dark enough for paper.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x6a, 0x3d, 0x9a),
    RGBColor(0x7f, 0x7f, 0x7f),
];
/// What changes on a dark page: attribute selectors reach everything that the plotting crate writes.
const STYLE: &str = "<style>@media screen and (prefers-color-scheme: dark) {
[fill=\"#1F2328\"] { fill: #e6edf3; } [stroke=\"#1F2328\"] { stroke: #e6edf3; }
[stroke=\"#D9DDE2\"] { stroke: #30363d; } [fill=\"#FFFFFF\"] { fill: none; }
}</style>";
/// What most plots have on their axis.
const QUERIES: &str = "paid queries";
/// At most so many problems get plots of their own.
const MOST: usize = 24;

/// A text as a file name.
pub fn file_name(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let joined = plain.collect::<String>();
    joined.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Every plot of a comparison.
pub fn all(
    plan: &Plan,
    problems: &[Problem],
    outcomes: &[Vec<Outcome>],
    series: &[Vec<Vec<Option<Series>>>],
    summary: &Summary,
) -> Result<Vec<Plot>, ReportError> {
    let mut plots = Vec::new();
    let budget = plan.budgets.iter().copied().max().unwrap_or(0);
    let queries: Vec<f64> = (1..=budget).map(|query| query as f64).collect();
    let after = |s: &Series, query: usize| s.normalised[query];
    if problems.len() > 1 {
        let caption = "Mean normalised regret over all problems against paid queries, both logarithmic; bands are 95 % of the \
                       mean over starts.";
        plots.push(regret_by_method("regret", caption.into(), plan, series, &queries, &after, QUERIES)?);
    }
    if let Some(clock) = &summary.clock {
        plots.push(clock.plot(plan, series)?);
    }
    if plan.methods.len() > 1 && summary.nemenyi_critical_difference.is_some() {
        let height = 80 + ROW as u32 * plan.methods.len() as u32;
        plots.push(draw(
            "ranks".into(),
            format!(
                "Average ranks after {} queries, 1 being the best; methods whose bars do not overlap are told apart (Nemenyi, α = \
                 0.05).",
                summary.budget()
            ),
            &|area| rank_diagram(area, summary),
            (SIZE.0, height),
        )?);
    }
    for (p, problem) in problems.iter().enumerate().take(MOST) {
        let file = file_name(&problem.name);
        let curves: Vec<Curve> =
            series[p].iter().map(|m| curve(std::iter::once(m), &queries, &after)).collect();
        match &problem.front {
            None => plots.push(draw(
                format!("regret-{file}"),
                format!("{}: mean normalised regret against paid queries.", problem.name),
                &|area| regret(area, plan, &curves, QUERIES, "normalised regret"),
                SIZE,
            )?),
            Some(front) => {
                plots.push(draw(
                    format!("hypervolume-{file}"),
                    format!("{}: share of the front's hypervolume that is missing.", problem.name),
                    &|area| regret(area, plan, &curves, QUERIES, "hypervolume missing"),
                    SIZE,
                )?);
                if problem.signals.len() == 2 {
                    plots.push(draw(
                        format!("front-{file}"),
                        format!(
                            "What each method's first search found, and the front of the whole table (black): {}.",
                            wanted(problem)
                        ),
                        &|area| fronts(area, plan, problem, &outcomes[p], &front.points),
                        SIZE,
                    )?);
                }
            }
        }
    }
    Ok(plots)
}

/// Paints one plot.
fn draw(
    name: String,
    caption: String,
    paint: &dyn Fn(&Area) -> Drawn,
    size: (u32, u32),
) -> Result<Plot, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let fail = |reason: String| ReportError::Plot { name: name.clone(), reason };
        area.fill(&WHITE).map_err(|e| fail(e.to_string()))?;
        paint(&area).map_err(|e| fail(e.to_string()))?;
        area.present().map_err(|e| fail(e.to_string()))?;
    }
    Ok(Plot { name, caption, svg: finished(&svg) })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, X, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The axes that all plots have.
fn mesh<'a, 'b, X, Y>(
    chart: &'b mut Chart<'a, X, Y>,
    x: &str,
    y: &str,
) -> MeshStyle<'a, 'b, X, Y, SVGBackend<'a>>
where
    X: Ranged + ValueFormatter<X::ValueType>,
    Y: Ranged + ValueFormatter<Y::ValueType>,
{
    let mut mesh = chart.configure_mesh();
    mesh.axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(font(13))
        .axis_desc_style(font(14))
        .x_desc(x)
        .y_desc(y);
    mesh
}

/// A plot that scales to its page and follows its scheme.
fn finished(svg: &str) -> String {
    let Some(end) = svg.find('>') else { return svg.into() };
    let (head, rest) = svg.split_at(end + 1);
    format!("{head}\n{STYLE}{rest}")
}

/// At each place of an axis the mean there, and half the width of its 95 % interval.
struct Curve {
    points: Vec<[f64; 3]>,
}

/// Mean over problems of the means over seeds, at each place of the axis of what `value` says there.
fn curve<'a>(
    problems: impl Iterator<Item = &'a Vec<Option<Series>>>,
    axis: &[f64],
    value: &dyn Fn(&Series, usize) -> f64,
) -> Curve {
    let problems: Vec<Vec<&Series>> =
        problems.map(|seeds| seeds.iter().flatten().collect()).filter(|s: &Vec<_>| !s.is_empty()).collect();
    if problems.is_empty() {
        return Curve { points: Vec::new() };
    }
    let points = axis.iter().enumerate().map(|(i, x)| {
        let (mut sum, mut variance) = (0.0, 0.0);
        for seeds in &problems {
            let n = seeds.len() as f64;
            let mean = seeds.iter().map(|s| value(s, i)).sum::<f64>() / n;
            sum += mean;
            if n > 1.0 {
                let squares: f64 = seeds.iter().map(|s| (value(s, i) - mean).powi(2)).sum();
                variance += squares / (n - 1.0) / n;
            }
        }
        let k = problems.len() as f64;
        [*x, sum / k, 1.96 * variance.sqrt() / k]
    });
    Curve { points: points.collect() }
}

/// The mean normalised regret of each method over all problems, along an axis of its own.
pub fn regret_by_method(
    name: &str,
    caption: String,
    plan: &Plan,
    series: &[Vec<Vec<Option<Series>>>],
    axis: &[f64],
    value: &dyn Fn(&Series, usize) -> f64,
    x: &str,
) -> Result<Plot, ReportError> {
    let curves: Vec<Curve> =
        (0..plan.methods.len()).map(|m| curve(series.iter().map(|p| &p[m]), axis, value)).collect();
    draw(name.into(), caption, &|area| regret(area, plan, &curves, x, "normalised regret"), SIZE)
}

fn colour(method: usize) -> RGBColor {
    COLOURS[method % COLOURS.len()]
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn regret(area: &Area, plan: &Plan, curves: &[Curve], x: &str, y: &str) -> Drawn {
    let places = || curves.iter().flat_map(|c| c.points.iter().map(|p| p[0]));
    let first = places().fold(f64::INFINITY, f64::min);
    let last = places().fold(2.0 * first, f64::max);
    // An axis without a power of ten on it would have no labels.
    let first = first.min(10f64.powf(last.log10().floor()));
    let values = || curves.iter().flat_map(|c| c.points.iter().map(|p| p[1])).filter(|v| *v > 0.0);
    let highest = values().fold(0.0, f64::max);
    // Below a thousandth of the gap nothing is left to see.
    let lowest = values().fold(f64::INFINITY, f64::min).max(1e-4).min(highest / 2.0);
    if highest <= 0.0 || !highest.is_finite() {
        return area.draw(&Text::new("every search is at the best from its start on", (40, 40), font(16)));
    }
    let (plot, legend) = area.split_horizontally(SIZE.0 - 230);
    let mut chart = ChartBuilder::on(&plot)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(62)
        .build_cartesian_2d((first..last).log_scale(), (lowest * 0.8..highest * 1.25).log_scale())?;
    // Without the digits that logarithms leave behind.
    let plain = |value: &f64| format!("{}", (value * 1e5).round() / 1e5);
    mesh(&mut chart, x, y).x_label_formatter(&plain).y_label_formatter(&plain).draw()?;
    let floor = lowest * 0.8;
    for (m, curve) in curves.iter().enumerate() {
        let at = |x: f64, v: f64| (x, v.max(floor));
        let upper = curve.points.iter().map(|[x, mean, half]| at(*x, mean + half));
        let lower = curve.points.iter().rev().map(|[x, mean, half]| at(*x, mean - half));
        let band: Vec<(f64, f64)> = upper.chain(lower).collect();
        chart.draw_series(std::iter::once(Polygon::new(band, colour(m).mix(0.14))))?;
        let line = curve.points.iter().map(|[x, mean, _]| at(*x, *mean));
        match dash(m) {
            None => chart.draw_series(LineSeries::new(line, colour(m).stroke_width(2)))?,
            Some((on, off)) => {
                chart.draw_series(DashedLineSeries::new(line, on, off, colour(m).stroke_width(2)))?
            }
        };
    }
    // The best at the end comes first, as the lines do.
    let last = |m: usize| curves[m].points.last().map_or(f64::NAN, |p| p[1]);
    let mut order: Vec<usize> = (0..curves.len()).collect();
    order.sort_by(|&a, &b| last(b).total_cmp(&last(a)));
    draw_legend(&legend, plan, &order)
}

/// Methods beyond the colours are dashed.
fn dash(method: usize) -> Option<(u32, u32)> {
    (method >= COLOURS.len()).then_some((7, 4))
}

fn draw_legend(area: &Area, plan: &Plan, order: &[usize]) -> Drawn {
    for (row, &m) in order.iter().enumerate() {
        let y = 28 + 22 * row as i32;
        let style = colour(m).stroke_width(3);
        let ends = if dash(m).is_some() { vec![(4, 13), (17, 26)] } else { vec![(4, 26)] };
        for (from, to) in ends {
            area.draw(&PathElement::new(vec![(from, y), (to, y)], style))?;
        }
        let anchored = font(13).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(shortened(&plan.methods[m], 27), (34, y), anchored))?;
    }
    Ok(())
}

fn shortened(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.into();
    }
    // The beginning says what it is and the end which one.
    let head: String = text.chars().take(most / 2).collect();
    let tail: String = text.chars().skip(length - (most - most / 2 - 1)).collect();
    format!("{head}…{tail}")
}

/// Average ranks, each with half the critical difference to both sides: where two bars do not overlap, the methods are told
/// apart.
fn rank_diagram(area: &Area, summary: &Summary) -> Drawn {
    let budget = summary.budget();
    let mut methods: Vec<(f64, usize)> = summary
        .overall
        .iter()
        .enumerate()
        .filter_map(|(m, o)| Some((*o.average_rank.get(&budget)?, m)))
        .collect();
    methods.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (k, half) = (summary.overall.len(), summary.nemenyi_critical_difference.unwrap_or(0.0) / 2.0);
    let (left, right, top) = (280.0, f64::from(SIZE.0) - 70.0, 20);
    // Half a rank of room to both sides.
    let x = |rank: f64| (left + (rank - 0.5) / k as f64 * (right - left)).round() as i32;
    let within = |rank: f64| x(rank.clamp(0.5, k as f64 + 0.5));
    let bottom = top + ROW * methods.len() as i32 + 6;
    for rank in 1..=k {
        let at = x(rank as f64);
        area.draw(&PathElement::new(vec![(at, top), (at, bottom)], GRID.stroke_width(1)))?;
        let style = font(13).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(rank.to_string(), (at, bottom + 6), style))?;
    }
    area.draw(&PathElement::new(
        vec![(within(0.0), bottom), (within(f64::INFINITY), bottom)],
        INK.stroke_width(1),
    ))?;
    for (row, &(rank, m)) in methods.iter().enumerate() {
        let y = top + ROW * row as i32 + ROW / 2;
        let bar = vec![(within(rank - half), y), (within(rank + half), y)];
        area.draw(&PathElement::new(bar, colour(m).stroke_width(3)))?;
        area.draw(&Circle::new((x(rank), y), 5, colour(m).filled()))?;
        let name = font(13).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(shortened(&summary.overall[m].method, 34), (left as i32 - 12, y), name))?;
        let value = font(13).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(format!("{rank:.2}"), (right as i32 + 12, y), value))?;
    }
    let style = font(14).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new("average rank", (((left + right) / 2.0) as i32, bottom + 26), style))
}

/// Which way each objective is better, in words.
fn wanted(problem: &Problem) -> String {
    let way =
        |task: &Arc<Task>| format!("{} {}", if task.minimises() { "less" } else { "more" }, task.name());
    problem.signals.iter().map(way).collect::<Vec<_>>().join(" and ") + " is better"
}

fn fronts(area: &Area, plan: &Plan, problem: &Problem, outcomes: &[Outcome], whole: &[Vec<f32>]) -> Drawn {
    let found: Vec<Vec<Vec<f32>>> = outcomes
        .iter()
        .map(|outcome| {
            let first = outcome.iter().flatten().next();
            let points: Vec<Vec<f32>> =
                first.map_or_else(Vec::new, |t| t.iter().map(|q| q.values.clone()).collect());
            non_dominated(&points)
        })
        .collect();
    let all = || found.iter().flatten().chain(whole);
    let shown = |p: &Vec<f32>, d: usize| problem.signals[d].shown(p[d]);
    let range = |d: usize| {
        let low = all().map(|p| shown(p, d)).fold(f64::INFINITY, f64::min);
        let high = all().map(|p| shown(p, d)).fold(f64::NEG_INFINITY, f64::max);
        let margin = (high - low).max(1e-6) * 0.05;
        low - margin..high + margin
    };
    let (plot, legend) = area.split_horizontally(SIZE.0 - 230);
    let mut chart = ChartBuilder::on(&plot)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(range(0), range(1))?;
    mesh(&mut chart, problem.signals[0].name(), problem.signals[1].name()).draw()?;
    let point = |p: &Vec<f32>| (shown(p, 0), shown(p, 1));
    chart.draw_series(LineSeries::new(whole.iter().map(point), INK.stroke_width(1)))?;
    for (m, points) in found.iter().enumerate() {
        chart.draw_series(LineSeries::new(points.iter().map(point), colour(m).stroke_width(1)))?;
        chart.draw_series(points.iter().map(|p| Circle::new(point(p), 4, colour(m).filled())))?;
    }
    draw_legend(&legend, plan, &(0..plan.methods.len()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(
            file_name("nb201/cifar10/val-0.15*log(x_latency)"),
            "nb201-cifar10-val-0-15-log-x-latency"
        );
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("short", 9), "short");
        assert_eq!(shortened("policy:/a/long/way/run-7", 11), "polic…run-7");
    }
}
