//! A report as a list of paragraphs, tables and pictures, written as Markdown or as a page.

use super::plots::Plot;
use std::fmt::Write;

/// A part of a report.
pub enum Block {
    Heading(String),
    Paragraph(String),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// A plot by its name, with what it shows.
    Picture {
        name: String,
        caption: String,
    },
}

/// A report.
pub struct Document {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// As Markdown.
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n", document.title);
    for block in &document.blocks {
        out.push('\n');
        match block {
            Block::Heading(text) => writeln!(out, "## {text}"),
            Block::Paragraph(text) => writeln!(out, "{text}"),
            Block::Table { head, rows } => {
                let row = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                out += &row(head);
                let rule: Vec<&str> = (0..head.len()).map(|i| if i == 0 { "---" } else { "---:" }).collect();
                writeln!(
                    out,
                    "| {} |{}",
                    rule.join(" | "),
                    rows.iter().map(|r| format!("\n{}", row(r).trim_end())).collect::<String>()
                )
            }
            Block::Picture { name, caption } => writeln!(out, "![{caption}](plots/{name}.svg)\n\n{caption}"),
        }
        .expect("writing to a text does not fail");
    }
    out
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --paper: #0d1117; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--faint); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; break-inside: avoid; } figure svg { max-width: 100%; height: auto; }
figcaption { color: var(--faint); font-size: .875rem; }
@media print { body { max-width: none; margin: 0; font-size: 11pt; } tr { break-inside: avoid; } }
";

/// As one page with its pictures inside.
pub fn html(document: &Document, plots: &[Plot]) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n",
        title = escape(&document.title)
    );
    for block in &document.blocks {
        match block {
            Block::Heading(text) => writeln!(out, "<h2>{}</h2>", escape(text)),
            Block::Paragraph(text) => writeln!(out, "<p>{}</p>", escape(text)),
            Block::Table { head, rows } => {
                let row = |cells: &[String], tag: &str| {
                    let cells: String =
                        cells.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect();
                    format!("<tr>{cells}</tr>\n")
                };
                let body: String = rows.iter().map(|r| row(r, "td")).collect();
                writeln!(out, "<div class=\"scroll\"><table>\n{}{body}</table></div>", row(head, "th"))
            }
            Block::Picture { name, caption } => {
                let svg = plots.iter().find(|p| p.name == *name).map_or("", |p| &p.svg);
                writeln!(out, "<figure>\n{svg}\n<figcaption>{}</figcaption></figure>", escape(caption))
            }
        }
        .expect("writing to a text does not fail");
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_everything_and_nothing_breaks_out() {
        let document = Document {
            title: "a < b".into(),
            blocks: vec![
                Block::Heading("Tables & more".into()),
                Block::Table {
                    head: vec!["method".into(), "5".into()],
                    rows: vec![vec!["cmd:a|b".into(), "0.1".into()]],
                },
                Block::Picture { name: "x".into(), caption: "what it shows".into() },
            ],
        };
        let plots = [Plot { name: "x".into(), caption: String::new(), svg: "<svg/>".into() }];
        assert_eq!(
            markdown(&document),
            "# a < b\n\n## Tables & more\n\n| method | 5 |\n| --- | ---: |\n| cmd:a\\|b | 0.1 |\n\n![what it shows](plots/x.svg)\n\nwhat it shows\n"
        );
        let page = html(&document, &plots);
        for part in ["<h1>a &lt; b</h1>", "Tables &amp; more", "<td>cmd:a|b</td>", "<svg/>"] {
            assert!(page.contains(part), "{page}");
        }
    }
}
