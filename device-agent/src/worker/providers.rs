//! Execution providers: which the library offers, which were asked for, and which ran what.

use std::ffi::{CStr, c_char, c_int};

use agent_protocol::{Provider, RuntimeOptions, bounds, plain, wire};
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::builder::SessionBuilder;

use super::Trouble;

/// The provider that takes what no other does, by the runtime's own name.
pub const CPU: &str = "CPUExecutionProvider";

/// A provider's name in the runtime.
pub fn name_in_runtime(name: &str) -> &'static str {
    Provider::name_in_runtime(name).unwrap_or(CPU)
}

/// The providers that the loaded library offers, by its own names.
pub fn offered() -> Result<Vec<String>, Trouble> {
    let api = ort::api();
    let mut names: *mut *mut c_char = std::ptr::null_mut();
    let mut count: c_int = 0;
    // SAFETY: both out-parameters are valid; the status is consumed by the conversion.
    unsafe { ort::Error::result_from_status((api.GetAvailableProviders)(&mut names, &mut count)) }
        .map_err(Trouble::internal)?;
    if names.is_null() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for i in 0..usize::try_from(count).unwrap_or(0).min(bounds::MAX_LIST) {
        // SAFETY: the library returned `count` terminated strings, which live until they are released below.
        let name = unsafe { CStr::from_ptr(*names.add(i)) };
        all.push(name.to_string_lossy().into_owned());
    }
    // SAFETY: these are the array and the count that the library returned, released once.
    unsafe { ort::Error::result_from_status((api.ReleaseAvailableProviders)(names, count)) }
        .map_err(Trouble::internal)?;
    Ok(all)
}

/// The providers up to the CPU's in the order of preference: what stands behind it would never get a node.
pub fn up_to_cpu(options: &RuntimeOptions) -> Vec<&Provider> {
    let cpu = options.providers.iter().position(is_cpu);
    let end = cpu.map_or(options.providers.len(), |at| at + 1);
    options.providers[..end].iter().collect()
}

/// Whether it is the CPU provider.
pub fn is_cpu(provider: &Provider) -> bool {
    provider.name == "cpu"
}

/// Whether a provider was asked for whose library opens a socket within the machine when it starts and fails without. CUDA's does:
/// with `socket`, `bind` or `listen` denied, `cudaSetDevice` ends with error 304 (driver 580).
pub fn open_local_sockets(options: &RuntimeOptions) -> bool {
    let opens = |provider: &Provider| matches!(provider.name.as_str(), "cuda" | "tensorrt");
    options.providers.iter().any(opens)
}

/// Whether nodes may run on the CPU provider: it was asked for, or nothing was.
pub fn cpu_is_wanted(options: &RuntimeOptions) -> bool {
    options.providers.is_empty() || options.providers.iter().any(is_cpu)
}

/// Sets up the providers in the builder. Returns those that were had, in order; unless `strict`, what is missing is told in
/// `notes`.
pub fn register<'a>(
    builder: &mut SessionBuilder,
    asked: &[&'a Provider],
    offered: &[String],
    strict: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a Provider>, Trouble> {
    let mut had = Vec::new();
    for provider in asked {
        let wanted = dispatch(provider)?;
        let full = name_in_runtime(&provider.name);
        let problem = if !offered.iter().any(|name| name == full) {
            format!(
                "this library of ONNX Runtime does not offer the provider `{}` ({full}); it offers {}",
                provider.name,
                offered.join(", ")
            )
        } else if let Err(error) = wanted.register(builder) {
            format!(
                "the provider `{}` could not be set up: {error}",
                provider.name
            )
        } else {
            had.push(*provider);
            continue;
        };
        if strict {
            return Err(Trouble::provider(problem));
        }
        notes.push(format!("{problem}; it was left out"));
    }
    Ok(had)
}

/// The provider with its options as `ort` sets it up. Where the runtime takes pairs of words they are passed on as they are.
fn dispatch(provider: &Provider) -> Result<ExecutionProviderDispatch, Trouble> {
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
        // It is always there; to set it up is only to choose how it takes its memory.
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
            return Err(Trouble::provider(format!(
                "the agent does not know the provider `{other}`"
            )));
        }
    })
}

/// Options of a provider that knows only switches: `1` or `0`, off where not given.
fn switches<const N: usize>(provider: &Provider, names: [&str; N]) -> Result<[bool; N], Trouble> {
    for (key, value) in &provider.options {
        if !names.contains(&key.as_str()) || !matches!(value.as_str(), "0" | "1") {
            return Err(Trouble::provider(format!(
                "the provider `{}` takes no option {key} = {value}: it takes {}, each 0 or 1",
                provider.name,
                names.join(", ")
            )));
        }
    }
    Ok(names.map(|name| provider.options.get(name).is_some_and(|value| value == "1")))
}

/// What is to be said about nodes that ran on the CPU provider though it was not asked for, if there are any.
pub fn fallback(nodes: &[wire::NodeProvider], options: &RuntimeOptions) -> Option<String> {
    /// As many are named.
    const NAMED: usize = 5;
    /// Bytes of a name that are shown.
    const SHOWN: usize = 200;
    if cpu_is_wanted(options) {
        return None;
    }
    let fell: Vec<&wire::NodeProvider> = nodes.iter().filter(|node| node.provider == CPU).collect();
    let named: Vec<String> = fell
        .iter()
        .take(NAMED)
        .map(|node| {
            let name = plain::cut(node.node.clone(), SHOWN);
            format!("`{name}` ({})", node.op_type)
        })
        .collect();
    (!fell.is_empty()).then(|| {
        format!(
            "{} of its {} nodes run on the CPU provider, which was not asked for: {}{}",
            fell.len(),
            nodes.len(),
            named.join(", "),
            if fell.len() > NAMED { ", ..." } else { "" }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[&str]) -> RuntimeOptions {
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
    fn every_provider_of_the_protocol_is_known() {
        for name in Provider::NAMES {
            let one = asked(&[name]);
            assert!(dispatch(&one.providers[0]).is_ok(), "{name}");
            assert_eq!(name_in_runtime(name) == CPU, name == "cpu", "{name}");
        }
    }

    #[test]
    fn a_switch_that_is_unknown_or_neither_on_nor_off_is_refused_by_name() {
        let check = |key: &str, value: &str, right: bool| {
            let mut one = asked(&["nnapi"]);
            one.providers[0].options = [(key.to_owned(), value.to_owned())].into();
            match dispatch(&one.providers[0]) {
                Ok(_) => assert!(right, "{key}"),
                Err(trouble) => {
                    assert!(!right && trouble.detail.contains(key), "{}", trouble.detail);
                }
            }
        };
        check("use_fp16", "1", true);
        check("use_fp16", "yes", false);
        check("use_fp17", "1", false);
    }

    #[test]
    fn a_fallback_is_told_unless_the_cpu_was_asked_for() {
        let node = |name: &str, provider: &str| wire::NodeProvider {
            node: name.into(),
            op_type: "Softmax".into(),
            provider: provider.into(),
            time_ns: None,
        };
        let nodes = [node("a", "XnnpackExecutionProvider"), node("b", CPU)];
        let told = fallback(&nodes, &asked(&["xnnpack"])).unwrap();
        assert!(
            told.contains("1 of its 2 nodes") && told.contains("`b` (Softmax)"),
            "{told}"
        );
        assert_eq!(fallback(&nodes, &asked(&["xnnpack", "cpu"])), None);
        assert_eq!(fallback(&nodes, &asked(&[])), None);
        assert_eq!(fallback(&nodes[..1], &asked(&["xnnpack"])), None);
        let all = asked(&["xnnpack", "cpu", "cuda"]);
        let names: Vec<&str> = up_to_cpu(&all).iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["xnnpack", "cpu"]);
    }
}
