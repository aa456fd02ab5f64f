//! What deploy/ says of the program holds: metrics that exist, a Dockerfile that knows every crate.

use std::{collections::BTreeSet, fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Words of the form `srnas_…`.
fn metrics(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|w| w.starts_with("srnas_")).collect()
}

/// The metrics that docs/metrics.md tells of in the first column of its table.
fn documented(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

fn dashboard() -> serde_json::Value {
    serde_json::from_str(&read("deploy/grafana/dashboards/srnas.json")).unwrap()
}

#[test]
fn alerts_and_dashboard_ask_only_for_metrics_that_exist() {
    let page = read("docs/metrics.md");
    let documented = documented(&page);
    assert!(documented.contains("srnas_actors"), "{documented:?}");
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/srnas.json"] {
        let text = read(file);
        let asked = metrics(&text);
        assert!(asked.len() > 3, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&documented).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}, which docs/metrics.md does not have");
    }
}

#[test]
fn every_alert_says_how_much_it_matters_and_none_cries_over_a_run_that_has_ended() {
    let text = read("deploy/prometheus/alerts.yml");
    let alerts: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 7);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let severity =
            ["critical", "warning", "info"].iter().any(|s| alert.contains(&format!("severity: {s}")));
        assert!(severity, "{name} has no severity");
        // What a learner that ends looks like, or one that has gone.
        if alert.contains("up{") || alert.contains("srnas_ready == 0") {
            assert!(alert.contains("srnas_over"), "{name} does not look whether the run is over");
        }
    }
}

#[test]
fn containers_have_memory_limits_and_the_log_format_that_is_asked_for() {
    let compose = read("docker-compose.yml");
    assert!(compose.contains("SRNAS_LOG_FORMAT: ${SRNAS_LOG_FORMAT:-text}"));
    let services = compose.split("\nservices:\n").nth(1).unwrap().split("\nsecrets:\n").next().unwrap();
    let service = |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let names = services.lines().filter(service).count();
    assert!(names >= 4 && services.matches("mem_limit: ").count() == names, "{names} services");
    // Actors end with the run: a Deployment would start them again and again.
    let actor = read("deploy/kubernetes/actor.yaml");
    assert!(actor.contains("kind: Job\n") && !actor.contains("kind: Deployment"));
    for file in ["actor", "learner"] {
        assert!(read(format!("deploy/kubernetes/{file}.yaml")).contains("defaultMode: 0440"), "{file}");
    }
}

#[test]
fn every_panel_of_the_dashboard_has_a_place_and_a_query_of_its_own() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let queries = panel["targets"].as_array().unwrap();
        assert!(!queries.is_empty(), "{title}: no query");
        for query in queries {
            assert!(!query["expr"].as_str().unwrap().is_empty(), "{title}");
        }
        let place = |key| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title}: beyond the right edge");
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title}: lies over another panel");
            }
        }
    }
}

#[test]
fn the_image_is_built_from_every_crate_of_the_workspace() {
    let dockerfile = read("deploy/Dockerfile");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    assert!(members.len() > 3);
    let folders = members.iter().map(|member| member.as_str().unwrap()).flat_map(|member| {
        // `common/*` is every folder there.
        let Some(shelf) = member.strip_suffix("/*") else { return vec![member.to_string()] };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(shelf);
        let crates = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
        crates.map(|name| format!("{shelf}/{}", name.to_str().unwrap())).collect()
    });
    for folder in folders {
        let copied = format!("COPY {folder}/Cargo.toml {folder}/\n");
        assert!(dockerfile.contains(&copied), "deploy/Dockerfile lacks the line: {copied}");
    }
}
