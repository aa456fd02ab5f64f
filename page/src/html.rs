//! The page's file, put together from its parts.

use crate::View;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("../assets/style.css");
/// In the order in which they need each other.
const SCRIPTS: [&str; 8] = [
    include_str!("../assets/base.js"),
    include_str!("../assets/chart.js"),
    include_str!("../assets/drawing.js"),
    include_str!("../assets/table.js"),
    include_str!("../assets/search.js"),
    include_str!("../assets/run.js"),
    include_str!("../assets/document.js"),
    include_str!("../assets/main.js"),
];
/// Where the data of a frozen page goes.
const DATA: &str = "@DATA@";

/// Nothing but this very script and style: no other script, whatever is in the data, and nothing from elsewhere.
pub(crate) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; script-src {}; style-src {}",
        hash(&SCRIPT),
        hash(STYLE)
    )
});

static SCRIPT: LazyLock<String> =
    LazyLock::new(|| format!("'use strict';\n(() => {{\n{}}})();\n", SCRIPTS.concat()));

/// The page but for its data.
static SHELL: LazyLock<String> = LazyLock::new(|| {
    include_str!("../assets/page.html")
        .replace("@POLICY@", &POLICY)
        .replace("@STYLE@", STYLE)
        .replace("@SCRIPT@", &SCRIPT)
});

/// The page that asks the server it came from.
pub(crate) fn live() -> String {
    SHELL.replace(DATA, "")
}

/// The page with everything in it, to be kept and sent: it asks nobody.
pub fn frozen(views: &[View]) -> String {
    let data = serde_json::to_string(views).expect("values are JSON");
    // No text ends the element that it is in.
    SHELL.replace(DATA, &data.replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use serde_json::json;

    #[test]
    fn what_is_in_the_data_stays_data() {
        let evil = "</script><script>alert(1)</script><!-- @STYLE@";
        let view =
            View { about: json!({ "kind": evil }), head: json!({}), rows: Rows::new(1).with(evil, [evil]) };
        let page = frozen(std::slice::from_ref(&view));
        assert_eq!(page.matches("<script").count(), 2, "the data and the script");
        assert_eq!(page.matches("</script>").count(), 2);
        let data = page.split("id=\"frozen\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap(), json!([view]));
        assert!(!live().contains(DATA) && live().contains("id=\"frozen\"></script>"));
    }

    #[test]
    fn the_script_makes_no_markup_of_text_and_asks_nobody_else() {
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "http:",
        ] {
            let found =
                SCRIPTS.iter().any(|part| part.replace("http://www.w3.org/2000/svg", "").contains(forbidden));
            assert!(!found, "{forbidden}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
