fn main() {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).unwrap();
        let g = match onnx_graph::read(&bytes, &onnx_graph::NoExternalData) {
            Ok(g) => g,
            Err(e) => {
                println!("{path}: {e}");
                continue;
            }
        };
        let a = channels::analyse(&g).unwrap();
        let r = (0..a.groups().len())
            .filter(|&i| a.removal(channels::GroupId(i)).is_some())
            .count();
        let p: Vec<_> = a
            .pinned()
            .iter()
            .filter(|p| !p.reason.contains("graph "))
            .take(3)
            .map(|p| (p.channels, &p.node, &p.reason))
            .collect();
        println!(
            "{} groups {} units {} removable {r} pinned {:?}",
            path,
            a.groups().len(),
            a.groups().iter().map(|g| g.channels).sum::<usize>(),
            p
        );
        let mut ops: Vec<_> = g
            .nodes()
            .iter()
            .filter(|n| matches!(n.op, onnx_graph::ops::Op::Opaque(_)))
            .map(|n| n.op.name().to_owned())
            .collect();
        ops.sort();
        ops.dedup();
        println!("   opaque {ops:?}");
    }
}
