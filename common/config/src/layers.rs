//! A configuration in layers: defaults, then a file, then the environment, then flags. A later layer wins, key by key,
//! and each key remembers the layer that its value is from.

use super::{Config, ConfigError, keys::keys};
use srnas_basics::names;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

/// How the names of variables begin.
pub const PREFIX: &str = "SRNAS_";

/// Variables that are the program's own and no configuration of a run.
pub const OWN_VARIABLES: [&str; 4] =
    ["SRNAS_BENCH_DIR", "SRNAS_BENCH_SOURCES", "SRNAS_LOG_FORMAT", "SRNAS_TOKEN_FILE"];

/// The layer that a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: String,
        /// The line of the key, from 1.
        line: usize,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line, by its name.
    Flag(String),
}

impl Origin {
    /// Where a wrong value is to be put right; empty for defaults, which are right.
    fn place(&self) -> String {
        match self {
            Self::Default => String::new(),
            Self::File { path, line } => format!("{path}, line {line}"),
            Self::Environment(name) => format!("environment variable {name}"),
            Self::Flag(name) => format!("flag {name}"),
        }
    }

    /// Name of the layer alone.
    pub fn layer(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {path}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The text of a configuration file, and its name in errors.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// What it says.
    pub text: &'a str,
    /// Where it is.
    pub place: &'a str,
}

/// A value given on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    flag: String,
    path: Vec<String>,
    value: Value,
}

impl Override {
    /// What `flag` says of a key, such as `run.minutes`.
    pub fn new(flag: &str, key: &str, value: impl Into<Value>) -> Self {
        let path = key.split('.').map(Into::into).collect();
        Self { flag: flag.into(), path, value: value.into() }
    }

    /// Reads `key=value` as `--set` takes it: the value is TOML, a bare word is text.
    ///
    /// # Errors
    /// Says which half is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("expected KEY=VALUE, such as learning.batch=256".to_string())?;
        let keys = toml_edit::Key::parse(key.trim())
            .map_err(|_| format!("`{key}` is not a key; expected one such as learning.batch"))?;
        let path = keys.iter().map(|k| k.get().into()).collect();
        Ok(Self { flag: "--set".into(), path, value: parse_value(value.trim())? })
    }
}

/// A configuration whose layers are put together.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What holds.
    pub config: Config,
    /// Where the value of each key is from. Keys are dotted, as TOML writes them.
    pub origin: BTreeMap<String, Origin>,
}

impl Resolved {
    /// The configuration as TOML that can be loaded again; each key with its origin as a comment.
    pub fn to_toml(&self) -> String {
        let mut document: toml_edit::DocumentMut =
            self.config.to_toml().parse().expect("what was written can be read");
        self.annotate(document.as_table_mut(), &[]);
        let mut text = document.to_string();
        for key in keys() {
            if key.name.is_none() && !self.origin.contains_key(&key.path) {
                text += &format!("\n# {} is not set\n", key.path);
            }
        }
        text
    }

    /// The value of each key in [`Self::origin`].
    pub fn values(&self) -> BTreeMap<String, Value> {
        let tree: Table = self.config.to_toml().parse().expect("what was written can be read");
        self.origin
            .keys()
            .map(|key| {
                let path = toml_edit::Key::parse(key).expect("keys are written as TOML");
                let mut names = path.iter().map(toml_edit::Key::get);
                let first = names.next().and_then(|name| tree.get(name));
                let value = names.fold(first, |value, name| value.and_then(|v| v.get(name)));
                (key.clone(), value.expect("origins are of values that are there").clone())
            })
            .collect()
    }

    fn annotate(&self, table: &mut toml_edit::Table, at: &[String]) {
        for (key, item) in table.iter_mut() {
            let path = [at, &[key.get().to_string()]].concat();
            match item {
                toml_edit::Item::Table(inner) => self.annotate(inner, &path),
                toml_edit::Item::Value(value) => {
                    let origin = self.origin[&dotted(&path)].to_string();
                    // A comment ends with its line, and a file's name may hold anything.
                    let origin = origin.replace(char::is_control, "?");
                    value.decor_mut().set_suffix(format!("  # {origin}"));
                }
                _ => {}
            }
        }
    }
}

/// Puts the layers together and checks the result.
///
/// `environment` may be the whole environment: variables that do not begin with `SRNAS_` are passed over, and so are
/// empty ones, [`OWN_VARIABLES`], and those with which Kubernetes and Docker describe services called `srnas…`.
///
/// # Errors
/// Names the layer, the key, what is wrong with it, and the nearest known name.
pub fn resolve(
    file: Option<ConfigFile>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: impl IntoIterator<Item = Override>,
) -> Result<Resolved, ConfigError> {
    let mut layers = Layers::default();
    if let Some(file) = file {
        layers.read(file)?;
    }
    let variables: BTreeMap<String, String> =
        environment.into_iter().filter(|(name, value)| is_configuration(name, value)).collect();
    for (name, text) in variables {
        let path = layers.path_of(&name)?;
        let value = parse_value(&text).map_err(|message| ConfigError::Parse {
            place: Origin::Environment(name.clone()).place(),
            message,
        })?;
        layers.set(&path, value, Origin::Environment(name))?;
    }
    for Override { flag, path, value } in overrides {
        let origin = Origin::Flag(flag);
        if !is_known(&path) {
            let key = dotted(&path);
            let hint = names::did_you_mean(&key, keys().iter().map(|k| k.path.as_str()));
            let message = format!("unknown key `{key}`{hint}");
            return Err(ConfigError::Parse { place: origin.place(), message });
        }
        layers.set(&path, value, origin)?;
    }
    layers.finish()
}

/// The layers so far.
#[derive(Default)]
struct Layers {
    tree: Table,
    config: Config,
    /// By path; defaults are not in it.
    origin: BTreeMap<Vec<String>, Origin>,
}

impl Layers {
    fn read(&mut self, file: ConfigFile) -> Result<(), ConfigError> {
        let place = || file.place.to_string();
        self.config = Config::read(file.text, file.place)?;
        let wrong = |e: toml::de::Error| ConfigError::Parse { place: place(), message: e.to_string() };
        self.tree = toml::from_str(file.text).map_err(wrong)?;
        let spans = DeTable::parse(file.text).map_err(wrong)?;
        for_each_leaf(spans.get_ref(), &mut Vec::new(), &mut |path, start| {
            let line = 1 + file.text[..start].matches('\n').count();
            self.origin.insert(path.to_vec(), Origin::File { path: place(), line });
        });
        Ok(())
    }

    /// Sets one key, or several where the value is a table.
    fn set(&mut self, path: &[String], value: Value, origin: Origin) -> Result<(), ConfigError> {
        let (last, above) = path.split_last().expect("a key has a name");
        let tree = above.iter().rev().fold(Table::from_iter([(last.clone(), value)]), |inner, name| {
            Table::from_iter([(name.clone(), Value::Table(inner))])
        });
        merge(&mut self.tree, tree, &mut Vec::new(), &mut |path| {
            self.origin.insert(path.to_vec(), origin.clone());
        });
        self.config = self.tree.clone().try_into().map_err(|e: toml::de::Error| ConfigError::Parse {
            place: origin.place(),
            message: e.to_string().trim_end().replace('\n', " "),
        })?;
        Ok(())
    }

    /// The key that a variable means: lower case, `__` between levels. A name that the file chose (a task set) is found
    /// also where it has `-` for `_` or capitals, which variables cannot have.
    fn path_of(&self, variable: &str) -> Result<Vec<String>, ConfigError> {
        let mut path: Vec<String> =
            variable[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        if !is_known(&path) {
            let known: Vec<String> = keys().iter().map(|k| variable_of(&k.path)).collect();
            let all = known.iter().map(String::as_str).chain(OWN_VARIABLES);
            let message = format!("no key is set by it{}", names::did_you_mean(variable, all));
            return Err(ConfigError::Parse { place: Origin::Environment(variable.into()).place(), message });
        }
        let mut table = Some(&self.tree);
        for name in &mut path {
            let Some(inside) = table else { break };
            let alike = |key: &&String| key.to_ascii_lowercase().replace('-', "_") == *name;
            if !inside.contains_key(name)
                && let Some(key) = inside.keys().find(alike)
            {
                name.clone_from(key);
            }
            table = inside.get(name).and_then(Value::as_table);
        }
        Ok(path)
    }

    fn finish(self) -> Result<Resolved, ConfigError> {
        let Self { config, origin, .. } = self;
        let mut origin: BTreeMap<String, Origin> =
            origin.into_iter().map(|(path, origin)| (dotted(&path), origin)).collect();
        config.check().map_err(|error| match &error {
            ConfigError::Value(wrong) => match origin.get(wrong.key) {
                Some(from) => ConfigError::Parse { place: from.place(), message: error.to_string() },
                None => error,
            },
            _ => error,
        })?;
        let text = config.to_toml();
        let spans = DeTable::parse(&text).expect("what was written can be read");
        let mut there = BTreeSet::new();
        for_each_leaf(spans.get_ref(), &mut Vec::new(), &mut |path, _| {
            there.insert(dotted(path));
        });
        origin.retain(|key, _| there.contains(key));
        there.into_iter().for_each(|key| {
            origin.entry(key).or_insert(Origin::Default);
        });
        Ok(Resolved { config, origin })
    }
}

/// Whether a variable is meant for the configuration.
fn is_configuration(name: &str, value: &str) -> bool {
    name.starts_with(PREFIX)
        && !value.is_empty()
        && !OWN_VARIABLES.contains(&name)
        && !is_service_link(name, value)
}

/// Kubernetes (and Docker's old links) put `SRNAS_LEARNER_PORT_7777_TCP_ADDR` and the like into every container beside
/// a service called `srnas-learner`.
fn is_service_link(name: &str, value: &str) -> bool {
    let protocols = ["_TCP", "_UDP", "_SCTP"];
    let address = |(_, rest): (&str, &str)| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after != rest && protocols.iter().any(|p| after.starts_with(p))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT") && value.contains("://")
        || name.split_once("_PORT_").is_some_and(address)
}

/// The variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Whether there is such a key, or such a table of keys.
fn is_known(path: &[String]) -> bool {
    keys().iter().any(|key| {
        let known: Vec<&str> = key.path.split('.').collect();
        let free = |name: &str| Some(name) == key.name.as_deref();
        path.len() <= known.len() && path.iter().zip(known).all(|(name, known)| name == known || free(known))
    })
}

/// A value as TOML writes it; what is no TOML is text.
fn parse_value(text: &str) -> Result<Value, String> {
    match text.parse::<Value>() {
        Ok(value) => Ok(value),
        Err(e) if text.starts_with(['[', '{', '"', '\'']) => {
            Err(format!("`{text}` is not a TOML value: {}", e.message()))
        }
        Err(_) => Ok(Value::String(text.into())),
    }
}

/// Lays `upper` over `lower`, table by table, and tells each path that it set.
fn merge(lower: &mut Table, upper: Table, at: &mut Vec<String>, set: &mut impl FnMut(&[String])) {
    for (key, value) in upper {
        at.push(key.clone());
        match value {
            Value::Table(inner) => {
                let below = lower.entry(key).or_insert_with(|| Value::Table(Table::new()));
                if !below.is_table() {
                    *below = Value::Table(Table::new());
                }
                merge(below.as_table_mut().expect("made a table above"), inner, at, set);
            }
            other => {
                lower.insert(key, other);
                set(at);
            }
        }
        at.pop();
    }
}

/// Visits every value that is no table, with its path and where its key begins in the text.
fn for_each_leaf(table: &DeTable, at: &mut Vec<String>, visit: &mut impl FnMut(&[String], usize)) {
    for (key, value) in table {
        at.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => for_each_leaf(inner, at, visit),
            _ => visit(at, key.span().start),
        }
        at.pop();
    }
}

/// A path as TOML writes it.
fn dotted(path: &[String]) -> String {
    path.iter().map(|name| toml_edit::Key::new(name).to_string()).collect::<Vec<_>>().join(".")
}
