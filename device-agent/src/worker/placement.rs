//! Where each node of a model runs and for how long, by the runtime's own profile.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use agent_protocol::{bounds, wire};
use serde::Deserialize;

use super::Trouble;
use super::model::{Bench, Runner, nanoseconds};
use super::providers;

/// Runs of the profile that count; the first, which finds caches cold and memory unmapped, does not.
const RUNS: usize = 20;
/// Runs that count at least, however slow the model is.
const FEWEST: usize = 3;
/// When this time has passed, no more runs than [`FEWEST`] are waited for, ns.
const ENOUGH_NS: u64 = 2_000_000_000;

/// Which provider runs each node, by one run.
pub fn find(bench: &Bench, model: &wire::WorkerModel) -> Result<Vec<wire::NodeProvider>, Trouble> {
    let mut runner = Runner::load(bench, model, Some("placement"))?;
    runner.run()?;
    let nodes = nodes(&text_of(runner)?, 1)?;
    checked(bench, nodes)
}

/// Which provider runs each node, and the mean time of its kernel over several runs.
pub fn profile(
    bench: &Bench,
    model: &wire::WorkerModel,
) -> Result<Vec<wire::NodeProvider>, Trouble> {
    let mut runner = Runner::load(bench, model, Some("profile"))?;
    let begun = Instant::now();
    let mut runs = 0;
    while runs < 1 + FEWEST || (runs < 1 + RUNS && nanoseconds(begun) < ENOUGH_NS) {
        runner.run()?;
        runs += 1;
    }
    let nodes = nodes(&text_of(runner)?, runs)?;
    checked(bench, nodes)
}

/// The nodes, unless they break the options' strictness.
fn checked(
    bench: &Bench,
    nodes: Vec<wire::NodeProvider>,
) -> Result<Vec<wire::NodeProvider>, Trouble> {
    match providers::fallback(&nodes, &bench.options) {
        Some(fallback) if bench.options.strict => Err(Trouble::provider(fallback)),
        _ => Ok(nodes),
    }
}

/// Ends the profile and takes its text.
fn text_of(mut runner: Runner) -> Result<String, Trouble> {
    let file = runner.end_profile()?;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Trouble::internal(format!("{file}: {error}")))?;
    // It has served; the folder goes with the agent should this fail.
    let _ = std::fs::remove_file(&file);
    Ok(text)
}

/// An event of ONNX Runtime's profile, as far as it matters here.
#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    /// Microseconds.
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
}

/// The nodes of a profile over `runs` runs, each told once in the order of running. A node that ran more than once in a run,
/// in a loop, is told with the time of all of them. Of a single run no times are told: it was the first.
fn nodes(profile: &str, runs: usize) -> Result<Vec<wire::NodeProvider>, Trouble> {
    let all: Vec<Step> = serde_json::from_str(profile).map_err(|error| {
        Trouble::internal(format!("the runtime's profile cannot be read: {error}"))
    })?;
    let text = |step: &Step, field: &str| {
        let value = step.args.get(field).and_then(|value| value.as_str());
        value.unwrap_or_default().to_owned()
    };
    let mut found: Vec<(wire::NodeProvider, Vec<f64>)> = Vec::new();
    let mut place: HashMap<&str, usize> = HashMap::new();
    for step in all.iter().filter(|step| step.cat == "Node") {
        let Some(node) = step.name.strip_suffix("_kernel_time") else {
            continue;
        };
        let at = *place.entry(node).or_insert(found.len());
        if at == found.len() {
            let node = wire::NodeProvider {
                node: node.to_owned(),
                op_type: text(step, "op_name"),
                provider: text(step, "provider"),
                time_ns: None,
            };
            found.push((node, Vec::new()));
        }
        found[at].1.push(step.dur);
    }
    Ok(found
        .into_iter()
        .map(|(mut node, micros)| {
            node.time_ns = mean_ns(&micros, runs);
            node
        })
        .take(bounds::MAX_NODES)
        .collect())
}

/// The mean time per run of a node whose kernel took `micros` in `runs` runs, the first left out; ns.
fn mean_ns(micros: &[f64], runs: usize) -> Option<u64> {
    let counted = runs.checked_sub(1).filter(|&counted| counted > 0)?;
    // As many as fall to one run. Where branches differ between runs it is not exact, and neither is a mean then.
    let first = micros.len().div_ceil(runs);
    let sum: f64 = micros.get(first..)?.iter().sum();
    Some((sum * 1000.0 / counted as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"[
        {"cat":"Session","name":"model_loading_uri","ts":1,"dur":9,"args":{}},
        {"cat":"Node","name":"conv_fence_before","ts":1,"dur":1,"args":{"op_name":"Conv"}},
        {"cat":"Node","name":"conv_kernel_time","ts":1,"dur":90,"args":{"op_name":"Conv","provider":"CPUExecutionProvider","node_index":"0"}},
        {"cat":"Node","name":"conv_kernel_time","ts":2,"dur":10,"args":{"op_name":"Conv","provider":"CPUExecutionProvider"}},
        {"cat":"Node","name":"conv_kernel_time","ts":3,"dur":11,"args":{"op_name":"Conv","provider":"CPUExecutionProvider"}}
    ]"#;

    #[test]
    fn each_node_of_a_profile_is_told_once_with_its_provider_and_its_mean_time() {
        let found = nodes(PROFILE, 3).ok().unwrap();
        let want = wire::NodeProvider {
            node: "conv".into(),
            op_type: "Conv".into(),
            provider: "CPUExecutionProvider".into(),
            time_ns: Some(10_500),
        };
        assert_eq!(found, [want]);
        assert_eq!(nodes(PROFILE, 1).ok().unwrap()[0].time_ns, None);
        assert!(nodes("{", 1).is_err());
        assert!(nodes("[]", 2).ok().unwrap().is_empty());
    }

    #[test]
    fn the_mean_leaves_out_the_first_run_and_adds_up_a_loop() {
        let check = |micros: &[f64], runs, want| assert_eq!(mean_ns(micros, runs), want);
        check(&[100.0, 1.0, 3.0], 3, Some(2000));
        // Twice in each of three runs.
        check(&[50.0, 50.0, 1.0, 2.0, 3.0, 4.0], 3, Some(5000));
        check(&[5.0], 1, None);
        check(&[], 3, Some(0));
        check(&[7.0], 3, Some(0));
    }
}
