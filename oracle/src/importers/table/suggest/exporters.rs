//! The tables that well-known programs export, told by their columns.

use super::super::source::Said;

/// A program that exports tables.
pub(super) struct Exporter {
    pub name: &'static str,
    /// The column of a run's state, and the word for one that ended well.
    pub state: Option<(&'static str, &'static str)>,
    /// What is usually minimised where nothing is said.
    pub minimises: bool,
    /// Whether it is a logger: its parameters are whatever it was given.
    pub logs: bool,
    knows: fn(&[&str]) -> bool,
    says: fn(&str) -> Said,
}

impl Exporter {
    /// What it says of a column.
    pub fn says(&self, column: &str) -> Said {
        (self.says)(column)
    }
}

/// The exporter of a table with these columns.
pub(super) fn known(header: &[&str]) -> Option<&'static Exporter> {
    EXPORTERS.iter().find(|exporter| (exporter.knows)(header))
}

const EXPORTERS: &[Exporter] = &[
    Exporter {
        name: "Optuna",
        state: Some(("state", "COMPLETE")),
        minimises: true,
        logs: false,
        knows: |header| {
            starts(header, &["params_"])
                && count(header, OPTUNA) + usize::from(starts(header, &["values_", "value_"])) >= 2
        },
        says: |column| match column {
            "value" => Said::Metric("value".into()),
            "" | "number" => Said::Neither("the number of the trial"),
            "state" => Said::Neither("the state of the trial"),
            "duration" => Said::Neither("a duration in words"),
            _ if column.starts_with("datetime_") => Said::Neither("a date"),
            _ if column.starts_with("system_attrs_") => Said::Neither("Optuna's own notes"),
            _ if column.starts_with("intermediate_values_") => Said::Neither("a value on the way"),
            _ => cut(
                column,
                &[
                    ("params_", Said::Decision),
                    ("user_attrs_", Said::Metric),
                    ("values_", Said::Metric),
                    ("value_", Said::Metric),
                ],
            ),
        },
    },
    Exporter {
        name: "the Optuna dashboard",
        state: Some(("State", "Complete")),
        minimises: true,
        logs: false,
        knows: |header| {
            count(header, &["Number", "State"]) == 2
                && header.iter().any(|column| column.starts_with("Param "))
        },
        says: |column| match column {
            "Number" => Said::Neither("the number of the trial"),
            "State" => Said::Neither("the state of the trial"),
            "Value" => Said::Metric("value".into()),
            _ => cut(
                column,
                &[("Param ", Said::Decision), ("UserAttribute ", Said::Metric), ("Objective ", Said::Metric)],
            ),
        },
    },
    Exporter {
        name: "MLflow",
        state: Some(("status", "FINISHED")),
        minimises: false,
        logs: true,
        knows: |header| {
            starts(header, &["params."])
                && (starts(header, &["metrics."]) || count(header, &["run_id", "experiment_id"]) > 0)
        },
        says: |column| match column {
            "run_id" | "experiment_id" | "status" | "artifact_uri" | "start_time" | "end_time" | "" => {
                Said::Neither("MLflow's own notes")
            }
            _ if column.starts_with("tags.") => Said::Neither("a tag"),
            _ => cut(column, &[("params.", Said::Decision), ("metrics.", Said::Metric)]),
        },
    },
    Exporter {
        name: "MLflow's page",
        state: Some(("Status", "FINISHED")),
        minimises: false,
        logs: true,
        knows: |header| {
            count(header, &["Run ID"]) == 1
                && count(header, &["Source Type", "Source Name", "Status", "Duration", "User"]) >= 2
        },
        says: |column| match column {
            "Run ID" | "Run Name" | "Name" | "Start Time" | "Duration" | "Source" | "Source Type"
            | "Source Name" | "Source Version" | "User" | "Status" | "Version" | "Models" | "Created"
            | "Experiment ID" | "Dataset" | "" => Said::Neither("MLflow's own notes"),
            _ => cut(
                column,
                &[
                    ("params.", Said::Decision),
                    ("metrics.", Said::Metric),
                    ("tags.", |_| Said::Neither("a tag")),
                ],
            ),
        },
    },
    Exporter {
        name: "Weights & Biases",
        state: Some(("State", "finished")),
        minimises: false,
        logs: true,
        knows: |header| {
            (count(header, &["Name", "State"]) == 2 && count(header, WANDB) >= 3)
                || (count(header, &["Name", "Runtime"]) == 2 && count(header, WANDB) >= 5)
                || (starts(header, &["config.", "config/"]) && starts(header, &["summary.", "summary/"]))
                || count(header, &["summary", "config", "name"]) == 3
        },
        says: |column| match column {
            "summary" | "config" => Said::Neither("a dictionary: write one column for each of its entries"),
            "name" | "id" | "state" | "" => Said::Neither("Weights & Biases' own notes"),
            _ if WANDB.contains(&column) || column.starts_with('_') => {
                Said::Neither("Weights & Biases' own notes")
            }
            _ => cut(
                column,
                &[
                    ("config.", Said::Decision),
                    ("config/", Said::Decision),
                    ("summary._", |_| Said::Neither("Weights & Biases' own notes")),
                    ("summary/_", |_| Said::Neither("Weights & Biases' own notes")),
                    ("summary.", Said::Metric),
                    ("summary/", Said::Metric),
                ],
            ),
        },
    },
    Exporter {
        // Names of the hyperparameters, then the tags of the metrics.
        name: "TensorBoard's HParams",
        state: None,
        minimises: false,
        logs: true,
        knows: |header| {
            starts(header, &["hparam/"])
                || count(header, &["hp_metric", "epoch_loss", "epoch_accuracy", "Trial ID", "Show Metrics"])
                    > 0
        },
        says: |column| match column {
            "Trial ID" | "Show Metrics" | "" => Said::Neither("TensorBoard's own notes"),
            "hp_metric" => Said::Metric(column.into()),
            _ if column.starts_with("epoch_") => Said::Metric(column.into()),
            _ => cut(column, &[("hparam/", Said::Metric)]),
        },
    },
    Exporter {
        name: "Ray Tune",
        state: None,
        minimises: false,
        logs: false,
        knows: |header| {
            count(header, &["training_iteration"]) == 1 && starts(header, &["config/", "config."])
        },
        says: |column| match column {
            "done"
            | "training_iteration"
            | "trial_id"
            | "date"
            | "timestamp"
            | "pid"
            | "hostname"
            | "node_ip"
            | "experiment_id"
            | "experiment_tag"
            | "iterations_since_restore"
            | "timesteps_since_restore"
            | "timesteps_total"
            | "logdir"
            | "time_since_restore"
            | "time_this_iter_s"
            | "episodes_total"
            | "checkpoint_dir_name"
            | "should_checkpoint"
            | "" => Said::Neither("Ray Tune's own notes"),
            _ => cut(column, &[("config/", Said::Decision), ("config.", Said::Decision)]),
        },
    },
    Exporter {
        name: "scikit-learn's search",
        state: None,
        minimises: false,
        logs: false,
        knows: |header| starts(header, &["param_"]) && count(header, &["mean_test_score"]) == 1,
        says: |column| match column {
            "params" => Said::Neither("all parameters again"),
            "mean_test_score" => Said::Metric("mean_test_score".into()),
            _ if column.starts_with("rank_") => Said::Neither("a rank"),
            _ if column.starts_with("split") => Said::Neither("one fold of a mean"),
            _ => cut(column, &[("param_", Said::Decision)]),
        },
    },
];

/// Columns of Optuna's data frame beside `params_…`.
const OPTUNA: &[&str] = &["number", "value", "state", "datetime_start", "datetime_complete", "duration"];

/// Columns that Weights & Biases adds to those of the runs.
const WANDB: &[&str] = &[
    "Name",
    "State",
    "Notes",
    "User",
    "Tags",
    "Created",
    "Updated",
    "Runtime",
    "Sweep",
    "ID",
    "Group",
    "Job Type",
    "Hostname",
    "Host",
    "Agent",
    "Commit",
    "GitHub",
    "Github",
    "Start Time",
    "End Time",
    "Duration",
    "Description",
    "Entity",
    "Project",
    "Created By",
    "Python",
    "Python Version",
    "OS",
    "GPU Type",
    "GPU Count",
    "CPU Count",
    "Relative Time",
    "Report",
    "Display Name",
    "Path",
];

fn starts(header: &[&str], with: &[&str]) -> bool {
    header.iter().any(|column| with.iter().any(|start| column.starts_with(start)))
}

fn count(header: &[&str], names: &[&str]) -> usize {
    names.iter().filter(|name| header.contains(name)).count()
}

/// How a column's name may begin, and what that says of the rest.
type Start<'a> = (&'a str, fn(String) -> Said);

/// What the beginning of a column's name says of the rest.
fn cut(column: &str, starts: &[Start<'_>]) -> Said {
    let found = starts.iter().find_map(|(start, said)| Some(said(column.strip_prefix(start)?.to_string())));
    found.unwrap_or(Said::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(header: &str, of: &str) -> (&'static str, Said) {
        let header: Vec<&str> = header.split(',').collect();
        let exporter = known(&header).unwrap_or_else(|| panic!("{header:?} is not known"));
        (exporter.name, exporter.says(of))
    }

    #[test]
    fn exports_are_known_by_their_columns() {
        let decision = |name: &str| Said::Decision(name.into());
        let metric = |name: &str| Said::Metric(name.into());
        let optuna = ",number,value,datetime_start,datetime_complete,duration,params_lr,params_op,user_attrs_acc,state";
        assert_eq!(said(optuna, "params_lr"), ("Optuna", decision("lr")));
        assert_eq!(said(optuna, "user_attrs_acc").1, metric("acc"));
        assert_eq!(said(optuna, "value").1, metric("value"));
        assert_eq!(said("number,values_0,values_1,params_op,state", "values_1"), ("Optuna", metric("1")));
        assert!(matches!(said(optuna, "datetime_start").1, Said::Neither(_)));
        let dashboard = "Number,State,Value,Param lr,UserAttribute acc";
        assert_eq!(said(dashboard, "Param lr"), ("the Optuna dashboard", decision("lr")));
        let wandb = "Name,State,Notes,User,Tags,Created,Runtime,Sweep,lr,val_acc";
        assert_eq!(said(wandb, "lr"), ("Weights & Biases", Said::Nothing));
        assert!(matches!(said(wandb, "Runtime").1, Said::Neither(_)));
        assert_eq!(said("name,config.lr,summary.acc", "config.lr"), ("Weights & Biases", decision("lr")));
        let mlflow = "run_id,experiment_id,status,start_time,metrics.acc,params.lr,tags.mlflow.user";
        assert_eq!(said(mlflow, "metrics.acc"), ("MLflow", metric("acc")));
        assert_eq!(said(mlflow, "tags.mlflow.user").1, Said::Neither("a tag"));
        let page = "Start Time,Duration,Run ID,Name,Source Type,Source Name,User,Status,lr,acc";
        assert_eq!(said(page, "acc"), ("MLflow's page", Said::Nothing));
        assert_eq!(
            said("lr,op,hparam/accuracy", "hparam/accuracy"),
            ("TensorBoard's HParams", metric("accuracy"))
        );
        assert_eq!(said("Trial ID,Show Metrics,lr,accuracy", "lr"), ("TensorBoard's HParams", Said::Nothing));
        for own in [
            "op,depth,acc",
            "arch,params_m,acc",
            "params_m,params_total,value",
            "name,config,acc",
            "state,acc",
        ] {
            assert!(known(&own.split(',').collect::<Vec<_>>()).is_none(), "{own}");
        }
    }
}
