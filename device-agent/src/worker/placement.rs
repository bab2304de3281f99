//! Each node's provider and time, from the runtime's own profile.

use std::collections::HashMap;
use std::time::Instant;

use agent_protocol::{bounds, plain, wire};

use super::error::WorkerError;
use super::model::{Bench, Runner, nanoseconds};
use super::providers;

/// Counted runs of the profile. One more comes first, with cold caches and unmapped memory.
const RUNS: usize = 20;
/// Minimum counted runs, however slow the model.
const FEWEST: usize = 3;
/// Time after which [`FEWEST`] runs are enough, ns.
const ENOUGH_NS: u64 = 2_000_000_000;

/// Finds each node's provider in one run.
pub fn find(
    bench: &Bench,
    model: &wire::WorkerModel,
) -> Result<Vec<wire::NodeProvider>, WorkerError> {
    let mut runner = Runner::load(bench, model, Some("placement"))?;
    runner.run()?;
    let nodes = nodes(&text_of(runner)?, 1)?;
    checked(bench, nodes)
}

/// Finds each node's provider, and the mean time of its kernel over several runs.
pub fn profile(
    bench: &Bench,
    model: &wire::WorkerModel,
) -> Result<Vec<wire::NodeProvider>, WorkerError> {
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

/// Refuses a fallback under strict options.
fn checked(
    bench: &Bench,
    nodes: Vec<wire::NodeProvider>,
) -> Result<Vec<wire::NodeProvider>, WorkerError> {
    match providers::fallback(&nodes, &bench.options) {
        Some(fallback) if bench.options.strict => Err(WorkerError::provider(fallback)),
        _ => Ok(nodes),
    }
}

/// Ends the profile and returns its text.
fn text_of(mut runner: Runner) -> Result<String, WorkerError> {
    let file = runner.end_profile()?;
    let bytes =
        std::fs::read(&file).map_err(|error| WorkerError::internal(format!("{file}: {error}")))?;
    // If this fails, the file is removed with the agent's folder.
    let _ = std::fs::remove_file(&file);
    // The runtime writes names as they are in the model, in any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The event of a node's kernel in a profile of ONNX Runtime.
struct KernelEvent<'a> {
    node: &'a str,
    /// Microseconds.
    micros: f64,
    /// The remaining fields, unparsed.
    args: &'a str,
}

impl KernelEvent<'_> {
    /// Returns a text field among the remaining ones.
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

/// The beginning of a node's event.
const EVENT: &str = "{\"cat\" : \"Node\",";
/// The delimiters of an event's name.
const NAME: &str = "\"name\" :\"";
const ARGS: &str = "\",\"args\" : {";
/// The end of the name of a kernel's event.
const KERNEL: &str = "_kernel_time";

/// Parses the kernels' events. The runtime writes JSON but does not escape names, which may
/// contain quotes, backslashes and line feeds. So an event extends to the beginning of the next
/// one, and its name to the last delimiter; no names follow it.
fn kernel_events(profile: &str) -> Result<Vec<KernelEvent<'_>>, WorkerError> {
    let unreadable = |event: &str| {
        let excerpt = plain::cut(event.to_owned(), 200);
        WorkerError::internal(format!(
            "the runtime's profile cannot be read at `{excerpt}`"
        ))
    };
    if !profile.trim_start().starts_with('[') {
        return Err(unreadable(profile));
    }
    let mut events = Vec::new();
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
        let (head, name, args) = parts().ok_or_else(|| unreadable(event))?;
        let Some(node) = name.strip_suffix(KERNEL) else {
            continue;
        };
        let micros = head
            .split_once("\"dur\" :")
            .and_then(|(_, after)| after.split(',').next()?.trim().parse().ok())
            .ok_or_else(|| unreadable(event))?;
        events.push(KernelEvent { node, micros, args });
    }
    Ok(events)
}

/// Returns the nodes of a profile over `runs` runs, each once, in the order of running. The time
/// of a node that ran several times in a run, in a loop, is their sum. A single run gives no
/// times: it is the first.
fn nodes(profile: &str, runs: usize) -> Result<Vec<wire::NodeProvider>, WorkerError> {
    let mut nodes: Vec<(wire::NodeProvider, Vec<f64>)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for event in kernel_events(profile)? {
        let at = *index.entry(event.node).or_insert(nodes.len());
        if at == nodes.len() {
            let node = wire::NodeProvider {
                node: plain::cut(event.node.to_owned(), bounds::MAX_TEXT_BYTES),
                op_type: event.text("op_name"),
                provider: event.text("provider"),
                time_ns: None,
            };
            nodes.push((node, Vec::new()));
        }
        nodes[at].1.push(event.micros);
    }
    let bytes: usize = nodes.iter().map(|(node, _)| node.node.len()).sum();
    if nodes.len() > bounds::MAX_NODES || bytes > bounds::MAX_NODES_BYTES {
        return Err(WorkerError::model(format!(
            "it has {} nodes with {bytes} bytes of names; the providers of at most {} with {} bytes can be reported",
            nodes.len(),
            bounds::MAX_NODES,
            bounds::MAX_NODES_BYTES
        )));
    }
    Ok(nodes
        .into_iter()
        .map(|(mut node, micros)| {
            node.time_ns = mean_ns(&micros, runs);
            node
        })
        .collect())
}

/// Returns the mean time per run of a node whose kernel took `micros` in `runs` runs, without
/// the first; ns.
fn mean_ns(micros: &[f64], runs: usize) -> Option<u64> {
    let counted = runs.checked_sub(1).filter(|&counted| counted > 0)?;
    // The average number per run. It is not exact where branches differ between runs, nor is a
    // mean.
    let first = micros.len().div_ceil(runs);
    let sum: f64 = micros.get(first..)?.iter().sum();
    Some((sum * 1000.0 / counted as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a profile as ONNX Runtime writes it, with kernels of these names and times.
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
    fn each_node_of_a_profile_is_listed_once_with_its_provider_and_its_mean_time() {
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
            let nodes_of = |runs| nodes(&text, runs).ok().unwrap();
            let listed = nodes_of(3);
            let expected = wire::NodeProvider {
                node: name.into(),
                op_type: "Conv".into(),
                provider: "CPUExecutionProvider".into(),
                time_ns: Some(10_500),
            };
            assert_eq!(listed[0], expected);
            assert_eq!((listed.len(), &listed[1].node[..]), (2, "other"));
            assert_eq!(nodes_of(1)[0].time_ns, None);
        }
        assert!(nodes("{", 1).is_err());
        assert!(nodes("[\n{\"cat\" : \"Node\",", 1).is_err());
        assert!(nodes("[]", 2).ok().unwrap().is_empty());
    }

    #[test]
    fn names_that_exceed_the_limit_are_refused() {
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
