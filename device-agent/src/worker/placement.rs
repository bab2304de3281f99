//! Where each node of a model runs and for how long, by the runtime's own profile.

use std::collections::HashMap;
use std::time::Instant;

use agent_protocol::{bounds, plain, wire};

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
    let bytes =
        std::fs::read(&file).map_err(|error| Trouble::internal(format!("{file}: {error}")))?;
    // It has served; the folder goes with the agent should this fail.
    let _ = std::fs::remove_file(&file);
    // The runtime writes names as the model has them, in whatever encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A node's kernel in one run, as ONNX Runtime's profile tells of it.
struct Step<'a> {
    node: &'a str,
    /// Microseconds.
    micros: f64,
    /// What else is told, as it is written.
    args: &'a str,
}

impl Step<'_> {
    /// A text among what else is told.
    fn text(&self, field: &str) -> String {
        let begin = format!("\"{field}\" : \"");
        let after = self.args.split_once(&begin).map(|(_, after)| after);
        let value = after.and_then(|after| {
            let ends = ["\",\"", "\"}"].map(|end| after.find(end).unwrap_or(after.len()));
            after.get(..ends.into_iter().min()?)
        });
        let value = plain::on_one_line(value.unwrap_or_default()).into_owned();
        plain::cut(value, bounds::MAX_NAME_BYTES)
    }
}

/// What an event of a node begins with.
const EVENT: &str = "{\"cat\" : \"Node\",";
/// What comes before an event's name, and after it.
const NAME: &str = "\"name\" :\"";
const ARGS: &str = "\",\"args\" : {";
/// How the name of a kernel's event ends.
const KERNEL: &str = "_kernel_time";

/// The events of nodes' kernels. The runtime writes JSON but for names, which it does not escape: a name may hold quotes,
/// backslashes and line feeds. So an event reaches from its beginning to that of the next, and its name to the last place where
/// one can end; what comes after it has no names.
fn steps(profile: &str) -> Result<Vec<Step<'_>>, Trouble> {
    let wrong = |event: &str| {
        let shown = plain::cut(event.to_owned(), 200);
        Trouble::internal(format!("the runtime's profile cannot be read at `{shown}`"))
    };
    if !profile.trim_start().starts_with('[') {
        return Err(wrong(profile));
    }
    let mut steps = Vec::new();
    let mut rest = profile;
    while let Some(at) = rest.find(EVENT) {
        let event = &rest[at..];
        let end = EVENT.len()
            + event[EVENT.len()..]
                .find("\n{\"cat\" : \"")
                .unwrap_or(event.len() - EVENT.len());
        rest = &event[end..];
        let event = &event[..end];
        let parts = || {
            let (head, tail) = event.split_once(NAME)?;
            let (name, args) = tail.rsplit_once(ARGS)?;
            Some((head, name, args))
        };
        let (head, name, args) = parts().ok_or_else(|| wrong(event))?;
        let Some(node) = name.strip_suffix(KERNEL) else {
            continue;
        };
        let micros = head
            .split_once("\"dur\" :")
            .and_then(|(_, after)| after.split(',').next()?.trim().parse().ok())
            .ok_or_else(|| wrong(event))?;
        steps.push(Step { node, micros, args });
    }
    Ok(steps)
}

/// The nodes of a profile over `runs` runs, each told once in the order of running. A node that ran more than once in a run,
/// in a loop, is told with the time of all of them. Of a single run no times are told: it was the first.
fn nodes(profile: &str, runs: usize) -> Result<Vec<wire::NodeProvider>, Trouble> {
    let mut found: Vec<(wire::NodeProvider, Vec<f64>)> = Vec::new();
    let mut place: HashMap<&str, usize> = HashMap::new();
    for step in steps(profile)? {
        let at = *place.entry(step.node).or_insert(found.len());
        if at == found.len() {
            let node = wire::NodeProvider {
                node: plain::cut(step.node.to_owned(), bounds::MAX_TEXT_BYTES),
                op_type: step.text("op_name"),
                provider: step.text("provider"),
                time_ns: None,
            };
            found.push((node, Vec::new()));
        }
        found[at].1.push(step.micros);
    }
    let bytes: usize = found.iter().map(|(node, _)| node.node.len()).sum();
    if found.len() > bounds::MAX_NODES || bytes > bounds::MAX_NODES_BYTES {
        return Err(Trouble::model(format!(
            "it has {} nodes with {bytes} bytes of names; where nodes run can be told of at most {} with {} bytes",
            found.len(),
            bounds::MAX_NODES,
            bounds::MAX_NODES_BYTES
        )));
    }
    Ok(found
        .into_iter()
        .map(|(mut node, micros)| {
            node.time_ns = mean_ns(&micros, runs);
            node
        })
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

    /// A profile as ONNX Runtime writes it, of kernels with these names and times.
    fn profile(kernels: &[(&str, u32)]) -> String {
        let event = |(name, micros): &(&str, u32)| {
            format!(
                "{{\"cat\" : \"Node\",\"pid\" :7,\"tid\" :7,\"dur\" :{micros},\"ts\" :5,\"ph\" : \"X\",\"name\" :\"{name}_kernel_time\",\
                 \"args\" : {{\"node_index\" : \"0\",\"provider\" : \"CPUExecutionProvider\",\"op_name\" : \"Conv\",\
                 \"input_type_shape\" : [{{\"float\":[1,3,16,16]}}]}}}}"
            )
        };
        let session = "{\"cat\" : \"Session\",\"pid\" :7,\"tid\" :7,\"dur\" :9,\"ts\" :1,\"ph\" : \"X\",\"name\" :\"model_run\",\"args\" : {}}";
        let all: Vec<String> = std::iter::once(session.to_owned())
            .chain(kernels.iter().map(event))
            .collect();
        format!("[\n{}\n]\n", all.join(",\n"))
    }

    #[test]
    fn each_node_of_a_profile_is_told_once_with_its_provider_and_its_mean_time() {
        for name in [
            "conv",
            "",
            "say \"hi\"",
            r"back\slash\",
            "line\nfeed",
            "\",\"args\" : {\"provider\" : \"none\"}",
            "{\"cat\" : \"Node\",",
            "\u{1b}[31m\u{0}",
            "畳み込み",
        ] {
            let text = profile(&[(name, 90), (name, 10), ("other", 1), (name, 11)]);
            let found = nodes(&text, 3).ok().unwrap();
            let want = wire::NodeProvider {
                node: name.into(),
                op_type: "Conv".into(),
                provider: "CPUExecutionProvider".into(),
                time_ns: Some(10_500),
            };
            assert_eq!(found[0], want);
            assert_eq!((found.len(), &found[1].node[..]), (2, "other"));
            assert_eq!(nodes(&text, 1).ok().unwrap()[0].time_ns, None);
        }
        assert!(nodes("{", 1).is_err());
        assert!(nodes("[\n{\"cat\" : \"Node\",", 1).is_err());
        assert!(nodes("[]", 2).ok().unwrap().is_empty());
    }

    #[test]
    fn names_that_take_more_than_can_be_told_are_refused() {
        let name = |i: usize| format!("{i}{}", "x".repeat(bounds::MAX_TEXT_BYTES - 8));
        let names: Vec<String> = (0..1100).map(name).collect();
        let kernels: Vec<(&str, u32)> = names.iter().map(|name| (&name[..], 1)).collect();
        assert!(nodes(&profile(&kernels[..1000]), 1).is_ok());
        assert!(nodes(&profile(&kernels), 1).is_err());
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
