//! Layers against their formula in double precision, and against another implementation, on seeded
//! random inputs.

mod common;

use common::{SAME, at, count, covered, outputs, random, rounded, tensor};
use embedded_nn::convolve_per_channel_s8;
use embedded_nn::{Activation, ConvParams, Dims, Padding2D, PerChannelQuantParams, Tile};
use int8_engine::{Clamp, Conv, Depthwise, Element, Op, Requant, Tensor, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a layer multiplies with.
struct Weights {
    integers: Vec<i8>,
    biases: Vec<i32>,
    multipliers: Vec<i32>,
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

    /// The outputs of another implementation, which rounds twice.
    fn peer(&self, (input, output): (&(Tensor, Vec<i8>), Tensor), weights: &Weights) -> Vec<i8> {
        let tile = |[h, w]: [u8; 2]| Tile::new(w.into(), h.into());
        let dims =
            |of: &Tensor| Dims::new(1, of.height.into(), of.width.into(), of.channels.into());
        let [top, left] = self.window.pad.map(i32::from);
        let params = ConvParams {
            input_offset: -i32::from(input.0.zero_point),
            output_offset: output.zero_point.into(),
            stride: tile(self.window.stride),
            padding: Padding2D::symmetric(left, top),
            dilation: tile(self.window.dilation),
            activation: Activation::new(self.clamp.low.into(), self.clamp.high.into()),
        };
        let shifts = vec![31 - i32::from(self.requant.shift); weights.biases.len()];
        let [rows, columns] = self.window.kernel.map(i32::from);
        let filter = Dims::new(
            self.outputs.into(),
            rows,
            columns,
            (self.input[2] / self.groups).into(),
        );
        let mut made = vec![0; count(&output)];
        convolve_per_channel_s8(
            &params,
            &PerChannelQuantParams::new(&weights.multipliers, &shifts),
            &dims(&input.0),
            &input.1,
            &filter,
            &weights.integers,
            Some(&weights.biases),
            &dims(&output),
            &mut made,
        )
        .expect("the peer runs");
        made
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
        let (group, block) = match depthwise {
            true => (outputs_in_all, 4),
            false => (outputs_in_all / usize::from(self.groups), 2),
        };
        let mut packed = Vec::new();
        for (biases, multipliers) in folded.chunks(group).zip(multipliers.chunks(group)) {
            for (biases, multipliers) in biases.chunks(block).zip(multipliers.chunks(block)) {
                for list in [biases, multipliers] {
                    packed.extend(list.iter().flat_map(|v| v.to_le_bytes()));
                    packed.resize(packed.len().next_multiple_of(4 * block), 0);
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
        if !self.sums {
            let weights = Weights {
                integers: weights.clone(),
                biases: biases.clone(),
                multipliers: multipliers.clone(),
            };
            for (index, (a, b)) in got
                .iter()
                .zip(self.peer((&x, output), &weights))
                .enumerate()
            {
                let apart = (i32::from(*a as i8) - i32::from(b)).abs();
                assert!(
                    apart <= 1,
                    "{what}: output {index} is {}, the peer's {b}",
                    *a as i8
                );
            }
        }
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
            let weight = |output: usize| weights.get(output * entries + entry);
            for output in 0..4 {
                let half = weight(first + output).map_or(0, |&w| i16::from(w));
                packed.extend(half.to_le_bytes());
            }
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
