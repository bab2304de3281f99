//! Every operator against its formula in double precision, on seeded random inputs.

use int8_engine::{
    Add, AveragePool, Build, Clamp, Conv, Depthwise, Element, MaxPool, Op, Place, Plan, Requant,
    Table, Tensor, Window, run,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes that begin on a word.
#[repr(align(4))]
struct Words<const N: usize>([u8; N]);

/// The arena of every test.
const ARENA: usize = 1 << 15;

fn tensor(offset: u32, [height, width, channels]: [u16; 3], zero_point: i8) -> Tensor {
    Tensor {
        offset,
        height,
        width,
        channels,
        zero_point,
        element: Element::I8,
    }
}

fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<i8> {
    (0..count).map(|_| rng.random_range(-128..=127)).collect()
}

fn count(of: &Tensor) -> usize {
    of.dims().iter().product()
}

/// Runs one operator on the integers of its inputs; returns the bytes of the output.
fn outputs(op: Op, inputs: &[(Tensor, &[i8])], output: Tensor, weights: &[u8]) -> Vec<u8> {
    let mut held = Box::new(Words([0; ARENA]));
    held.0[..weights.len()].copy_from_slice(weights);
    let build = Build {
        arena: ARENA as u32,
        weights: weights.len() as u32,
        input: inputs[0].0,
        output,
        ops: &[op],
    };
    let mut bytes = Vec::new();
    build.write(&mut bytes).expect("the operator is sound");
    let plan = Plan::parse(&bytes).expect("what was written reads");
    assert_eq!(plan.ops().collect::<Vec<_>>(), [op]);
    let mut arena = Box::new(Words([0x55; ARENA]));
    for (tensor, integers) in inputs {
        let start = tensor.offset as usize;
        let bytes = integers.iter().map(|&v| v as u8);
        arena.0[start..start + integers.len()]
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
    }
    run(&plan, &held.0[..weights.len()], &mut arena.0, &mut ()).expect("it runs");
    let region = output.region();
    arena.0[region.offset as usize..][..region.len as usize].to_vec()
}

fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&b| b as i8).collect()
}

/// Rounds as ONNX does.
fn rounded(value: f64, zero_point: i8, clamp: Clamp) -> i8 {
    let rounded = value.round_ties_even() + f64::from(zero_point);
    rounded.clamp(clamp.low.into(), clamp.high.into()) as i8
}

/// The element of a tensor, or nothing outside of it.
fn at(of: &(Tensor, Vec<i8>), y: i64, x: i64, c: usize) -> Option<i32> {
    let [height, width, channels] = of.0.dims();
    let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
    inside.then(|| of.1[(y as usize * width + x as usize) * channels + c].into())
}

/// The position that a window's position covers.
fn covered(window: &Window, axis: usize, out: usize, position: usize) -> i64 {
    let step = position * usize::from(window.dilation[axis]);
    (out * usize::from(window.stride[axis]) + step) as i64 - i64::from(window.pad[axis])
}

/// A layer in every form of windows, groups and limits.
struct Layer {
    input: [u16; 3],
    outputs: u16,
    groups: u16,
    window: Window,
    requant: Requant,
    clamp: Clamp,
    sums: bool,
}

impl Layer {
    fn size(&self, axis: usize) -> u16 {
        let extent = (self.window.kernel[axis] - 1) * u16::from(self.window.dilation[axis]) + 1;
        let padded = self.input[axis] + 2 * u16::from(self.window.pad[axis]);
        (padded - extent) / u16::from(self.window.stride[axis]) + 1
    }

    fn check(&self, what: &str, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let input = tensor(0, self.input, -17);
        let mut output = tensor(8192, [self.size(0), self.size(1), self.outputs], 9);
        if self.sums {
            output.element = Element::I32;
        }
        let x = (input, random(&mut rng, count(&input)));
        let positions = self.window.positions() as usize;
        let per_group = usize::from(self.input[2] / self.groups);
        let entries = positions * per_group;
        let weights = random(&mut rng, entries * usize::from(self.outputs));
        let biases: Vec<i32> = (0..self.outputs)
            .map(|_| rng.random_range(-9999..9999))
            .collect();
        let multipliers: Vec<i32> = biases
            .iter()
            .map(|_| rng.random_range(1 << 26..i32::MAX))
            .collect();
        let outputs_in_all = usize::from(self.outputs);
        let depthwise = per_group == 1 && self.groups > 1 && !self.sums;
        let rows = weights.chunks(entries).zip(&biases);
        let folded: Vec<i32> = rows
            .map(|(row, bias)| bias + 17 * row.iter().map(|&w| i32::from(w)).sum::<i32>())
            .collect();
        let (group, block) = if depthwise {
            (outputs_in_all, 4)
        } else {
            (outputs_in_all / usize::from(self.groups), 2)
        };
        let mut packed = Vec::new();
        for first in (0..outputs_in_all).step_by(group) {
            for first_of_block in (first..first + group).step_by(block) {
                for list in [&folded, &multipliers] {
                    for output in first_of_block..first_of_block + block {
                        let there = output < first + group;
                        let value = if there { list[output] } else { 0 };
                        packed.extend(value.to_le_bytes());
                    }
                }
            }
        }
        let start = packed.len() as u32;
        if depthwise {
            packed.extend(packed_by_fours(&weights, entries));
        } else {
            let group = entries * usize::from(self.outputs / self.groups);
            for group in weights.chunks(group) {
                packed.extend(packed_by_pairs(group, entries));
            }
        }
        let op: Op = if depthwise {
            Depthwise {
                input,
                output,
                window: self.window,
                requant: self.requant,
                clamp: self.clamp,
                weights: start,
                scales: 0,
                scratch: 24576,
            }
            .into()
        } else {
            Conv {
                input,
                output,
                window: self.window,
                groups: self.groups,
                requant: self.requant,
                clamp: self.clamp,
                weights: start,
                scales: 0,
                scratch: 24576,
            }
            .into()
        };
        let got = outputs(op, &[(input, &x.1)], output, &packed);
        let [height, width, channels] = output.dims();
        let outputs_per_group = channels / usize::from(self.groups);
        for index in 0..height * width * channels {
            let (pixel, o) = (index / channels, index % channels);
            let (row, column) = (pixel / width, pixel % width);
            let mut sum = biases[o];
            for entry in 0..entries {
                let (position, c) = (entry / per_group, entry % per_group);
                let (ky, kx) = (
                    position / usize::from(self.window.kernel[1]),
                    position % usize::from(self.window.kernel[1]),
                );
                let y = covered(&self.window, 0, row, ky);
                let column = covered(&self.window, 1, column, kx);
                let c = o / outputs_per_group * per_group + c;
                let x = at(&x, y, column, c).unwrap_or(-17);
                sum += (x + 17) * i32::from(weights[o * entries + entry]);
            }
            if self.sums {
                let word = got[4 * index..][..4].try_into().expect("four bytes");
                assert_eq!(i32::from_le_bytes(word), sum, "{what}: sum {index}");
                continue;
            }
            let scale = f64::from(multipliers[o]) / f64::from(self.requant.shift).exp2();
            let expected = rounded(f64::from(sum) * scale, 9, self.clamp);
            assert_eq!(
                got[index] as i8, expected,
                "{what}: output {index}, sum {sum}"
            );
        }
    }
}

fn packed_by_pairs(weights: &[i8], entries: usize) -> Vec<u8> {
    let column = entries.next_multiple_of(4);
    let outputs = weights.len() / entries;
    let mut packed = Vec::new();
    for first in (0..outputs).step_by(2) {
        for quad in (0..column).step_by(4) {
            for output in first..first + 2 {
                for entry in quad..quad + 4 {
                    let there = output < outputs && entry < entries;
                    packed.push(if there {
                        weights[output * entries + entry] as u8
                    } else {
                        0
                    });
                }
            }
        }
    }
    packed
}

fn packed_by_fours(weights: &[i8], entries: usize) -> Vec<u8> {
    let outputs = weights.len() / entries;
    let mut packed = Vec::new();
    for first in (0..outputs).step_by(4) {
        for entry in 0..entries {
            let weight = |output: usize| {
                weights
                    .get(output * entries + entry)
                    .map_or(0, |&w| w as u8)
            };
            packed.extend((first..first + 4).map(weight));
        }
    }
    packed
}

const PLAIN: Requant = Requant {
    shift: 41,
    exact: false,
};

const EXACT: Requant = Requant {
    shift: 41,
    exact: true,
};

const SAME: Window = Window {
    kernel: [3, 3],
    pad: [1, 1],
    ..Window::ONE
};

fn layer() -> Layer {
    Layer {
        input: [5, 6, 4],
        outputs: 6,
        groups: 1,
        window: SAME,
        requant: PLAIN,
        clamp: Clamp::NONE,
        sums: false,
    }
}

#[test]
fn convolutions_sum_their_windows() {
    let strided = Window {
        stride: [2, 1],
        dilation: [1, 2],
        pad: [1, 2],
        ..SAME
    };
    let narrow = Clamp { low: -20, high: 77 };
    for (what, layer) in [
        ("whole words", layer()),
        (
            "odd outputs and inputs",
            Layer {
                input: [5, 5, 3],
                outputs: 5,
                ..layer()
            },
        ),
        (
            "strides and dilations",
            Layer {
                window: strided,
                ..layer()
            },
        ),
        (
            "groups",
            Layer {
                groups: 2,
                ..layer()
            },
        ),
        (
            "odd groups",
            Layer {
                input: [5, 5, 9],
                outputs: 9,
                groups: 3,
                ..layer()
            },
        ),
        (
            "halves to the even integer",
            Layer {
                requant: EXACT,
                ..layer()
            },
        ),
        (
            "limits",
            Layer {
                clamp: narrow,
                ..layer()
            },
        ),
        (
            "one position",
            Layer {
                window: Window::ONE,
                ..layer()
            },
        ),
        (
            "one pixel",
            Layer {
                input: [1, 1, 37],
                outputs: 11,
                window: Window::ONE,
                ..layer()
            },
        ),
        (
            "sums",
            Layer {
                sums: true,
                outputs: 5,
                ..layer()
            },
        ),
    ] {
        layer.check(what, 1);
    }
}

#[test]
fn depthwise_convolutions_sum_their_windows() {
    let depthwise = || Layer {
        input: [6, 5, 8],
        outputs: 8,
        groups: 8,
        requant: Requant { shift: 38, ..PLAIN },
        ..layer()
    };
    let strided = Window {
        stride: [2, 2],
        kernel: [5, 3],
        pad: [2, 1],
        ..SAME
    };
    let dilated = Window {
        dilation: [2, 1],
        pad: [0, 0],
        ..SAME
    };
    let narrow = Clamp { low: -20, high: 77 };
    for (what, layer) in [
        ("whole words", depthwise()),
        (
            "odd channels",
            Layer {
                input: [5, 5, 7],
                outputs: 7,
                groups: 7,
                ..depthwise()
            },
        ),
        (
            "strides",
            Layer {
                window: strided,
                ..depthwise()
            },
        ),
        (
            "dilations",
            Layer {
                window: dilated,
                ..depthwise()
            },
        ),
        (
            "several outputs per input",
            Layer {
                outputs: 24,
                ..depthwise()
            },
        ),
        (
            "limits",
            Layer {
                clamp: narrow,
                ..depthwise()
            },
        ),
        (
            "halves to the even integer",
            Layer {
                requant: Requant {
                    shift: 38,
                    exact: true,
                },
                ..depthwise()
            },
        ),
    ] {
        layer.check(what, 2);
    }
}

#[test]
fn additions_round_their_sum_once() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let shape = [7, 5, 3];
    let (a, b) = (tensor(0, shape, -5), tensor(1024, shape, 60));
    let (x, y) = (random(&mut rng, count(&a)), random(&mut rng, count(&b)));
    for (multipliers, shift) in [
        ([1 << 20, 1 << 20], 21),
        ([1_234_567, 345_678], 21),
        ([1, 3], 1),
    ] {
        for place in [2048, 0, 1024] {
            let output = tensor(place, shape, -3);
            let op = Add {
                inputs: [a, b],
                output,
                multipliers,
                shift,
                clamp: Clamp {
                    low: -100,
                    high: 90,
                },
            };
            let got = outputs(op.into(), &[(a, &x), (b, &y)], output, &[]);
            for (i, &got) in signed(&got).iter().enumerate() {
                let part = |v: i8, zero: i32, m: i32| f64::from((i32::from(v) - zero) * m);
                let sum = part(x[i], -5, multipliers[0]) + part(y[i], 60, multipliers[1]);
                let expected = rounded(sum / f64::from(1 << shift), -3, op.clamp);
                assert_eq!(got, expected, "element {i} at {place}");
            }
        }
    }
}

#[test]
fn a_tensor_is_added_to_itself() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let a = tensor(0, [4, 4, 4], 0);
    let x = random(&mut rng, count(&a));
    for place in [0, 512] {
        let output = tensor(place, [4, 4, 4], 0);
        let op = Add {
            inputs: [a, a],
            output,
            multipliers: [1, 1],
            shift: 1,
            clamp: Clamp::NONE,
        };
        assert_eq!(signed(&outputs(op.into(), &[(a, &x)], output, &[])), x);
    }
}

#[test]
fn averages_divide_by_what_counts() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let input = tensor(0, [6, 7, 5], 12);
    let x = (input, random(&mut rng, count(&input)));
    let output = tensor(4096, [3, 4, 5], -8);
    let window = Window {
        stride: [2, 2],
        ..SAME
    };
    for whole in [false, true] {
        let multiplier = if whole {
            1_234_567_890 / 9
        } else {
            1_234_567_890
        };
        let op = AveragePool {
            input,
            output,
            window,
            whole,
            multiplier,
            shift: 30,
            clamp: Clamp::NONE,
        };
        let got = outputs(op.into(), &[(input, &x.1)], output, &[]);
        for (index, &got) in signed(&got).iter().enumerate() {
            let (pixel, c) = (index / 5, index % 5);
            let positions = (0..9).filter_map(|p| {
                let y = covered(&window, 0, pixel / 4, p / 3);
                at(&x, y, covered(&window, 1, pixel % 4, p % 3), c)
            });
            let values: Vec<i32> = positions.map(|v| v - 12).collect();
            let divisor = if whole { 1.0 } else { values.len() as f64 };
            let mean = f64::from(values.iter().sum::<i32>()) / divisor;
            let scaled = mean * f64::from(multiplier) / f64::from(1 << 30);
            assert_eq!(got, rounded(scaled, -8, Clamp::NONE), "output {index}");
        }
    }
}

#[test]
fn maxima_leave_padding_out() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let input = tensor(0, [6, 7, 5], 127);
    let x = (input, random(&mut rng, count(&input)));
    let output = tensor(4096, [3, 4, 5], 127);
    let window = Window {
        stride: [2, 2],
        ..SAME
    };
    let op = MaxPool {
        input,
        output,
        window,
    };
    let got = outputs(op.into(), &[(input, &x.1)], output, &[]);
    for (index, &got) in signed(&got).iter().enumerate() {
        let (pixel, c) = (index / 5, index % 5);
        let most = (0..9).filter_map(|p| {
            let y = covered(&window, 0, pixel / 4, p / 3);
            at(&x, y, covered(&window, 1, pixel % 4, p % 3), c)
        });
        assert_eq!(Some(i32::from(got)), most.max(), "output {index}");
    }
}

#[test]
fn parts_are_placed_where_they_belong() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let input = tensor(0, [5, 6, 4], 0);
    let x = (input, random(&mut rng, count(&input)));
    let output = tensor(4096, [6, 7, 8], 0);
    let table: Vec<u8> = (0..=255u8).map(|i| i.wrapping_mul(7)).collect();
    for translate in [false, true] {
        let op = Place {
            start: [1, 0, 1],
            step: [2, 1, 2],
            repeat: [2, 1, 1],
            at: [1, 1, 3],
            count: [3, 6, 2],
            fill: true,
            value: -7,
            translate,
            table: 0,
            ..Place::all(input, output)
        };
        let got = signed(&outputs(op.into(), &[(input, &x.1)], output, &table));
        for (index, &got) in got.iter().enumerate() {
            let at_output = [index / 56, index / 8 % 7, index % 8];
            let inside = (0..3).all(|axis| {
                let first = usize::from(op.at[axis]);
                (first..first + usize::from(op.count[axis])).contains(&at_output[axis])
            });
            let source = |axis: usize| {
                let index =
                    (at_output[axis] - usize::from(op.at[axis])) / usize::from(op.repeat[axis]);
                usize::from(op.start[axis]) + index * usize::from(op.step[axis])
            };
            let expected = match inside {
                false => -7,
                true => {
                    let value = at(&x, source(0) as i64, source(1) as i64, source(2));
                    let value = value.expect("it lies inside") as i8;
                    if translate {
                        table[usize::from(value as u8 ^ 0x80)] as i8
                    } else {
                        value
                    }
                }
            };
            assert_eq!(got, expected, "element {at_output:?}");
        }
    }
}

#[test]
fn tables_replace_every_byte() {
    let input = tensor(0, [16, 16, 1], 0);
    let x: Vec<i8> = (-128..=127).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let table: Vec<u8> = random(&mut rng, 256).iter().map(|&v| v as u8).collect();
    for place in [0, 4096] {
        let output = tensor(place, [16, 16, 1], 0);
        let op = Table {
            input,
            output,
            table: 0,
        };
        assert_eq!(outputs(op.into(), &[(input, &x)], output, &table), table);
    }
}
