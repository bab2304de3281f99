//! The passes of the full evidence: peak memory, and where each node ran.

use std::collections::BTreeMap;
use std::path::Path;

use agent_protocol::{Stage, bounds, wire};
use serde::Deserialize;

use super::model::{self, Bench, Runner};
use super::{Events, Trouble};

/// Runs of a model in a pass that takes no times: enough for the arena to reach its size.
const RUNS: usize = 3;

fn only_model(job: &wire::WorkerJob) -> Result<&wire::WorkerModel, Trouble> {
    match job.models.as_slice() {
        [model] => Ok(model),
        models => Err(Trouble::internal(format!(
            "the pass is for one model, not {}",
            models.len()
        ))),
    }
}

/// How much more memory this process held at its peak with the model than before it.
pub fn memory(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerMemory, Trouble> {
    let model = only_model(job)?;
    events.enter(Stage::Memory, &model.name);
    let before = peak_bytes()?;
    let mut runner = Runner::load(bench, Path::new(&model.path), None)?;
    for _ in 0..RUNS {
        runner.run()?;
    }
    Ok(wire::WorkerMemory {
        peak_bytes: peak_bytes()?.saturating_sub(before),
    })
}

/// The largest resident size this process ever had.
fn peak_bytes() -> Result<u64, Trouble> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(Trouble::internal)?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib * 1024)
        .ok_or_else(|| Trouble::internal("/proc/self/status tells no VmHWM"))
}

/// The model's first output for the job's input.
pub fn run(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::RunOutput, Trouble> {
    let model = only_model(job)?;
    events.enter(Stage::Load, &model.name);
    let (mut session, _) = model::open(bench, Path::new(&model.path), None)?;
    events.enter(Stage::Run, &model.name);
    model::run_on(&mut session, &job.input, &job.shape)
}

/// An event of ONNX Runtime's profile, as far as it matters here.
#[derive(Deserialize)]
struct ProfileEvent {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
}

/// Which execution provider ran each node.
pub fn profile(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerProfile, Trouble> {
    let model = only_model(job)?;
    events.enter(Stage::Profile, &model.name);
    let mut runner = Runner::load(bench, Path::new(&model.path), Some("profile"))?;
    runner.run()?;
    let file = runner.end_profile()?;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Trouble::internal(format!("{file}: {error}")))?;
    // It has served; the folder goes with the agent should this fail.
    let _ = std::fs::remove_file(&file);
    Ok(wire::WorkerProfile {
        node_providers: node_providers(&text)?,
    })
}

fn node_providers(profile: &str) -> Result<Vec<wire::NodeProvider>, Trouble> {
    let all: Vec<ProfileEvent> = serde_json::from_str(profile).map_err(|error| {
        Trouble::internal(format!("the runtime's profile cannot be read: {error}"))
    })?;
    let mut seen = std::collections::HashSet::new();
    let text = |event: &ProfileEvent, field: &str| {
        event
            .args
            .get(field)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Ok(all
        .iter()
        .filter(|event| event.cat == "Node")
        .filter_map(|event| {
            let node = event.name.strip_suffix("_kernel_time")?;
            seen.insert(node).then(|| wire::NodeProvider {
                node: node.to_owned(),
                op_type: text(event, "op_name"),
                provider: text(event, "provider"),
                time_ns: None,
            })
        })
        .take(bounds::MAX_NODES)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_of_a_profile_is_told_once_with_its_provider() {
        let profile = r#"[
            {"cat":"Session","name":"model_loading_uri","ts":1,"args":{}},
            {"cat":"Node","name":"conv_fence_before","ts":1,"args":{"op_name":"Conv"}},
            {"cat":"Node","name":"conv_kernel_time","ts":1,"args":{"op_name":"Conv","provider":"CPUExecutionProvider","node_index":"0"}},
            {"cat":"Node","name":"conv_kernel_time","ts":2,"args":{"op_name":"Conv","provider":"CPUExecutionProvider"}}
        ]"#;
        let found = node_providers(profile).ok().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].node, "conv");
        assert_eq!(found[0].op_type, "Conv");
        assert_eq!(found[0].provider, "CPUExecutionProvider");
        assert!(node_providers("{").is_err());
    }
}
