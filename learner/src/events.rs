//! TensorBoard: scalars of a run in an event file. A record is a length, its checksum, a protobuf message and its
//! checksum (TFRecord); the messages are the few fields of TensorFlow's `Event` and `Summary` that scalars need.

use crate::{append::AppendFile, progress::Progress};
use prost::Message;
use srnas_basics::machine::host_name;
use std::{io, path::Path, time::SystemTime};

/// `tensorflow.Event`
#[derive(Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`
#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`
#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file, open for more.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: AppendFile,
}

impl EventFile {
    /// Starts a file in a run directory. TensorBoard reads the files of one directory as one run.
    pub fn create(run_dir: &Path, now: SystemTime) -> io::Result<EventFile> {
        let path = run_dir.join(format!("events.out.tfevents.{:010}.{}", seconds(now) as u64, host_name()));
        // Length 0: whatever has that name was started in the same second by a process that is gone.
        let mut file = EventFile { file: AppendFile::open(&path, 0)? };
        let version = Some("brain.Event:2".into());
        file.append(&Event { wall_time: seconds(now), step: 0, file_version: version, summary: None })?;
        Ok(file)
    }

    /// Adds the scalars of the time since `before`.
    pub fn write(&mut self, now: SystemTime, before: &Progress, progress: &Progress) -> io::Result<()> {
        let value =
            scalars(before, progress).into_iter().map(|(tag, v)| Value { tag, simple_value: Some(v as f32) });
        let summary = Some(Summary { value: value.collect() });
        let step = progress.updates as i64;
        self.append(&Event { wall_time: seconds(now), step, file_version: None, summary })
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        self.file.append(&record(&event.encode_to_vec()))
    }
}

/// What is shown, by tag; TensorBoard makes a section of all tags with the same first part.
fn scalars(before: &Progress, now: &Progress) -> Vec<(String, f64)> {
    let times = now.times - before.times;
    let mut scalars: Vec<(String, f64)> = [
        ("train/updates_per_second", now.update_rate),
        ("train/updates_skipped", now.skipped as f64),
        ("train/replay_transitions", now.replay as f64),
        ("train/policy_version", now.policy_version as f64),
        ("train/measurements", now.measurements as f64),
        ("actors/live", now.actors as f64),
        ("actors/environment_steps", now.environment_steps as f64),
        ("actors/environment_steps_per_second", now.environment_rate),
        ("actors/transitions_per_second", now.transition_rate),
    ]
    .map(|(tag, value)| (tag.into(), value))
    .into();
    let mut add = |tag: &str, value: Option<f64>| scalars.extend(value.map(|value| (tag.into(), value)));
    add("train/loss", now.loss);
    add("actors/policy_lag_mean", (now.lags.batches > 0).then(|| now.lags.mean()));
    let share = |part: f64| (times.actors > 0.0).then(|| part / times.actors);
    add("actors/credit_wait_share", share(times.credit));
    add("actors/oracle_wait_share", share(times.oracle));
    add("validation/gain", now.gain.map(|(gain, _)| gain));
    add("validation/gain_low", now.gain.map(|(_, [low, _])| low));
    add("validation/gain_high", now.gain.map(|(_, [_, high])| high));
    for (group, regret) in &now.groups {
        add(&format!("regret/{group}"), Some(regret.mean));
    }
    for (method, regret) in &now.standings.regrets {
        add(&format!("held_out/{method}"), Some(*regret));
    }
    scalars
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// TFRecord framing.
fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_checksum(message).to_le_bytes());
    record
}

/// CRC32C, masked as TFRecord does, since the checksum of data that contains its own checksum says little.
fn masked_checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Written by TensorBoard 2.21: `RecordWriter.write(Event(…).SerializeToString())` of the two events below.
    const GOLDEN: &str = "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b3531103200\
        000000000000241956ec0900009042fc54d94110d2092a240a110a0a747261696e2f6c6f737315000000\
        3e0a0f0a087265677265742f61150000000000cc4b1f";

    #[test]
    fn bytes_are_those_of_tensorboards_own_writer() {
        let version = Event {
            wall_time: 1_700_000_000.5,
            step: 0,
            file_version: Some("brain.Event:2".into()),
            summary: None,
        };
        let value = |tag: &str, value| Value { tag: tag.into(), simple_value: Some(value) };
        let scalars = Event {
            wall_time: 1_700_000_010.25,
            step: 1234,
            file_version: None,
            summary: Some(Summary { value: vec![value("train/loss", 0.125), value("regret/a", 0.0)] }),
        };
        let bytes: Vec<u8> =
            [version, scalars].iter().flat_map(|event| record(&event.encode_to_vec())).collect();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    /// Cuts a file into its messages, checking what TensorBoard checks.
    fn messages(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let (one, rest) = bytes.split_at(16 + length);
            assert_eq!(record(&one[12..12 + length]), one);
            events.push(Event::decode(&one[12..12 + length]).unwrap());
            bytes = rest;
        }
        events
    }

    #[test]
    fn a_file_begins_with_its_version_and_steps_are_updates() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut file = EventFile::create(folder.path(), now).unwrap();
        let mut progress = Progress { updates: 40, loss: Some(0.5), ..Progress::default() };
        file.write(now, &Progress::default(), &progress).unwrap();
        (progress.updates, progress.loss) = (80, None);
        file.write(now, &Progress::default(), &progress).unwrap();
        let entry = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        assert!(entry.file_name().to_str().unwrap().starts_with("events.out.tfevents.1700000000."));
        let events = messages(&std::fs::read(entry.path()).unwrap());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(events.iter().map(|e| e.step).collect::<Vec<_>>(), [0, 40, 80]);
        let loss = |event: &Event| {
            let values = &event.summary.as_ref().unwrap().value;
            values.iter().find(|v| v.tag == "train/loss").and_then(|v| v.simple_value)
        };
        assert_eq!((loss(&events[1]), loss(&events[2])), (Some(0.5), None));
    }
}
