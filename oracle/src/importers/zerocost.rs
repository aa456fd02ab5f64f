//! NAS-Bench-Suite-Zero (Krishnakumar et al., arXiv 2210.03230): what untrained networks say, in the files that NASLib keeps.
//!
//! JSON: data set → architecture → `{"nwot": {"score": …, "time": …}, …, "val_accuracy": …}`. An architecture is a tuple as Python prints
//! it. Of NAS-Bench-201 the operations of the edges from node 0, then 1, then 2; of NAS-Bench-101 a matrix row by row and then the
//! operations of its vertices; of NAS-Bench-301 for each of two cells eight pairs of an input and an operation.
//!
//! The scores of NAS-Bench-201 join its benchmark ([`super::nasbench201`]). Those of the other two are of some thousand architectures,
//! which are made into benchmarks of their own, with the accuracies that the files have.

use super::{Folders, ImportError, Imported, csv::read_bytes};
use crate::{
    benchmark::{
        BenchmarkWriter,
        Direction::{Maximise, Minimise},
        MetricInfo,
    },
    training::Proxy,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use srnas_space::{SearchSpace, darts, nb101};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// Name of the benchmark made of NAS-Bench-101.
pub const NB101: &str = "nb101-zero";
/// Name of the benchmark made of NAS-Bench-301.
pub const NB301: &str = "nb301-zero";

/// What a proxy says of a network that it cannot score.
pub(super) const UNSCORED: f64 = -1e8;
/// Whether a proxy is one of those that a search is told.
pub(super) fn says_most(proxy: &str) -> bool {
    Proxy::DESCRIBING.iter().any(|known| known.name() == proxy)
}

/// The accuracy's name in the files.
pub(super) const ACCURACY: &str = "val_accuracy";

const LICENCE: &str = "Apache-2.0";

/// A file of scores and what its architectures are.
struct Source {
    benchmark: &'static str,
    stem: &'static str,
    space: &'static str,
    choices: fn(&str) -> Result<Vec<u8>, String>,
    /// What its accuracies are.
    accuracy: &'static str,
}

const SOURCES: [Source; 2] = [
    Source {
        benchmark: NB101,
        stem: "zc_nasbench101",
        space: "nb101",
        choices: nb101_cell,
        accuracy: "validation accuracy after 108 epochs, one run",
    },
    Source {
        benchmark: NB301,
        stem: "zc_nasbench301",
        space: "darts",
        choices: darts_cells,
        accuracy: "validation accuracy that the surrogate of NAS-Bench-301 predicts",
    },
];

/// Reads the files that the folders have; one must be there.
///
/// # Errors
/// Refuses folders without any, and a file with what is not a score or an architecture, with the data set and the architecture.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let folders = Folders::new(folders)?;
    let found = SOURCES.iter().map(|source| (source, find(&folders, source.stem)));
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for (source, path) in found {
        match path {
            Some(path) => there.push((source, path)),
            None => absent.push(format!("{}.json", source.stem)),
        }
    }
    if there.is_empty() {
        let name =
            "zc_nasbench101.json or zc_nasbench301.json (that of NAS-Bench-201 goes with `nasbench201`)";
        return Err(ImportError::RequiredName { name, folders: folders.given });
    }
    let mut benchmarks = Vec::new();
    for (done, (source, path)) in there.iter().enumerate() {
        progress(done, there.len(), path);
        benchmarks.push(source.benchmark(path)?);
    }
    Ok(Imported { benchmarks, files: there.into_iter().map(|(_, path)| path).collect(), absent })
}

/// The file of this name, compressed or not.
pub(super) fn find(folders: &Folders, stem: &str) -> Option<PathBuf> {
    folders.find_ending(stem, ["json.gz", "json"])
}

impl Source {
    fn benchmark(&self, path: &Path) -> Result<BenchmarkWriter, ImportError> {
        let wrong = |reason: String| ImportError::Records { path: path.into(), reason };
        let space = SearchSpace::named(self.space)?;
        let datasets = read(path)?;
        // By choices: the row.
        let mut rows: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut choices = Vec::new();
        let mut metrics: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for dataset in &datasets {
            let places = dataset.places(|key| {
                let mut own = (self.choices)(key)?;
                space.activate(&mut own);
                let next = rows.len();
                Ok(*rows.entry(own).or_insert_with_key(|own| {
                    choices.extend_from_slice(own);
                    next
                }))
            });
            for (name, values) in dataset.spread(&places.map_err(wrong)?, rows.len()).map_err(wrong)? {
                metrics.insert(format!("{}/{name}", dataset.name), values);
            }
        }
        let provenance =
            "NAS-Bench-Suite-Zero (Krishnakumar et al., NeurIPS 2022), as github automl/NASLib has it";
        let mut benchmark = BenchmarkWriter::new(self.benchmark, &space, choices, provenance, LICENCE);
        for (name, mut values) in metrics {
            // Later data sets may have more architectures.
            values.resize(rows.len(), f64::NAN);
            let (dataset, proxy) = name.split_once('/').unwrap_or(("", &name));
            if proxy == ACCURACY {
                let description = format!("{}, {dataset}", self.accuracy);
                let info = MetricInfo { description, ..info(dataset, ACCURACY) };
                benchmark.exact_metric(format!("{dataset}/val"), info, 1, &values);
                continue;
            }
            if says_most(proxy) && values.iter().all(|value| value.is_finite()) {
                benchmark.untrained(&name);
            }
            benchmark.exact_metric(&name, info(dataset, proxy), 1, &values);
        }
        Ok(benchmark)
    }
}

/// What a proxy is.
pub(super) fn info(dataset: &str, proxy: &str) -> MetricInfo {
    let (unit, direction, description) = match proxy {
        ACCURACY => ("%", Maximise, format!("validation accuracy after 200 epochs, {dataset}")),
        "params" => ("M", Minimise, format!("parameters of the network, {dataset}")),
        "flops" => ("M", Minimise, format!("floating-point operations of a forward pass, {dataset}")),
        _ => ("", Maximise, format!("zero-cost proxy {proxy} of the untrained network for {dataset}")),
    };
    MetricInfo { unit: unit.into(), direction, description }
}

/// The scores on a data set.
pub(super) struct Dataset {
    /// As metrics have it: `ImageNet16-120` is imagenet16.
    pub(super) name: String,
    /// The architectures as they are written.
    keys: Vec<String>,
    /// A value for each, NaN where there is none.
    columns: BTreeMap<String, Vec<f64>>,
}

impl Dataset {
    /// Where each architecture is.
    ///
    /// # Errors
    /// Says which is none.
    pub(super) fn places(
        &self,
        mut of: impl FnMut(&str) -> Result<usize, String>,
    ) -> Result<Vec<usize>, String> {
        let place = |key: &String| of(key).map_err(|e| format!("{}: `{key}`: {e}", self.name));
        self.keys.iter().map(place).collect()
    }

    /// The columns over rows, of which some have the architectures, by their places.
    ///
    /// # Errors
    /// Names architectures that are the same one and differ in what is said of them.
    pub(super) fn spread(&self, places: &[usize], rows: usize) -> Result<BTreeMap<&str, Vec<f64>>, String> {
        let mut first = vec![None; rows];
        let spread = self.columns.iter().map(|(name, column)| {
            let mut values = vec![f64::NAN; rows];
            for ((&place, &value), key) in places.iter().zip(column).zip(&self.keys) {
                let before: &String = first[place].get_or_insert(key);
                if before != key && !same(values[place], value) {
                    let (other, own) = (values[place], &self.name);
                    return Err(format!(
                        "{own}: `{key}` is the architecture of `{before}`, and its {name} is {value}, not {other}"
                    ));
                }
                values[place] = value;
            }
            Ok((name.as_str(), values))
        });
        spread.collect()
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// All that a file has.
///
/// # Errors
/// Refuses a file that cannot be read, and what is not such scores.
pub(super) fn read(path: &Path) -> Result<Vec<Dataset>, ImportError> {
    let bytes = read_bytes(path).map_err(|source| ImportError::File { path: path.into(), source })?;
    let wrong = |reason: String| ImportError::Records { path: path.into(), reason };
    let Pairs(all): Pairs<Pairs<Pairs<Field>>> =
        serde_json::from_slice(&as_json(&bytes)).map_err(|error| {
            wrong(format!(
                "it is not what NASLib keeps of proxies, data set → architecture → proxy → score: {error}"
            ))
        })?;
    if all.is_empty() {
        return Err(wrong("it has no data set".into()));
    }
    let datasets: Vec<Dataset> = all
        .into_iter()
        .map(|(name, all)| Dataset::of(&name, all))
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    match (1..datasets.len()).find(|&i| datasets[..i].iter().any(|before| before.name == datasets[i].name)) {
        Some(twice) => Err(wrong(format!("it has the data set {} twice", datasets[twice].name))),
        None => Ok(datasets),
    }
}

impl Dataset {
    fn of(name: &str, Pairs(all): Pairs<Pairs<Field>>) -> Result<Self, String> {
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        if !is_word(name) {
            return Err(format!("`{name}` is no name of a data set"));
        }
        let name = match name {
            "ImageNet16-120" => "imagenet16".to_string(),
            name => name.to_lowercase(),
        };
        if all.is_empty() {
            return Err(format!("{name} has no architecture"));
        }
        let mut known = HashMap::new();
        let (mut keys, mut columns): (Vec<String>, BTreeMap<String, Vec<f64>>) =
            (Vec::new(), BTreeMap::new());
        for (row, (key, Pairs(fields))) in all.into_iter().enumerate() {
            if known.insert(key.clone(), row).is_some() {
                return Err(format!("{name} has `{key}` twice"));
            }
            for (proxy, field) in fields {
                let value = match field {
                    Field::Proxy { score } => score.filter(|score| *score != UNSCORED),
                    Field::Number(value) if proxy == ACCURACY => Some(value),
                    Field::Number(_) | Field::Other(_) => continue,
                };
                if !is_word(&proxy) {
                    return Err(format!("{name}: `{key}` has a score of `{proxy}`, which is no name"));
                }
                let column = columns.entry(proxy).or_default();
                if column.len() > row {
                    return Err(format!("{name}: `{key}` has a score twice"));
                }
                column.resize(row, f64::NAN);
                column.push(value.unwrap_or(f64::NAN));
            }
            keys.push(key);
        }
        if !columns.keys().any(|column| column != ACCURACY) {
            return Err(format!("{name} has no scores"));
        }
        columns.values_mut().for_each(|column| column.resize(keys.len(), f64::NAN));
        Ok(Self { name, keys, columns })
    }
}

/// What a file has of an architecture under a name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Proxy {
        /// Must be there, if only as null.
        #[serde(deserialize_with = "Option::deserialize")]
        score: Option<f64>,
    },
    Number(f64),
    Other(IgnoredAny),
}

/// An object, in the order of its names, none left out.
struct Pairs<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
}

/// Python writes numbers that JSON does not have: NaN, Infinity and -Infinity become null.
fn as_json(python: &[u8]) -> Vec<u8> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut json = Vec::with_capacity(python.len() + 1024);
    let (mut rest, mut in_text) = (python, false);
    while let [first, after @ ..] = rest {
        if !in_text && let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
            json.extend_from_slice(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        json.push(*first);
        rest = after;
        match *first {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                json.extend(rest.first());
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    json
}

/// A tuple of numbers as Python prints it, or tuples of such.
fn tuple<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, String> {
    let list: String = text
        .chars()
        .map(|c| {
            if c == '(' {
                '['
            } else if c == ')' {
                ']'
            } else {
                c
            }
        })
        .collect();
    serde_json::from_str(&list).map_err(|_| format!("it is not {what}"))
}

/// A cell of NAS-Bench-201.
///
/// # Errors
/// Says what else the text is.
pub(super) fn nb201_cell(text: &str) -> Result<Vec<u8>, String> {
    /// The choice that is meant by each operation: skip, none, 3×3, 1×1, pool.
    const CHOICES: [u8; 5] = [1, 0, 3, 2, 4];
    /// Of edges from node 0, then 1, then 2: the decision.
    const DECISIONS: [usize; 6] = [0, 1, 3, 2, 4, 5];
    let operations: [usize; 6] = tuple(text, "six operations in brackets")?;
    let mut choices = vec![0; 6];
    for (decision, operation) in DECISIONS.into_iter().zip(operations) {
        choices[decision] =
            *CHOICES.get(operation).ok_or_else(|| format!("{operation} is no operation: 0 to 4 are"))?;
    }
    Ok(choices)
}

fn nb101_cell(text: &str) -> Result<Vec<u8>, String> {
    const OPERATIONS: [&str; 5] = ["input", "output", "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu"];
    let numbers: Vec<i64> = tuple(text, "numbers in brackets")?;
    let n = (1..=nb101::VERTICES).find(|n| n * n + n == numbers.len());
    let n = n.ok_or_else(|| {
        format!("{} numbers are no matrix and the operations of its vertices", numbers.len())
    })?;
    let (matrix, operations) = numbers.split_at(n * n);
    let matrix: Vec<Vec<f64>> =
        matrix.chunks_exact(n).map(|row| row.iter().map(|&v| v as f64).collect()).collect();
    let name = |operation: &i64| {
        let known = usize::try_from(*operation).ok().and_then(|operation| OPERATIONS.get(operation));
        known
            .map(|name| (*name).to_string())
            .ok_or_else(|| format!("{operation} is no operation: 0 to 4 are"))
    };
    let operations = operations.iter().map(name).collect::<Result<Vec<String>, _>>()?;
    nb101::choices_of(&matrix, &operations)
}

fn darts_cells(text: &str) -> Result<Vec<u8>, String> {
    let cells: [Vec<(i64, i64)>; 2] = tuple(text, "two cells of pairs of an input and an operation")?;
    let edge = |&(input, operation): &(i64, i64)| {
        let known = usize::try_from(operation).ok().and_then(|operation| darts::OPERATIONS.get(operation));
        let name = known.ok_or_else(|| format!("{operation} is no operation: 0 to 6 are"))?;
        Ok(((*name).to_string(), input))
    };
    let edges = |cell: &Vec<(i64, i64)>| cell.iter().map(edge).collect::<Result<Vec<_>, String>>();
    let [normal, reduce] = [edges(&cells[0])?, edges(&cells[1])?];
    darts::choices_of([&normal, &reduce])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let json = br#"{"NaN \" Infinity": [NaN, -Infinity,Infinity , 1], "\\": NaN}"#;
        let expected = br#"{"NaN \" Infinity": [null, null,null , 1], "\\": null}"#;
        assert_eq!(String::from_utf8(as_json(json)), String::from_utf8(expected.to_vec()));
        assert_eq!(as_json(b"\"open \\"), b"\"open \\");
        assert!(as_json(b"").is_empty());
    }

    #[test]
    fn architectures_are_those_of_the_published_conversions() {
        let formatted = |space: &str, choices: Vec<u8>| SearchSpace::named(space).unwrap().format(&choices);
        assert_eq!(
            formatted("nb201", nb201_cell("(4, 0, 3, 1, 2, 3)").unwrap()),
            "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_1x1~2|"
        );
        // A chain: input, 3×3, 1×1, pool, output.
        let chain =
            nb101_cell("(0,1,0,0,0, 0,0,1,0,0, 0,0,0,1,0, 0,0,0,0,1, 0,0,0,0,0, 0, 4, 3, 2, 1)").unwrap();
        let operations =
            ["input", "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3", "output"].map(String::from);
        let matrix: Vec<Vec<f64>> =
            (0..5).map(|r| (0..5).map(|c| f64::from(u8::from(c == r + 1))).collect()).collect();
        assert_eq!(chain, nb101::choices_of(&matrix, &operations).unwrap());

        let cell = "((0, 3), (1, 4), (2, 0), (0, 1), (0, 2), (1, 5), (3, 6), (4, 3))";
        let found = darts_cells(&format!("({cell}, {cell})")).unwrap();
        let genotype = "[('sep_conv_3x3', 0), ('sep_conv_5x5', 1), ('max_pool_3x3', 2), ('avg_pool_3x3', 0), \
                        ('skip_connect', 0), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3), ('sep_conv_3x3', 4)]";
        let space = SearchSpace::named("darts").unwrap();
        assert_eq!(found, space.parse(&format!("Genotype(normal={genotype}, reduce={genotype})")).unwrap());
    }

    #[test]
    fn what_is_no_architecture_is_refused() {
        for (of, text, reason) in [
            (nb201_cell as fn(&str) -> Result<Vec<u8>, String>, "(4, 0, 3, 1, 4)", "six operations"),
            (nb201_cell, "(4, 0, 3, 1, 4, 5)", "5 is no operation"),
            (nb201_cell, "", "six operations"),
            (nb201_cell, "(4, 0, 3, 1, 4, -1)", "six operations"),
            (nb101_cell, "(0, 1, 0)", "3 numbers are no matrix"),
            (nb101_cell, "(0, 1, 0, 0, 0, 9)", "9 is no operation"),
            (nb101_cell, "(0, 0, 0, 0, 0, 1)", "no way leads"),
            (darts_cells, "((0, 3), (1, 4))", "two cells"),
            (darts_cells, "(((0, 3),(1, 4)), ((0, 3),(1, 4)))", "normal has 2 edges"),
            (darts_cells, "(((0, 7)), ((0, 3)))", "7 is no operation"),
        ] {
            let found = of(text).unwrap_err();
            assert!(found.contains(reason), "{text}: {found}");
        }
    }
}
