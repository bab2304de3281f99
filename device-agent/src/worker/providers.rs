//! Execution providers: the library's, the requested ones, and those that ran nodes.

use std::ffi::{CStr, c_char, c_int};

use agent_protocol::{Provider, RuntimeOptions, bounds, plain, wire};
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::builder::SessionBuilder;

use super::confine::Sockets;
use super::error::WorkerError;

/// The runtime's name of the provider that runs the nodes no other provider accepts.
pub const CPU: &str = "CPUExecutionProvider";

/// Returns the runtime's name of a provider.
pub fn name_in_runtime(name: &str) -> &'static str {
    Provider::name_in_runtime(name).unwrap_or(CPU)
}

/// Returns the providers that the loaded library offers, by its own names.
pub fn offered() -> Result<Vec<String>, WorkerError> {
    let api = ort::api();
    let mut names: *mut *mut c_char = std::ptr::null_mut();
    let mut count: c_int = 0;
    // SAFETY: both out-parameters are valid; the status is consumed by the conversion.
    unsafe { ort::Error::result_from_status((api.GetAvailableProviders)(&mut names, &mut count)) }
        .map_err(WorkerError::internal)?;
    if names.is_null() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for i in 0..usize::try_from(count).unwrap_or(0).min(bounds::MAX_LIST) {
        // SAFETY: the library returned `count` terminated strings, valid until they are released
        // below.
        let name = unsafe { CStr::from_ptr(*names.add(i)) };
        all.push(name.to_string_lossy().into_owned());
    }
    // SAFETY: these are the array and the count that the library returned, released once.
    unsafe { ort::Error::result_from_status((api.ReleaseAvailableProviders)(names, count)) }
        .map_err(WorkerError::internal)?;
    Ok(all)
}

/// Returns the providers up to the CPU's in the order of preference: later ones would never get
/// a node.
pub fn up_to_cpu(options: &RuntimeOptions) -> Vec<&Provider> {
    let cpu = options.providers.iter().position(is_cpu);
    let end = cpu.map_or(options.providers.len(), |at| at + 1);
    options.providers[..end].iter().collect()
}

/// Whether it is the CPU provider.
pub fn is_cpu(provider: &Provider) -> bool {
    provider.name == "cpu"
}

/// Returns the sockets that the library of a requested provider needs to start. CUDA's needs local
/// ones: with `socket`, `bind` or `listen` denied, `cudaSetDevice` fails with error 304 (driver
/// 580).
pub fn sockets(options: &RuntimeOptions) -> Sockets {
    let opens = |provider: &Provider| matches!(provider.name.as_str(), "cuda" | "tensorrt");
    if options.providers.iter().any(opens) {
        Sockets::Local
    } else {
        Sockets::None
    }
}

/// Whether nodes may run on the CPU provider: it was requested, or no provider was.
pub fn cpu_is_requested(options: &RuntimeOptions) -> bool {
    options.providers.is_empty() || options.providers.iter().any(is_cpu)
}

/// Sets up the providers in the builder. Returns the available ones, in order. A missing one is
/// refused if `strict`, and otherwise added to `notes`.
pub fn register<'a>(
    builder: &mut SessionBuilder,
    requested: &[&'a Provider],
    offered: &[String],
    strict: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a Provider>, WorkerError> {
    let mut available = Vec::new();
    for provider in requested {
        let dispatch = dispatch(provider)?;
        let full = name_in_runtime(&provider.name);
        let problem = if !offered.iter().any(|name| name == full) {
            format!(
                "this library of ONNX Runtime does not offer the provider `{}` ({full}); it offers {}",
                provider.name,
                offered.join(", ")
            )
        } else if let Err(error) = dispatch.register(builder) {
            format!(
                "the provider `{}` could not be set up: {error}",
                provider.name
            )
        } else {
            available.push(*provider);
            continue;
        };
        if strict {
            return Err(WorkerError::provider(problem));
        }
        notes.push(format!("{problem}; it was left out"));
    }
    Ok(available)
}

/// Returns the provider with its options as `ort` sets it up. Key-value options are passed on
/// unchanged.
fn dispatch(provider: &Provider) -> Result<ExecutionProviderDispatch, WorkerError> {
    macro_rules! with_words {
        ($provider:expr) => {
            provider
                .options
                .iter()
                .fold($provider, |all, (key, value)| {
                    all.with_arbitrary_config(key, value)
                })
                .build()
        };
    }
    Ok(match provider.name.as_str() {
        "xnnpack" => with_words!(ep::XNNPACK::default()),
        "qnn" => with_words!(ep::QNN::default()),
        "coreml" => with_words!(ep::CoreML::default()),
        "cuda" => with_words!(ep::CUDA::default()),
        "tensorrt" => with_words!(ep::TensorRT::default()),
        "openvino" => with_words!(ep::OpenVINO::default()),
        "nnapi" => {
            let [fp16, nchw, no_cpu, only_cpu] = switches(
                provider,
                ["use_fp16", "use_nchw", "disable_cpu", "cpu_only"],
            )?;
            ep::NNAPI::default()
                .with_fp16(fp16)
                .with_nchw(nchw)
                .with_disable_cpu(no_cpu)
                .with_cpu_only(only_cpu)
                .build()
        }
        // It is always available; setting it up only chooses its allocator.
        "cpu" => {
            let [arena] = switches(provider, ["use_arena"])?;
            let arena = arena || provider.options.is_empty();
            ep::CPU::default().with_arena_allocator(arena).build()
        }
        "acl" => {
            let [fast] = switches(provider, ["enable_fast_math"])?;
            ep::ACL::default().with_fast_math(fast).build()
        }
        other => {
            return Err(WorkerError::provider(format!(
                "the agent does not support the provider `{other}`"
            )));
        }
    })
}

/// Returns the options of a provider that has only switches, `1` or `0`, off by default.
fn switches<const N: usize>(
    provider: &Provider,
    names: [&str; N],
) -> Result<[bool; N], WorkerError> {
    for (key, value) in &provider.options {
        if !names.contains(&key.as_str()) || !matches!(value.as_str(), "0" | "1") {
            return Err(WorkerError::provider(format!(
                "the provider `{}` takes no option {key} = {value}: it takes {}, each 0 or 1",
                provider.name,
                names.join(", ")
            )));
        }
    }
    Ok(names.map(|name| provider.options.get(name).is_some_and(|value| value == "1")))
}

/// Returns a note on nodes that ran on a CPU provider that was not requested, if there are any.
pub fn fallback(nodes: &[wire::NodeProvider], options: &RuntimeOptions) -> Option<String> {
    /// Nodes named in the note.
    const NAMED: usize = 5;
    /// Bytes of a name in the note.
    const NAME_BYTES: usize = 200;
    if cpu_is_requested(options) {
        return None;
    }
    let on_cpu: Vec<&wire::NodeProvider> =
        nodes.iter().filter(|node| node.provider == CPU).collect();
    let named: Vec<String> = on_cpu
        .iter()
        .take(NAMED)
        .map(|node| {
            let name = plain::cut(node.node.clone(), NAME_BYTES);
            format!("`{name}` ({})", node.op_type)
        })
        .collect();
    (!on_cpu.is_empty()).then(|| {
        format!(
            "{} of its {} nodes run on the CPU provider, which was not requested: {}{}",
            on_cpu.len(),
            nodes.len(),
            named.join(", "),
            if on_cpu.len() > NAMED { ", ..." } else { "" }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(names: &[&str]) -> RuntimeOptions {
        let providers = names.iter().map(|&name| Provider {
            name: name.into(),
            options: Default::default(),
        });
        RuntimeOptions {
            providers: providers.collect(),
            ..RuntimeOptions::default()
        }
    }

    #[test]
    fn every_provider_of_the_protocol_is_supported() {
        for name in Provider::NAMES {
            let one = request(&[name]);
            assert!(dispatch(&one.providers[0]).is_ok(), "{name}");
            assert_eq!(name_in_runtime(name) == CPU, name == "cpu", "{name}");
        }
    }

    #[test]
    fn an_unknown_switch_or_value_is_refused_by_name() {
        let check = |key: &str, value: &str, accepted: bool| {
            let mut one = request(&["nnapi"]);
            one.providers[0].options = [(key.to_owned(), value.to_owned())].into();
            match dispatch(&one.providers[0]) {
                Ok(_) => assert!(accepted, "{key}"),
                Err(error) => {
                    assert!(!accepted && error.detail.contains(key), "{}", error.detail);
                }
            }
        };
        check("use_fp16", "1", true);
        check("use_fp16", "yes", false);
        check("use_fp17", "1", false);
    }

    #[test]
    fn a_fallback_is_noted_unless_the_cpu_was_requested() {
        let node = |name: &str, provider: &str| wire::NodeProvider {
            node: name.into(),
            op_type: "Softmax".into(),
            provider: provider.into(),
            time_ns: None,
        };
        let nodes = [node("a", "XnnpackExecutionProvider"), node("b", CPU)];
        let note = fallback(&nodes, &request(&["xnnpack"])).unwrap();
        assert!(
            note.contains("1 of its 2 nodes") && note.contains("`b` (Softmax)"),
            "{note}"
        );
        assert_eq!(fallback(&nodes, &request(&["xnnpack", "cpu"])), None);
        assert_eq!(fallback(&nodes, &request(&[])), None);
        assert_eq!(fallback(&nodes[..1], &request(&["xnnpack"])), None);
        let all = request(&["xnnpack", "cpu", "cuda"]);
        let names: Vec<&str> = up_to_cpu(&all).iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["xnnpack", "cpu"]);
    }
}
