//! Reasons why a group gained nothing, from the figures; "not explained" where they show none.

use latency_model::LatencyStep;
use report::{GroupSaving, LayerChange, OtherOperators};

/// A group gained something when it saved more than noise and more than this part of what its
/// removed channels took.
const LITTLE: f64 = 0.1;

/// Numbers of channels that kernels work in: vectors of NEON, AVX2 and AVX-512.
const BLOCKS: [usize; 3] = [4, 8, 16];

/// The surroundings of a group.
pub(super) struct Circumstances<'a> {
    /// The layers that the group touches.
    pub layers: Vec<&'a LayerChange>,
    /// The operators other than layers.
    pub others: &'a [OtherOperators],
    /// The step of widths that take equally long by kernels measured alone, and the widest width
    /// below it that takes less.
    pub step: Option<(LatencyStep, Option<usize>)>,
}

/// Changes of kernels and providers of a group's layers.
pub(super) fn changes(layers: &[&LayerChange]) -> Vec<String> {
    let mut changes = Vec::new();
    for layer in layers {
        let (before, after) = (&layer.before, &layer.after);
        if before.kernel.is_empty() || after.kernel.is_empty() {
            continue;
        }
        if before.provider != after.provider {
            changes.push(format!(
                "{}: moved from {} to {}",
                layer.name, before.provider, after.provider
            ));
        }
        if before.kernel != after.kernel {
            changes.push(format!(
                "{}: {} became {} ({})",
                layer.name,
                before.kernel,
                after.kernel,
                times(layer)
            ));
        }
    }
    changes
}

/// Why `group` gained nothing; `None` where it gained something.
pub(super) fn reason(group: &GroupSaving, about: &Circumstances<'_>) -> Option<String> {
    if group.kept == group.channels {
        return Some("no channel removed".into());
    }
    let removed = 1.0 - group.kept as f64 / group.channels.max(1) as f64;
    let hoped = group.before_ns * removed;
    if group.saved_ns > group.uncertainty_ns && group.saved_ns > LITTLE * hoped {
        return None;
    }
    let found = moved(about)
        .or_else(|| lost_blocks(about))
        .or_else(|| same_step(group, about))
        .or_else(|| others_grew(about))
        .or_else(|| within_noise(group));
    Some(found.unwrap_or_else(|| not_explained(about)))
}

fn moved(about: &Circumstances<'_>) -> Option<String> {
    let layer = about.layers.iter().find(|layer| {
        let (before, after) = (&layer.before.provider, &layer.after.provider);
        !before.is_empty() && !after.is_empty() && before != after
    })?;
    Some(format!(
        "{} moved from {} to another provider, {} ({})",
        layer.name,
        layer.before.provider,
        layer.after.provider,
        times(layer)
    ))
}

fn lost_blocks(about: &Circumstances<'_>) -> Option<String> {
    let blocked = |kernel: &str| kernel.ends_with("in blocks");
    let mut lost = about.layers.iter().filter(|layer| {
        let (before, after) = (&layer.before, &layer.after);
        blocked(&before.kernel) && !after.kernel.is_empty() && !blocked(&after.kernel)
    });
    let layer = lost.next()?;
    let more = match lost.count() {
        0 => String::new(),
        count => format!("; {count} more of its layers too"),
    };
    let after = &layer.after;
    let odd = [("makes", after.outputs), ("reads", after.inputs)]
        .into_iter()
        .find_map(|(does, count)| {
            let block = BLOCKS.into_iter().find(|block| count % block != 0)?;
            Some(format!(
                " because it {does} {count} channels, no multiple of {block}"
            ))
        });
    Some(format!(
        "{} lost the blocked layout{} ({}){more}",
        layer.name,
        odd.unwrap_or_default(),
        times(layer)
    ))
}

fn same_step(group: &GroupSaving, about: &Circumstances<'_>) -> Option<String> {
    let (step, below) = about.step.as_ref()?;
    if step.last < group.channels {
        return None;
    }
    let next = match below {
        Some(edge) => format!("; the next step edge is at {edge}"),
        None => "; no narrower width is faster".into(),
    };
    Some(format!(
        "still on the same step: by kernels measured alone, {} to {} channels take the same{next}",
        step.first, step.last
    ))
}

fn others_grew(about: &Circumstances<'_>) -> Option<String> {
    let grown = about.others.iter().filter(|kind| kind.saved_ns() < 0.0);
    let most = grown.min_by(|a, b| a.saved_ns().total_cmp(&b.saved_ns()))?;
    // Other operators belong to no group. They may be the reason only where a layer of the group
    // runs in another kernel.
    let changed = |layer: &&&LayerChange| layer.before.kernel != layer.after.kernel;
    about.layers.iter().find(changed)?;
    Some(format!(
        "another operator grew: {} from {:.1} to {:.1} us ({} to {} of them)",
        most.kind,
        most.before_ns / 1e3,
        most.after_ns / 1e3,
        most.count_before,
        most.count_after
    ))
}

fn within_noise(group: &GroupSaving) -> Option<String> {
    (group.saved_ns.abs() <= group.uncertainty_ns).then(|| {
        format!(
            "within noise: {:.1} us, known to \u{b1}{:.1}",
            group.saved_ns / 1e3,
            group.uncertainty_ns / 1e3
        )
    })
}

/// Where to look further: the layer that grew most.
fn not_explained(about: &Circumstances<'_>) -> String {
    let grown = |layer: &LayerChange| Some(layer.after.ns? - layer.before.ns?);
    let all = about.layers.iter().filter_map(|l| Some((l, grown(l)?)));
    match all.max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((layer, grown)) if grown > 0.0 => {
            format!("not explained; {} grew ({})", layer.name, times(layer))
        }
        _ => "not explained".into(),
    }
}

fn times(layer: &LayerChange) -> String {
    match (layer.before.ns, layer.after.ns) {
        (Some(before), Some(after)) => {
            format!("{:.1} to {:.1} us", before / 1e3, after / 1e3)
        }
        _ => "time not reported".into(),
    }
}
