//! A report as a list of paragraphs, tables and pictures, written as Markdown or as a page.

use super::plots::Plot;
use serde_json::{Value, json};
use srnas_page::{Rows, View};
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

/// As what a page is drawn from, its pictures inside.
pub fn view(document: &Document, plots: &[Plot]) -> View {
    let block = |block: &Block| match block {
        Block::Heading(text) => json!({ "heading": text }),
        Block::Paragraph(text) => json!({ "paragraph": text }),
        Block::Table { head, rows } => json!({ "head": head, "rows": rows }),
        Block::Picture { name, caption } => {
            let svg = plots.iter().find(|plot| plot.name == *name).map_or("", |plot| &plot.svg);
            json!({ "svg": svg, "caption": caption })
        }
    };
    let blocks: Vec<Value> = document.blocks.iter().map(block).collect();
    let about = json!({ "kind": "document", "title": document.title });
    View { about, head: json!({ "blocks": blocks }), rows: Rows::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_everything() {
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
        let view = view(&document, &plots);
        assert_eq!(view.about["title"], "a < b");
        let blocks = &view.head["blocks"];
        assert_eq!(blocks[1]["rows"][0][0], "cmd:a|b");
        assert_eq!(blocks[2], json!({ "svg": "<svg/>", "caption": "what it shows" }));
    }
}
