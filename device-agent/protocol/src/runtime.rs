//! How ONNX Runtime runs a model, and how it did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::{count, list, name, names, text, within};
use crate::mirror::mirror_enum;
use crate::{BoardInfo, ProtocolError, bounds, wire};

/// An execution provider of ONNX Runtime and its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// One of [`Provider::NAMES`].
    pub name: String,
    /// The provider's own options, as ONNX Runtime names them.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Provider {
    /// Each provider's name here and in ONNX Runtime.
    const SUPPORTED: [(&str, &str); 9] = [
        ("cpu", "CPUExecutionProvider"),
        ("xnnpack", "XnnpackExecutionProvider"),
        ("nnapi", "NnapiExecutionProvider"),
        ("qnn", "QNNExecutionProvider"),
        ("coreml", "CoreMLExecutionProvider"),
        ("acl", "ACLExecutionProvider"),
        ("cuda", "CUDAExecutionProvider"),
        ("tensorrt", "TensorrtExecutionProvider"),
        ("openvino", "OpenVINOExecutionProvider"),
    ];

    /// The providers an agent can set up. Which of them exist depends on the library on the
    /// device.
    pub const NAMES: [&str; Self::SUPPORTED.len()] = {
        let mut names = [""; Self::SUPPORTED.len()];
        let mut n = 0;
        while n < names.len() {
            names[n] = Self::SUPPORTED[n].0;
            n += 1;
        }
        names
    };

    /// Returns ONNX Runtime's name of a provider; `None` for one that an agent cannot set up.
    pub fn name_in_runtime(name: &str) -> Option<&'static str> {
        let mut supported = Self::SUPPORTED.iter();
        supported.find_map(|(own, full)| (*own == name).then_some(*full))
    }

    fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Provider";
        if !Self::NAMES.contains(&self.name.as_str()) {
            return Err(ProtocolError::field(
                M,
                "name",
                self.name.escape_debug(),
                "cpu, xnnpack, nnapi, qnn, coreml, acl, cuda, tensorrt or openvino is needed",
            ));
        }
        let most = (0, bounds::MAX_LIST);
        within(M, "options", self.options.len(), most, "at most 64 options")?;
        for (key, value) in &self.options {
            name(M, "options", key.clone())?;
            text(M, "options", value.clone(), bounds::MAX_TEXT_BYTES)?;
            // Several providers load or write the files that an option names; a request must not
            // reach beyond the agent's own folder.
            let leaves_the_folder = |c: char| c.is_control() || matches!(c, '/' | '\\');
            if value.chars().any(leaves_the_folder) {
                return Err(ProtocolError::field(
                    M,
                    "options",
                    format!("{key} = {}", value.escape_debug()),
                    "a value without control characters and path separators is needed: libraries are named without a folder",
                ));
            }
        }
        Ok(())
    }
}

/// How much ONNX Runtime rewrites a model while it loads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// Not at all.
    None,
    /// Constant folding and removal of redundant nodes.
    Basic,
    /// Also fusions.
    Extended,
    /// Also the memory layout.
    #[default]
    All,
}

mirror_enum!(
    Optimisation {
        None,
        Basic,
        Extended,
        All
    },
    "1 to 4"
);

/// How ONNX Runtime runs a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeOptions {
    /// Execution providers in order of preference; the CPU provider takes the remaining nodes.
    /// Empty: the CPU provider alone.
    pub providers: Vec<Provider>,
    /// Whether a model is refused when a provider is missing, or when a node falls back to a CPU
    /// provider that was not requested.
    pub strict: bool,
    /// How much the model is rewritten while it is loaded.
    pub optimisation: Optimisation,
}

impl RuntimeOptions {
    /// Checks that every provider is supported and no list or text is too long; the error names
    /// the field.
    pub fn check(&self) -> Result<(), ProtocolError> {
        let providers = &self.providers;
        count("RuntimeOptions", "providers", providers, bounds::MAX_LIST)?;
        providers.iter().try_for_each(Provider::check)
    }
}

impl TryFrom<wire::RuntimeOptions> for RuntimeOptions {
    type Error = ProtocolError;

    fn try_from(m: wire::RuntimeOptions) -> Result<Self, ProtocolError> {
        let provider = |provider: wire::Provider| Provider {
            name: provider.name,
            options: provider.options.into_iter().collect(),
        };
        let options = Self {
            providers: m.providers.into_iter().map(provider).collect(),
            strict: m.strict,
            // An older host sends none.
            optimisation: Optimisation::from_wire("RuntimeOptions", "optimisation", m.optimisation)
                .unwrap_or_default(),
        };
        options.check()?;
        Ok(options)
    }
}

impl From<RuntimeOptions> for wire::RuntimeOptions {
    fn from(options: RuntimeOptions) -> Self {
        let provider = |provider: Provider| wire::Provider {
            name: provider.name,
            options: provider.options.into_iter().collect(),
        };
        Self {
            providers: options.providers.into_iter().map(provider).collect(),
            strict: options.strict,
            optimisation: options.optimisation.to_wire(),
        }
    }
}

/// Where a node ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProvider {
    /// The node's name after the runtime's own optimisation.
    pub node: String,
    /// Its operator.
    pub op_type: String,
    /// The execution provider, by the runtime's name.
    pub provider: String,
    /// Mean time of one run, ns; `None` where it was not measured.
    pub time_ns: Option<u64>,
}

impl TryFrom<wire::NodeProvider> for NodeProvider {
    type Error = ProtocolError;

    fn try_from(m: wire::NodeProvider) -> Result<Self, ProtocolError> {
        const M: &str = "NodeProvider";
        Ok(Self {
            node: text(M, "node", m.node, bounds::MAX_TEXT_BYTES)?,
            op_type: name(M, "op_type", m.op_type)?,
            provider: name(M, "provider", m.provider)?,
            time_ns: m.time_ns,
        })
    }
}

impl From<NodeProvider> for wire::NodeProvider {
    fn from(n: NodeProvider) -> Self {
        Self {
            node: n.node,
            op_type: n.op_type,
            provider: n.provider,
            time_ns: n.time_ns,
        }
    }
}

/// The runtime that ran a model, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// ONNX Runtime's version.
    pub version: String,
    /// The first requested execution provider that was available and, where `node_providers` is
    /// not empty, ran a node.
    pub provider: String,
    /// Intra-op threads.
    pub threads: u32,
    /// Whether idle threads spun.
    pub spinning: bool,
    /// Cores the worker was bound to; empty: all.
    pub cores: Vec<u32>,
    /// The worker's niceness.
    pub nice: i32,
    /// Each node's provider; empty unless the full evidence or another provider than the CPU was
    /// requested.
    pub node_providers: Vec<NodeProvider>,
    /// The options that were requested.
    #[serde(default)]
    pub options: RuntimeOptions,
    /// Layers of confinement in effect on the worker.
    #[serde(default)]
    pub confinement: Vec<String>,
    /// The board that ran it; `None` for ONNX Runtime.
    #[serde(default)]
    pub board: Option<BoardInfo>,
}

impl TryFrom<wire::RuntimeInfo> for RuntimeInfo {
    type Error = ProtocolError;

    fn try_from(m: wire::RuntimeInfo) -> Result<Self, ProtocolError> {
        const M: &str = "RuntimeInfo";
        count(M, "cores", &m.cores, bounds::MAX_CORES)?;
        Ok(Self {
            version: name(M, "version", m.version)?,
            provider: name(M, "provider", m.provider)?,
            threads: m.threads,
            spinning: m.spinning,
            cores: m.cores,
            nice: m.nice,
            node_providers: list(M, "node_providers", m.node_providers, bounds::MAX_NODES)?,
            options: m.options.unwrap_or_default().try_into()?,
            confinement: names(M, "confinement", m.confinement)?,
            board: m.board.map(BoardInfo::try_from).transpose()?,
        })
    }
}

impl From<RuntimeInfo> for wire::RuntimeInfo {
    fn from(r: RuntimeInfo) -> Self {
        Self {
            version: r.version,
            provider: r.provider,
            threads: r.threads,
            spinning: r.spinning,
            cores: r.cores,
            nice: r.nice,
            node_providers: r.node_providers.into_iter().map(Into::into).collect(),
            options: Some(r.options.into()),
            confinement: r.confinement,
            board: r.board.map(Into::into),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};

    pub(crate) fn options() -> RuntimeOptions {
        RuntimeOptions {
            providers: vec![Provider {
                name: "xnnpack".into(),
                options: [("intra_op_num_threads".to_owned(), "2".to_owned())].into(),
            }],
            strict: true,
            optimisation: Optimisation::Extended,
        }
    }

    #[test]
    fn options_survive_the_wire() {
        assert_survives::<wire::RuntimeOptions, _>(&options());
        let unspecified = wire::RuntimeOptions::default();
        let back = RuntimeOptions::try_from(unspecified).unwrap();
        assert_eq!(back.optimisation, Optimisation::All);
    }

    #[test]
    fn an_unsupported_provider_and_a_path_are_refused() {
        let check = |spoil: fn(&mut wire::Provider), needle: &str| {
            let options = wire::RuntimeOptions::from(options());
            let spoil = |m: &mut wire::RuntimeOptions| spoil(&mut m.providers[0]);
            assert_refused::<_, RuntimeOptions>(&options, spoil, needle);
        };
        check(|p| p.name = "abacus".into(), "name is abacus");
        for path in ["../x", "a\\b", "a\nb"] {
            let mut options = options();
            options.providers[0].options = [("file".to_owned(), path.to_owned())].into();
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains("separators"), "{error}");
        }
    }
}
