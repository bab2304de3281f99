//! `graphprune inspect`: prunable groups, pinned channels with the reasons, and costs.

use std::process::ExitCode;

use pipeline::{BoardInspection, DeviceSpec, FixedInfo, Inspection};

use crate::options::NetworkOptions;
use crate::output::{say, say_part};

/// Most places that pin channels to print, the widest ones.
const MOST_PINNED: usize = 20;

/// Show the prunable groups of a network, its pinned channels with the reasons, and its costs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune inspect model.onnx\n  \
    graphprune inspect resnet50 --input 3x224x224 --classes 1000\n  \
    graphprune inspect model.onnx --input-size 1x3x32x32\n  \
    graphprune inspect model.onnx --profile stm32f4-discovery\n  \
    graphprune inspect --zoo")]
pub struct Args {
    /// ONNX file, or the name of a zoo network
    #[arg(required_unless_present = "zoo")]
    model: Option<String>,
    /// Also list the costs of every layer
    #[arg(long)]
    layers: bool,
    /// List all places that pin channels, and the parameters that cannot go
    #[arg(long)]
    pinned: bool,
    #[command(flatten)]
    network: NetworkOptions,
    /// Show RAM and flash on this bare-metal board, without connecting to it
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// The same for a board's profile: a name or a file
    #[arg(long, value_name = "PROFILE", conflicts_with = "device")]
    profile: Option<String>,
    /// List the zoo networks
    #[arg(long, conflicts_with_all = ["model", "layers", "pinned", "json"])]
    zoo: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the inspection.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.zoo {
        for (name, description) in pipeline::zoo_networks() {
            say!("{name:14} {description}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let network = &args.network;
    let spec = network.sizes.of(args.model.as_deref().unwrap_or_default());
    let board = pipeline::board_by_name(args.device.as_ref(), args.profile.as_deref())?;
    let groups = (network.groups(), board.as_ref());
    let inspection = pipeline::inspect_model(&spec, network.classes, network.image()?, groups)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print(&inspection, args);
    }
    Ok(ExitCode::SUCCESS)
}

/// What it needs of a board, in words.
fn on_board(board: &BoardInspection) -> String {
    let verdict = match board.needs.unknown(&board.limits) {
        _ if !board.fits() => ": it does NOT fit".to_owned(),
        Some(unknown) => format!("; {unknown}"),
        None => String::new(),
    };
    format!(
        "on {}, in 8-bit integers: {}; the most RAM is for '{}'{verdict}",
        board.chip,
        board.needs.words(&board.limits),
        board.needs.peak
    )
}

/// The costs in words, with their gaps.
fn figures(inspection: &Inspection) -> String {
    let missing = &inspection.missing;
    let at_least = |gap: bool| if gap { "at least " } else { "" };
    let mut parts = vec![
        format!("opset {}", inspection.opset),
        format!("{} nodes", inspection.nodes),
    ];
    if let Some(macs) = inspection.macs {
        let least = at_least(!missing.macs.is_empty());
        parts.push(format!("{least}{:.3} M MACs", macs as f64 / 1e6));
    }
    let least = at_least(!missing.parameters.is_empty());
    let parameters = inspection.parameters as f64 / 1e6;
    parts.push(format!("{least}{parameters:.3} M parameters"));
    if let Some(bytes) = inspection.activation_bytes {
        let least = at_least(!missing.activations.is_empty());
        parts.push(format!(
            "{least}{:.2} MB of activations per image",
            bytes as f64 / 1e6
        ));
    }
    let mut text = parts.join(", ");
    text.push('\n');
    text.push_str(&narrowed(inspection));
    let notes = match missing.open() {
        Some(open) => [
            Some(format!("MACs and activations are not known: {open}")),
            None,
        ],
        None => [
            missing.macs_text().map(|why| format!("MACs: {why}")),
            missing
                .activations_text()
                .map(|why| format!("activations: {why}")),
        ],
    };
    let parameters = missing.parameters_text();
    let parameters = parameters.map(|why| format!("parameters: {why}"));
    for note in notes.into_iter().chain([parameters]).flatten() {
        text.push('\n');
        text.push_str(&note);
    }
    text.push('\n');
    text
}

/// What is left with half of the channels, and the parameters that stay in any case.
fn narrowed(inspection: &Inspection) -> String {
    let share = |left: u64, of: u64| 100.0 * left as f64 / of.max(1) as f64;
    let part = |what: &str, left: u64, of: u64| {
        let millions = left as f64 / 1e6;
        format!("{millions:.3} M {what} ({:.0} %)", share(left, of))
    };
    let half = &inspection.half;
    let macs = half.macs.zip(inspection.macs);
    let macs = macs.map(|(left, of)| part("MACs", left, of));
    let parameters = part("parameters", half.parameters, inspection.parameters);
    let left: Vec<String> = macs.into_iter().chain([parameters]).collect();
    let fixed = inspection.fixed.iter().map(|f| f.parameters).sum();
    format!(
        "half of the channels of every group leave {}; {} cannot go",
        left.join(" and "),
        part("parameters", fixed, inspection.parameters)
    )
}

fn print(inspection: &Inspection, args: &Args) {
    for (kind, ports) in [
        ("input ", &inspection.inputs),
        ("output", &inspection.outputs),
    ] {
        for (name, shape) in ports {
            say!("{kind} {name} [{}]", shape.join(", "));
        }
    }
    for (name, kind) in &inspection.other_outputs {
        say!("output {name} ({kind})");
    }
    say_part!("{}", figures(inspection));
    for (key, value) in &inspection.provenance {
        say!("{:<16} {value}", key.replace('_', " "));
    }
    if let Some(board) = &inspection.board {
        say!("{}", on_board(board));
    }
    for warning in &inspection.warnings {
        say!("warning: {warning}");
    }
    say!("\n{} prunable groups:", inspection.groups.len());
    for group in &inspection.groups {
        let more = group.producers.len() - 1;
        let others = if more > 0 {
            format!("  with {}", group.producers[1..].join(", "))
        } else {
            String::new()
        };
        let branch = if group.removable {
            "  (a branch that can go as a whole)"
        } else {
            ""
        };
        say!("  {:5}  {}{others}{branch}", group.channels, group.name);
    }
    say!("\npinned channels:");
    let shown = match args.pinned {
        true => usize::MAX,
        false => MOST_PINNED,
    };
    for pinned in inspection.pinned.iter().take(shown) {
        say!(
            "  {:5}  {}: {}",
            pinned.channels,
            pinned.node,
            pinned.reason
        );
    }
    let (rest, channels) = more_pinned(inspection, shown);
    if rest > 0 {
        say!("  {channels:5}  at {rest} more places (--pinned lists them)");
    }
    if args.pinned {
        say!("\nparameters that cannot go:");
        for fixed in &inspection.fixed {
            let FixedInfo {
                node,
                operator,
                parameters,
            } = fixed;
            say!("  {parameters:>10}  {node} ({operator})");
        }
    }
    if args.layers {
        say!("\nlayers (MACs, parameters):");
        for layer in &inspection.layers {
            say!(
                "  {:>12} {:>10}  {} ({})",
                layer
                    .macs
                    .map_or_else(|| "not known".into(), |n| n.to_string()),
                layer.parameters,
                layer.name,
                layer.operator
            );
        }
    }
}

/// The places beyond the first `shown` that pin channels, and these channels.
fn more_pinned(inspection: &Inspection, shown: usize) -> (usize, usize) {
    let rest = inspection.pinned.iter().skip(shown);
    (rest.clone().count(), rest.map(|p| p.channels).sum())
}

#[cfg(test)]
mod tests {
    use pipeline::{FixedInfo, HalfInfo, Inspection, Missing, OpenInput};

    use super::figures;

    fn inspection(macs: Option<u64>, missing: Missing) -> Inspection {
        Inspection {
            opset: 17,
            provenance: Vec::new(),
            nodes: 9,
            inputs: Vec::new(),
            outputs: Vec::new(),
            other_outputs: Vec::new(),
            macs,
            parameters: 2500,
            activation_bytes: macs,
            warnings: Vec::new(),
            half: HalfInfo {
                macs: macs.map(|m| m / 4),
                parameters: 650,
            },
            fixed: vec![FixedInfo {
                node: "lstm".into(),
                operator: "LSTM".into(),
                parameters: 100,
            }],
            missing,
            groups: Vec::new(),
            pinned: Vec::new(),
            layers: Vec::new(),
            board: None,
        }
    }

    #[test]
    fn figures_say_what_they_leave_out() {
        let nodes = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let open = Missing {
            open_inputs: vec![OpenInput {
                name: "x".into(),
                shape: Some(nodes(&["N", "3", "H", "W"])),
            }],
            macs: nodes(&["conv (Conv)"]),
            ..Missing::default()
        };
        let behind = Missing {
            macs: nodes(&["a (Conv)", "b (Conv)", "c (Gemm)", "d (Gemm)"]),
            activations: nodes(&["odd (Odd)"]),
            parameters: nodes(&["if (If)"]),
            origins: nodes(&["odd (Odd)"]),
            ..Missing::default()
        };
        let cases = [
            (
                Some(1_300_000),
                Missing::default(),
                "opset 17, 9 nodes, 1.300 M MACs, 0.003 M parameters, 1.30 MB of activations per image\n\
                 half of the channels of every group leave 0.325 M MACs (25 %) and 0.001 M parameters (26 %); 0.000 M \
                 parameters (4 %) cannot go\n",
            ),
            (
                None,
                open,
                "opset 17, 9 nodes, 0.003 M parameters\nhalf of the channels of every group leave 0.001 M parameters (26 %); \
                 0.000 M parameters (4 %) cannot go\nMACs and activations are not known: the model leaves sizes of its \
                 input 'x' [N, 3, H, W] open; give them: --input-size x=1x3xHEIGHTxWIDTH\n",
            ),
            (
                Some(1_300_000),
                behind,
                "opset 17, 9 nodes, at least 1.300 M MACs, at least 0.003 M parameters, at least 1.30 MB of activations per \
                 image\nhalf of the channels of every group leave 0.325 M MACs (25 %) and 0.001 M parameters (26 %); 0.000 M \
                 parameters (4 %) cannot go\nMACs: 4 layers are not counted: a (Conv), b (Conv), c (Gemm) and 1 more; the sizes behind odd (Odd) are \
                 not known; export the model with fixed shapes, or with another operator there\nactivations: the outputs of these \
                 nodes are not counted: odd (Odd)\nparameters: what is inside of if (If) is not counted\n",
            ),
        ];
        for (macs, missing, want) in cases {
            assert_eq!(figures(&inspection(macs, missing)), want);
        }
    }
}
