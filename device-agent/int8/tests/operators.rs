//! Operators without weights against their formula in double precision, on seeded random inputs.

mod common;

use common::{SAME, at, count, covered, outputs, random, rounded, tensor};
use int8_engine::{Add, AveragePool, Clamp, MaxPool, Place, Table, Window};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&b| b as i8).collect()
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
