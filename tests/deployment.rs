//! What deploy/ says of the program holds: metrics that exist, rules that fire, a Dockerfile that knows every crate.

mod harness;

use harness::{SOON, Setup};
use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

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

/// Who asks for metrics.
const ASKING: [&str; 4] = [
    "deploy/prometheus/recording.yml",
    "deploy/prometheus/alerts.yml",
    "deploy/grafana/dashboards/srnas.json",
    "deploy/kubernetes/overlays/autoscaled/adapter.yml",
];
/// The autoscaler's metric, which prometheus-adapter makes of the learner's.
const SCALED_BY: &str = "srnas_actors_busy_ratio";

/// The metrics of the learner that a file asks for.
fn asked(text: &str) -> BTreeSet<&str> {
    let mut asked = metrics(text);
    asked.remove(SCALED_BY);
    asked
}

#[test]
fn whoever_asks_for_metrics_asks_for_those_that_exist() {
    let page = read("docs/metrics.md");
    let documented = documented(&page);
    assert!(documented.contains("srnas_actors"), "{documented:?}");
    for file in ASKING.into_iter().chain(["deploy/prometheus/tests.yml"]) {
        let text = read(file);
        let asked = asked(&text);
        assert!(asked.len() >= 2, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&documented).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}, which docs/metrics.md does not have");
    }
    // What is recorded, and by whose name it is asked for.
    let recorded = read("deploy/prometheus/recording.yml");
    let recorded: BTreeSet<&str> = names_after(&recorded, "- record: ").collect();
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/srnas.json"] {
        let text = read(file);
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        for name in text.split(|c| !word(c)).filter(|w| w.starts_with("srnas:")) {
            assert!(recorded.contains(name), "{file} asks for {name}, which nobody records");
        }
    }
    // The autoscaler's metric is made under the name that it asks for.
    let makes = format!("as: {SCALED_BY}\n");
    assert!(read("deploy/kubernetes/overlays/autoscaled/adapter.yml").contains(&makes));
    let asks = format!("metric: {{name: {SCALED_BY}}}\n");
    assert!(read("deploy/kubernetes/overlays/autoscaled/autoscaler.yaml").contains(&asks));
}

/// What stands after a word, in each line that has it.
fn names_after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim().strip_prefix(word))
}

/// The body of `/metrics`.
fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.into()
}

/// The page may tell of a metric that no learner ever shows: what is asked for is looked for in what one says.
#[test]
fn a_learner_that_trains_shows_every_metric_that_is_asked_for() {
    let setup = Setup::new();
    let (mut learner, address) =
        setup.start_learner(&["--http", "127.0.0.1:0", "--set", "validation.minutes=0.02"]);
    let served = learner.seen.iter().find_map(|line| line.split("HTTP serves").nth(1).map(str::to_string));
    let served = served.unwrap_or_else(|| learner.wait_for(&["HTTP serves"], SOON));
    let http = served.split("address=").nth(1).unwrap().trim().to_string();
    let actor = setup.actor(&address, "one");

    let texts = ASKING.map(read);
    let wanted: BTreeSet<&str> = texts.iter().flat_map(|text| asked(text)).collect();
    // Some are shown only in seconds in which something was learned.
    let (mut seen, deadline) = (BTreeSet::new(), Instant::now() + 2 * SOON);
    loop {
        let text = scrape(&http);
        let samples = text.lines().filter(|line| line.starts_with("srnas_"));
        seen.extend(samples.map(|line| line.split(['{', ' ']).next().unwrap().to_string()));
        let missing: Vec<_> = wanted.iter().filter(|name| !seen.contains(**name)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{missing:?} not in\n{text}");
        thread::sleep(Duration::from_millis(200));
    }
    drop((actor, learner));
}

/// The rules' own unit tests, by Prometheus's own tool, where there is one: $PROMTOOL, or `promtool` on the path.
#[test]
fn the_rules_fire_when_they_should_and_keep_still_otherwise() {
    let promtool = env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    if !Command::new(&promtool).arg("--version").output().is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: there is no promtool (Debian: apt install prometheus); PROMTOOL may name one");
        return;
    }
    // Debian's knows nothing of Kubernetes: there the rest of that configuration is looked at.
    let folder = tempfile::TempDir::new().unwrap();
    for file in ["recording.yml", "alerts.yml", "tests.yml", "prometheus.yml", "kubernetes.yml"] {
        let found = "kubernetes_sd_configs:\n      - role: endpoints\n";
        let text = read(Path::new("deploy/prometheus").join(file));
        assert_eq!(text.contains(found), file == "kubernetes.yml", "{file}");
        let text = text.replace(found, "static_configs:\n      - targets: [\"learner:9090\"]\n");
        fs::write(folder.path().join(file), text).unwrap();
    }
    for arguments in [
        &["check", "rules", "alerts.yml", "recording.yml"][..],
        &["check", "config", "--syntax-only", "prometheus.yml"],
        &["check", "config", "--syntax-only", "kubernetes.yml"],
        &["test", "rules", "tests.yml"],
    ] {
        let out = Command::new(&promtool).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(out.status.success(), "promtool {arguments:?}: {out:?}");
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires() {
    let (alerts, tests) = (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/tests.yml"));
    let fires: BTreeSet<&str> = names_after(&tests, "- alertname: ").collect();
    for alert in names_after(&alerts, "- alert: ") {
        assert!(fires.contains(alert), "deploy/prometheus/tests.yml has no case in which {alert} fires");
    }
}

#[test]
fn the_reference_page_has_every_alert_and_what_is_recorded() {
    let (page, alerts) = (read("docs/metrics.md"), read("deploy/prometheus/alerts.yml"));
    let mut wanted = BTreeSet::new();
    for alert in alerts.split("- alert: ").skip(1) {
        let (name, rest) = alert.split_once('\n').unwrap();
        let severity = rest.split("severity: ").nth(1).unwrap().split([' ', '}', '\n']).next().unwrap();
        wanted.insert((name, severity));
    }
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.strip_suffix('`')?, cells.next()?))
    });
    let is_severity = |severity: &str| ["critical", "warning", "info"].contains(&severity);
    let told: BTreeSet<_> = rows.filter(|(_, severity)| is_severity(severity)).collect();
    assert_eq!(told, wanted, "docs/metrics.md and deploy/prometheus/alerts.yml");
    for name in names_after(&read("deploy/prometheus/recording.yml"), "- record: ") {
        assert!(page.contains(&format!("`{name}`")), "docs/metrics.md does not tell of {name}");
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
