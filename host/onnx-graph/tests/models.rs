//! Reading, writing and passes over real models.

use std::path::PathBuf;

use onnx_graph::{
    Dim, Graph, NoExternalData, cost, fold_batch_norm, insert_batch_norm, read, write,
};

fn folder() -> PathBuf {
    match std::env::var_os("GRAPHPRUNE_SHARED") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    }
}

/// All models of the folder; none, with a note, if there is no folder.
fn models() -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder().join("models")) else {
        println!("no models to read: GRAPHPRUNE_SHARED names no folder that holds 'models'");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    paths
        .into_iter()
        .map(|p| {
            (
                p.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&p).unwrap(),
            )
        })
        .collect()
}

/// Writes the model for external checkers, if a folder for it is set.
fn keep(name: &str, graph: &Graph) {
    if let Some(folder) = std::env::var_os("GRAPHPRUNE_KEEP_MODELS") {
        std::fs::write(PathBuf::from(folder).join(name), write(graph).unwrap()).unwrap();
    }
}

#[test]
fn a_written_network_reads_back_as_the_same() {
    for (name, bytes) in models() {
        let graph = read(&bytes, &NoExternalData).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = write(&graph).unwrap();
        let back = read(&again, &NoExternalData).unwrap();
        graph
            .same_network(&back)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            again,
            write(&back).unwrap(),
            "{name}: writing is not settled"
        );
        assert!(
            graph.values().iter().all(|v| v.shape.is_some()),
            "{name}: a shape is unknown"
        );
        keep(&name, &graph);
    }
}

#[test]
fn resnet20_costs_what_the_paper_says() {
    for (name, bytes) in models() {
        let costs = cost::costs(&read(&bytes, &NoExternalData).unwrap());
        assert!(costs.uncounted.is_empty(), "{name}");
        if name == "cifar10_resnet20_bn.onnx" {
            // He et al. 2015, table 6: 0.27 M parameters, shortcuts without weights.
            assert_eq!((costs.macs, costs.parameters), (40_551_040, 269_722));
        }
    }
}

#[test]
fn folding_leaves_no_batch_norm_behind_a_convolution_and_keeps_every_shape() {
    for (name, bytes) in models() {
        let graph = read(&bytes, &NoExternalData).unwrap();
        let folded = fold_batch_norm(&graph).unwrap();
        folded.check().unwrap();
        assert!(
            folded
                .nodes()
                .iter()
                .all(|n| n.op.name() != "BatchNormalization"),
            "{name}"
        );
        let mut again = folded.clone();
        again.infer_shapes().unwrap();
        assert_eq!(again, folded, "{name}");
        keep(&format!("folded_{name}"), &folded);
    }
}

#[test]
fn inserted_norms_follow_each_convolution_and_fold_away_again() {
    for (name, bytes) in models() {
        let graph = read(&bytes, &NoExternalData).unwrap();
        let bare = fold_batch_norm(&graph).unwrap();
        let (normed, inserted) = insert_batch_norm(&bare).unwrap();
        normed.check().unwrap();
        let convs = bare
            .nodes()
            .iter()
            .filter(|n| n.op.name() == "Conv")
            .count();
        assert_eq!(inserted.len(), convs, "{name}");
        assert_eq!(
            fold_batch_norm(&normed).unwrap().nodes().len(),
            bare.nodes().len(),
            "{name}"
        );
        keep(&format!("normed_{name}"), &normed);
    }
}

#[test]
fn a_fixed_batch_opens() {
    for (name, bytes) in models() {
        let graph = read(&bytes, &NoExternalData).unwrap();
        let fixed = graph.batch().and_then(Dim::known);
        let (open, batch) = graph
            .clone()
            .with_open_batch("N")
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(batch, fixed, "{name}");
        if fixed.is_none() {
            assert_eq!(open, graph, "{name}");
        }
        keep(&format!("open_{name}"), &open);
    }
}
