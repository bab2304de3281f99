//! `graphprune inspect`: what can be pruned in a network, what cannot and why, and what it costs.

use std::process::ExitCode;

use pipeline::Inspection;

use crate::options::NetworkOptions;
use crate::output::say;

/// Show a network's prunable groups, its pinned channels with the reasons, and its costs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune inspect model.onnx\n  graphprune inspect resnet50 --input 3x224x224 --classes 1000\n  graphprune inspect open.onnx --input-size 1x3x224x224\n  graphprune inspect --zoo"
)]
pub struct Args {
    /// ONNX file, or a network of the zoo by name
    #[arg(required_unless_present = "zoo")]
    model: Option<String>,
    /// Also list every layer with its costs
    #[arg(long)]
    layers: bool,
    #[command(flatten)]
    network: NetworkOptions,
    /// List the networks of the zoo
    #[arg(long, conflicts_with_all = ["model", "layers", "json"])]
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
    let inspection =
        pipeline::inspect_model(&spec, network.classes, network.image()?, network.groups())?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print(&inspection, args.layers);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(inspection: &Inspection, layers: bool) {
    for (kind, ports) in [
        ("input ", &inspection.inputs),
        ("output", &inspection.outputs),
    ] {
        for (name, shape) in ports {
            say!("{kind} {name} [{}]", shape.join(", "));
        }
    }
    say!(
        "opset {}, {} nodes, {:.3} M MACs, {:.3} M parameters, {:.2} MB of activations per image",
        inspection.opset,
        inspection.nodes,
        inspection.macs as f64 / 1e6,
        inspection.parameters as f64 / 1e6,
        inspection.activation_bytes as f64 / 1e6
    );
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
    for pinned in &inspection.pinned {
        say!(
            "  {:5}  {}: {}",
            pinned.channels,
            pinned.node,
            pinned.reason
        );
    }
    if layers {
        say!("\nlayers (MACs, parameters):");
        for layer in &inspection.layers {
            say!(
                "  {:>12} {:>10}  {} ({})",
                layer.macs,
                layer.parameters,
                layer.name,
                layer.operator
            );
        }
    }
}
