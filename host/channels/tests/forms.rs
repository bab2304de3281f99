//! Forms of networks in which channels reach a layer through a broadcast, a list of sizes that is
//! computed, a product over tokens, or an axis that is split off. The whole-pipeline tests check in
//! ONNX Runtime what pruned networks of these forms compute.

use channels::{PrunePlan, analyse, apply, cut, mask};
use onnx_graph::ops::*;
use onnx_graph::{Attribute, AttributeValue, DType, Dim, Graph, Tensor, ValueId};

/// A network under construction.
struct Net {
    graph: Graph,
}

impl Net {
    /// An image of 3 channels and open sizes `H` and `W`, or of the given `side`.
    fn new(side: Option<usize>) -> (Self, ValueId) {
        let mut graph = Graph::new("test", 17);
        let open = |name: &str| side.map_or(Dim::Symbol(name.into()), Dim::Known);
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(3), open("H"), open("W")];
        let x = graph.add_input("x", DType::F32, shape);
        (Self { graph }, x)
    }

    fn push(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.push(name, op.into(), inputs).unwrap()
    }

    /// A node of an operator without a typed form, some of whose inputs are absent.
    fn opaque(&mut self, name: &str, inputs: &[Option<ValueId>]) -> ValueId {
        let op = Opaque {
            op_type: name.into(),
            ..Opaque::default()
        };
        let outputs = self
            .graph
            .push_node(name, op.into(), inputs.to_vec(), &[Some(name)]);
        outputs.unwrap()[0].unwrap()
    }

    fn weight(&mut self, dims: &[usize]) -> ValueId {
        let count = dims.iter().product::<usize>();
        let data = (0..count).map(|i| i as f32 + 1.0).collect();
        self.graph
            .add_constant("w", Tensor::f32(dims, data).unwrap())
    }

    fn ints(&mut self, list: &[i64]) -> ValueId {
        self.graph.add_constant("i", Tensor::i64s(list.to_vec()))
    }

    fn conv(&mut self, name: &str, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        self.conv_of(name, x, (inputs, outputs), 2)
    }

    /// A convolution of single positions over `spatial` axes.
    fn conv_of(
        &mut self,
        name: &str,
        x: ValueId,
        (inputs, outputs): (usize, usize),
        spatial: usize,
    ) -> ValueId {
        let mut dims = vec![outputs, inputs];
        dims.resize(2 + spatial, 1);
        let w = self.weight(&dims);
        let op = Conv {
            kernel: vec![1; spatial],
            strides: vec![1; spatial],
            pads: vec![0; 2 * spatial],
            dilations: vec![1; spatial],
            group: 1,
        };
        self.push(name, op, &[x, w])
    }

    fn pick(&mut self, list: ValueId, indices: &[i64]) -> ValueId {
        let op = Gather {
            axis: 0,
            indices: indices.to_vec(),
            dims: vec![indices.len()],
        };
        self.push("pick", op, &[list])
    }

    fn join(&mut self, parts: &[ValueId]) -> ValueId {
        self.push("join", Concat { axis: 0 }, parts)
    }
}

/// The groups must be exactly the expected ones (name and units), and the reason must be among
/// those of the pinned channels. Keeping half of each group must give a graph whose shapes infer,
/// and a well-formed masked original.
fn check(mut net: Net, output: ValueId, expected: &[(&str, usize)], pinned: Option<&str>) {
    net.graph.add_output(output);
    net.graph.infer_shapes().unwrap();
    let graph = net.graph;
    let analysis = analyse(&graph).unwrap();
    let groups = analysis.groups().iter();
    let found: Vec<_> = groups.map(|g| (g.name.as_str(), g.channels)).collect();
    assert_eq!(found, expected, "pinned: {:?}", analysis.pinned());
    if let Some(reason) = pinned {
        let told = analysis.pinned().iter().any(|p| p.reason.contains(reason));
        assert!(told, "pinned: {:?}", analysis.pinned());
    }
    let half = |g: &channels::Group| (0..g.channels).step_by(2).collect();
    let plan = PrunePlan {
        keep: analysis.groups().iter().map(half).collect(),
    };
    let pruned = apply(&graph, &cut(&graph, &analysis, &plan).unwrap()).unwrap();
    pruned.check().unwrap();
    let shape = |graph: &Graph| graph.value(graph.outputs()[0]).shape.clone();
    assert_eq!(shape(&pruned), shape(&graph));
    mask(&graph, &analysis, &plan).unwrap();
}

#[test]
fn a_map_of_one_channel_is_kept_and_relates_nothing_to_the_channels_it_meets() {
    let ops: [(fn() -> Op, bool); 4] = [
        (|| Mul.into(), false),
        (|| Mul.into(), true),
        (|| Add.into(), false),
        (|| Div.into(), true),
    ];
    for (op, map_first) in ops {
        let (mut net, x) = Net::new(Some(8));
        let a = net.conv("a", x, 3, 8);
        let map = net.conv("map", a, 8, 1);
        let operands = if map_first { [map, a] } else { [a, map] };
        let met = net.push("met", op(), &operands);
        let out = net.conv("out", met, 8, 2);
        check(net, out, &[("a", 8)], Some("one channel spread over many"));
    }
}

#[test]
fn a_number_of_channels_pins_them_only_where_it_is_read() {
    const READ: Option<&str> = Some("read at run time");
    const OUTPUT: Option<&str> = Some("a number of channels is a graph output");
    const RESIZED: Option<&str> = Some("another size at run time");
    type Case = (
        fn(&mut Net, ValueId, ValueId) -> ValueId,
        Option<&'static str>,
    );
    // Each reads the list of sizes of `a` and passes `a` on.
    const PADDED: Option<&str> = Some("a padding of the channels");
    let cases: [Case; 11] = [
        (
            |net, a, list| {
                let batch = net.pick(list, &[0]);
                let (own, sides) = (net.ints(&[8]), net.ints(&[9, 9]));
                let sizes = net.join(&[batch, own, sides]);
                net.opaque("Resize", &[Some(a), None, None, Some(sizes)])
            },
            None,
        ),
        (
            |net, a, list| {
                let (zeros, sides) = (net.ints(&[0; 6]), net.pick(list, &[2, 3]));
                let pads = net.join(&[zeros, sides]);
                net.opaque("Pad", &[Some(a), Some(pads)])
            },
            None,
        ),
        (
            |net, a, list| {
                let (zero, side) = (net.ints(&[0]), net.pick(list, &[2]));
                let zeros = net.ints(&[0; 6]);
                let pads = net.join(&[zero, side, zeros]);
                net.opaque("Pad", &[Some(a), Some(pads)])
            },
            PADDED,
        ),
        (
            |net, a, list| {
                let others = net.pick(list, &[0, 2, -1]);
                net.opaque("Watch", &[Some(others)]);
                a
            },
            None,
        ),
        (
            |net, a, list| {
                let channels = net.pick(list, &[1]);
                net.opaque("Watch", &[Some(channels)]);
                a
            },
            READ,
        ),
        (
            |net, a, list| {
                net.graph.add_output(list);
                a
            },
            OUTPUT,
        ),
        (
            |net, a, list| {
                let slice = Slice {
                    starts: vec![2],
                    ends: vec![i64::MAX],
                    axes: vec![0],
                    steps: vec![1],
                };
                let sides = net.push("sides", slice, &[list]);
                let sum = net.push("sum", Add, &[sides, sides]);
                net.opaque("Watch", &[Some(sum)]);
                a
            },
            None,
        ),
        (
            |net, a, list| {
                let both = net.pick(list, &[0, 1]);
                let sides = net.ints(&[9, 9]);
                let sizes = net.join(&[both, sides]);
                net.opaque("Resize", &[Some(a), None, None, Some(sizes)])
            },
            None,
        ),
        (
            |net, a, list| {
                let batch = net.pick(list, &[0]);
                let others = net.ints(&[8, 9, 9]);
                let sizes = net.join(&[batch, others]);
                net.opaque("Resize", &[Some(a), None, None, Some(sizes)])
            },
            RESIZED,
        ),
        (
            |net, a, list| {
                let both = net.pick(list, &[0, 1]);
                let rows = net.ints(&[9]);
                let columns = net.pick(list, &[1]);
                let sizes = net.join(&[both, rows, columns]);
                net.opaque("Resize", &[Some(a), None, None, Some(sizes)])
            },
            READ,
        ),
        (
            |net, a, list| {
                let doubled = net.push("doubled", Add, &[list, list]);
                net.opaque("Watch", &[Some(doubled)]);
                a
            },
            READ,
        ),
    ];
    for (i, (read, pinned)) in cases.into_iter().enumerate() {
        println!("case {i}");
        let (mut net, x) = Net::new(None);
        let a = net.conv("a", x, 3, 8);
        let list = net.push(
            "list",
            Shape {
                start: 0,
                end: None,
            },
            &[a],
        );
        let read = read(&mut net, a, list);
        let b = net.conv("b", read, 8, 6);
        let out = net.conv("out", b, 6, 2);
        let expected = [("a", 8), ("b", 6)];
        check(net, out, &expected[usize::from(pinned.is_some())..], pinned);
    }
}

fn turn(perm: &[usize]) -> Transpose {
    Transpose {
        perm: perm.to_vec(),
    }
}

fn reshape(target: &[i64]) -> Reshape {
    Reshape {
        target: target.to_vec(),
        allow_zero: false,
    }
}

#[test]
fn a_product_over_tokens_passes_the_channels_on_their_axis() {
    // Tokens behind the channels, and channels behind the tokens.
    for perm in [[0, 1, 2], [0, 2, 1]] {
        let (mut net, x) = Net::new(Some(4));
        let a = net.conv("a", x, 3, 8);
        let tokens = net.push("tokens", reshape(&[0, 8, 16]), &[a]);
        let w = net.weight(&[16, 16]);
        let y = match perm {
            [0, 1, 2] => net.push("mix", MatMul, &[tokens, w]),
            _ => {
                let rows = net.push("rows", turn(&perm), &[tokens]);
                let mixed = net.push("mix", MatMul, &[w, rows]);
                net.push("back", turn(&perm), &[mixed])
            }
        };
        let sum = net.push("sum", Add, &[tokens, y]);
        let image = net.push("image", reshape(&[0, 8, 4, 4]), &[sum]);
        let out = net.conv("out", image, 8, 2);
        check(net, out, &[("a", 8)], None);
    }
}

#[test]
fn a_flattening_keeps_the_channels_apart_unless_it_merges_them_with_the_batch() {
    let cases: [(&[usize], i64, Option<&str>); 4] = [
        (&[0, 2, 3, 1], 3, None),
        (&[0, 2, 3, 1], -1, None),
        (&[0, 1, 2, 3], 1, None),
        (
            &[0, 1, 2, 3],
            2,
            Some("mixes the channels with an open size"),
        ),
    ];
    for (perm, axis, pinned) in cases {
        let (mut net, x) = Net::new(Some(4));
        let a = net.conv("a", x, 3, 8);
        let turned = net.push("turned", turn(perm), &[a]);
        let flat = net.push("flat", Flatten { axis }, &[turned]);
        let columns = net.graph.value(flat).shape.as_ref().unwrap()[1].known();
        let w = net.weight(&[columns.unwrap(), 2]);
        let out = net.push("out", Gemm::default(), &[flat, w]);
        let expected: &[_] = if pinned.is_some() { &[] } else { &[("a", 8)] };
        check(net, out, expected, pinned);
    }
}

#[test]
fn blocks_of_a_linear_layer_become_the_channels_of_the_layer_over_images_behind() {
    // Which axis the layer behind reads, and whether other operators stand between.
    for (perm, units) in [([0, 1, 2, 3], 8), ([0, 2, 1, 3], 4), ([0, 3, 2, 1], 2)] {
        let (mut net, x) = Net::new(Some(4));
        let pooled = net.push("pooled", GlobalAveragePool, &[x]);
        let flat = net.push("flat", Flatten { axis: 1 }, &[pooled]);
        let w = net.weight(&[3, 64]);
        let linear = net.push("linear", Gemm::default(), &[flat, w]);
        let linear = net.push("relu", Relu, &[linear]);
        let image = net.push("image", reshape(&[-1, 8, 4, 2]), &[linear]);
        let turned = net.push("turned", turn(&perm), &[image]);
        let active = net.push("tanh", Tanh, &[turned]);
        let out = net.conv("out", active, units, 2);
        check(net, out, &[("linear", units)], None);
    }
}

#[test]
fn an_operator_without_typed_attributes_passes_channels_by_its_own_rule() {
    let stay = |reason| (&[("b", 8)][..], Some(reason));
    let pass: (&[(&str, usize)], Option<&str>) = (&[("a", 6), ("b", 8)], None);
    let cases: [(&str, Option<&[i64]>, _); 8] = [
        ("Shrink", None, pass),
        ("Cast", None, pass),
        ("CumSum", Some(&[1]), pass),
        ("Trilu", None, pass),
        ("GlobalLpPool", None, pass),
        ("LpNormalization", None, pass),
        ("LRN", None, pass),
        (
            "Mystery",
            None,
            stay("operator Mystery has no channel rule"),
        ),
    ];
    for (name, list, (groups, reason)) in cases {
        let (mut net, x) = Net::new(Some(8));
        let a = net.conv("a", x, 3, 6);
        let list = list.map(|list| net.ints(list));
        let y = net.opaque(name, &[&[Some(a)], list.map(Some).as_slice()].concat());
        let b = net.conv("b", y, 6, 8);
        let c = net.conv("c", b, 8, 4);
        check(net, c, groups, reason);
    }
}

#[test]
fn channels_that_are_tiled_or_picked_by_number_stay_with_their_copies() {
    let (mut net, x) = Net::new(Some(8));
    let a = net.conv("a", x, 3, 6);
    let repeats = net.ints(&[1, 2, 1, 1]);
    let twice = net.opaque("Tile", &[Some(a), Some(repeats)]);
    let indices = vec![3, 3, -1, 0];
    let pick = Gather {
        axis: 1,
        dims: vec![indices.len()],
        indices,
    };
    let picked = net.push("picked", pick, &[twice]);
    let b = net.conv("b", picked, 4, 5);
    net.graph.add_output(b);
    net.graph.infer_shapes().unwrap();
    let graph = net.graph;
    let analysis = analyse(&graph).unwrap();
    let widths: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    // What no pick reads forms a group beside each of the three picked channels' places.
    assert_eq!(widths.iter().sum::<usize>(), 6);
    let keep = analysis.groups().iter();
    let mut plan = PrunePlan {
        keep: keep.map(|g| (0..g.channels).collect()).collect(),
    };
    // Unit 0 of the group with the fewest channels goes, if another is left.
    let wide = (0..widths.len()).max_by_key(|&g| widths[g]).unwrap();
    plan.keep[wide].remove(0);
    let pruned = apply(&graph, &cut(&graph, &analysis, &plan).unwrap()).unwrap();
    let weights = |name: &str| {
        let node = pruned.nodes().iter().find(|n| n.name == name).unwrap();
        pruned.constant_input(node, 1).unwrap().dims().to_vec()
    };
    assert_eq!(weights("a")[0], 5);
    let Op::Gather(gather) = &pruned
        .nodes()
        .iter()
        .find(|n| n.name == "picked")
        .unwrap()
        .op
    else {
        panic!("the pick stays a Gather");
    };
    assert_eq!(gather.indices.len(), weights("b")[1]);
    assert!(gather.indices.iter().all(|&i| (0..10).contains(&i)));
}

#[test]
fn a_root_mean_square_of_channels_is_that_of_the_kept_ones() {
    let (mut net, x) = Net::new(Some(8));
    let a = net.conv("a", x, 3, 6);
    let last = Transpose {
        perm: vec![0, 2, 3, 1],
    };
    let rows = net.push("rows", last, &[a]);
    let scale = net.weight(&[6]);
    let normed = net.opaque("RMSNormalization", &[Some(rows), Some(scale)]);
    let first = Transpose {
        perm: vec![0, 3, 1, 2],
    };
    let image = net.push("image", first, &[normed]);
    let b = net.conv("b", image, 6, 4);
    check(net, b, &[("a", 6)], None);
}

#[test]
fn values_that_a_subgraph_reads_keep_their_channels_and_the_others_do_not() {
    let (mut net, x) = Net::new(Some(8));
    let a = net.conv("a", x, 3, 6);
    let b = net.conv("b", a, 6, 8);
    let condition = net.weight(&[1]);
    let op = Opaque {
        op_type: "If".into(),
        captured: vec!["b".into()],
        ..Opaque::default()
    };
    let inputs = vec![Some(condition), Some(b)];
    let chosen = net
        .graph
        .push_node("chosen", op.into(), inputs, &[Some("chosen")]);
    let chosen = chosen.unwrap()[0].unwrap();
    let reason = "an operator with subgraphs that read it";
    check(net, chosen, &[("a", 6)], Some(reason));
}

#[test]
fn the_vectors_of_a_sequence_are_its_channels_where_the_first_layer_reads_them() {
    let sequence = || {
        let mut graph = Graph::new("test", 17);
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(20), Dim::Known(3)];
        let x = graph.add_input("x", DType::F32, shape);
        (Net { graph }, x)
    };
    let (mut net, x) = sequence();
    let (a, b) = (net.weight(&[3, 6]), net.weight(&[6, 4]));
    let hidden = net.push("a", MatMul, &[x, a]);
    let output = net.push("b", MatMul, &[hidden, b]);
    check(net, output, &[("a", 6)], None);

    let (mut net, x) = sequence();
    let op = || Conv {
        kernel: vec![1],
        strides: vec![1],
        pads: vec![0; 2],
        dilations: vec![1],
        group: 1,
    };
    let turned = Transpose {
        perm: vec![0, 2, 1],
    };
    let x = net.push("turned", turned, &[x]);
    let (a, b) = (net.weight(&[6, 3, 1]), net.weight(&[4, 6, 1]));
    let hidden = net.push("a", op(), &[x, a]);
    let output = net.push("b", op(), &[hidden, b]);
    check(net, output, &[("a", 6)], None);
}

#[test]
fn heads_are_the_channels_where_a_product_mixes_those_of_each() {
    let (mut net, x) = Net::new(Some(4));
    let reshape = |target: &[i64]| Reshape {
        target: target.to_vec(),
        allow_zero: false,
    };
    let [q, k, v] = ["q", "k", "v"].map(|name| {
        let made = net.conv(name, x, 3, 6);
        net.push("heads", reshape(&[-1, 2, 3, 16]), &[made])
    });
    let turned = Transpose {
        perm: vec![0, 1, 3, 2],
    };
    let k = net.push("turned", turned, &[k]);
    let product = net.push("product", MatMul, &[q, k]);
    let mixed = net.push("mixed", Softmax { axis: -1 }, &[product]);
    let values = net.push("values", MatMul, &[mixed, v]);
    let image = net.push("image", reshape(&[-1, 6, 4, 4]), &[values]);
    let output = net.conv("out", image, 6, 4);
    net.graph.add_output(output);
    let analysis = analyse(&net.graph).unwrap();
    let units: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    assert_eq!(units, [2], "pinned: {:?}", analysis.pinned());
}

#[test]
fn the_first_layer_decides_which_axis_of_an_image_has_its_channels() {
    // The sizes of the image, the order that makes its channels come first, and whether the
    // network adds the batch itself.
    let cases: [(DType, &[usize], &[usize], bool); 5] = [
        (DType::F32, &[2, 4, 4, 3], &[0, 3, 1, 2], false),
        (DType::U8, &[2, 4, 4, 9], &[0, 3, 1, 2], false),
        (DType::F32, &[2, 4, 8, 8, 3], &[0, 4, 1, 2, 3], false),
        (DType::F32, &[3, 8, 8], &[0, 1, 2], true),
        (DType::U8, &[8, 8, 3], &[2, 0, 1], true),
    ];
    for (dtype, sizes, order, alone) in cases {
        let mut graph = Graph::new("test", 17);
        let shape = sizes.iter().map(|&size| Dim::Known(size)).collect();
        let mut x = graph.add_input("x", dtype, shape);
        let mut net = Net { graph };
        if dtype == DType::U8 {
            let cast = Opaque {
                op_type: "Cast".into(),
                attributes: vec![Attribute {
                    name: "to".into(),
                    value: AttributeValue::Int(1),
                }],
                ..Opaque::default()
            };
            x = net.push("cast", cast, &[x]);
        }
        let perm = order.to_vec();
        x = net.push("moved", Transpose { perm }, &[x]);
        let channels = sizes[order[usize::from(!alone)]];
        if alone {
            x = net.push("batch", Unsqueeze { axes: vec![0] }, &[x]);
        }
        let spatial = sizes.len() - if alone { 1 } else { 2 };
        let a = net.conv_of("a", x, (channels, 8), spatial);
        let out = net.conv_of("out", a, (8, 2), spatial);
        check(net, out, &[("a", 8)], None);
    }
}
