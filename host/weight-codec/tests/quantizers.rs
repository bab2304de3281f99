//! Quantisers on random layers.

mod support;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::weights;
use weight_codec::{Bits, Gptq, GptqConfig, Hessian, Nearest, Quantized, Quantizer, Tensor};

/// The Gram matrix of inputs that depend on a few common factors, as those of a network do.
fn gram(inputs: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let factors = inputs / 4 + 1;
    let mut normal = || rng.sample::<f64, _>(rand_distr::StandardNormal);
    let mixing: Vec<f64> = (0..inputs * factors).map(|_| normal()).collect();
    let mut gram = vec![0.0; inputs * inputs];
    for _ in 0..4 * inputs {
        let common: Vec<f64> = (0..factors).map(|_| normal()).collect();
        let input: Vec<f64> = (0..inputs)
            .map(|input| {
                let mixed = mixing[input * factors..].iter().zip(&common);
                let sum: f64 = mixed.map(|(a, b)| a * b).sum();
                // As behind a ReLU.
                (sum + 0.5 * normal()).max(0.0)
            })
            .collect();
        for (row, a) in gram.chunks_mut(inputs).zip(&input) {
            row.iter_mut()
                .zip(&input)
                .for_each(|(sum, b)| *sum += a * b);
        }
    }
    gram
}

/// The sum of `e H e^T`, plainly.
fn error(tensor: &Tensor, quantized: &Quantized, gram: &[f64]) -> f64 {
    let inputs = tensor.values.len() / tensor.dims[0];
    let differences: Vec<f64> = tensor
        .values
        .iter()
        .zip(quantized.values())
        .map(|(a, b)| f64::from(a - b))
        .collect();
    let row = |e: &[f64]| -> f64 {
        let products = gram.chunks(inputs).map(|row| {
            let product = row.iter().zip(e).map(|(h, e)| h * e);
            product.sum::<f64>()
        });
        products.zip(e).map(|(he, e)| he * e).sum()
    };
    differences.chunks(inputs).map(row).sum()
}

#[test]
fn gptq_keeps_outputs_better_than_rounding() {
    for act_order in [false, true] {
        let config = GptqConfig {
            act_order,
            ..GptqConfig::default()
        };
        for bits in [2, 3, 4, 8] {
            let bits = Bits::new(bits).unwrap();
            let (mut of_gptq, mut of_nearest) = (0.0, 0.0);
            // More inputs than a block of columns has.
            for (channels, inputs) in [(8, 27), (16, 144), (6, 150)] {
                let values = weights(channels, inputs, 1);
                let tensor = Tensor {
                    name: "layer",
                    values: &values,
                    dims: &[channels, inputs],
                    channel_axis: 0,
                };
                let gram = gram(inputs, 2);
                let hessian = Hessian {
                    size: inputs,
                    values: &gram,
                };
                let gptq = Gptq::new("layer", &[hessian], &config).unwrap();
                let quantized = gptq.quantize(&tensor, bits).unwrap();
                let own = error(&tensor, &quantized, &gram);
                let nearest = Nearest.quantize(&tensor, bits).unwrap();
                let others = error(&tensor, &nearest, &gram);
                of_gptq += own / others;
                of_nearest += 1.0;
                // The quantiser's own measure also counts the damping.
                let measured = gptq.error(&tensor, &quantized).unwrap();
                assert!(measured >= own && measured < own * 1.5, "{measured}, {own}");
            }
            let share: f64 = of_gptq / of_nearest;
            let bits = bits.get();
            println!("{bits} bits, act order {act_order}: {share:.3} of rounding's error");
            assert!(share < 0.8, "{bits} bits: {share}");
        }
    }
}

#[test]
fn with_independent_inputs_gptq_rounds_to_the_nearest() {
    let (channels, inputs) = (5, 70);
    let values = weights(channels, inputs, 3);
    let identity: Vec<f64> = (0..inputs * inputs)
        .map(|index| f64::from(u8::from(index % (inputs + 1) == 0)))
        .collect();
    let hessian = Hessian {
        size: inputs,
        values: &identity,
    };
    // Channels last, as in a matrix [in, out].
    for (dims, channel_axis) in [([channels, inputs], 0), ([inputs, channels], 1)] {
        let tensor = Tensor {
            name: "layer",
            values: &values,
            dims: &dims,
            channel_axis,
        };
        for bits in Bits::all() {
            let gptq = Gptq::new("layer", &[hessian], &GptqConfig::default()).unwrap();
            let quantized = gptq.quantize(&tensor, bits).unwrap();
            let nearest = Nearest.quantize(&tensor, bits).unwrap();
            assert_eq!(quantized, nearest, "{} bits", bits.get());
        }
    }
}

#[test]
fn groups_are_quantised_like_layers_of_their_own() {
    let (channels, inputs) = (4, 9);
    let values = weights(2 * channels, inputs, 4);
    let grams = [gram(inputs, 5), gram(inputs, 6)];
    let hessians = grams.each_ref().map(|gram| Hessian {
        size: inputs,
        values: gram,
    });
    let config = GptqConfig::default();
    let bits = Bits::new(3).unwrap();
    let quantize = |values: &[f32], hessians: &[Hessian]| {
        let tensor = Tensor {
            name: "layer",
            values,
            dims: &[values.len() / inputs, 1, 3, 3],
            channel_axis: 0,
        };
        let gptq = Gptq::new("layer", hessians, &config).unwrap();
        let quantized = gptq.quantize(&tensor, bits).unwrap();
        let error = gptq.error(&tensor, &quantized).unwrap();
        (quantized.values(), error)
    };
    let (both, error) = quantize(&values, &hessians);
    let (first, second) = values.split_at(channels * inputs);
    let (first, of_first) = quantize(first, &hessians[..1]);
    let (second, of_second) = quantize(second, &hessians[1..]);
    assert_eq!(both, [first, second].concat());
    assert!((error - of_first - of_second).abs() < 1e-9 * error);
}

#[test]
fn weights_of_dead_inputs_become_zero() {
    let inputs = 12;
    let values = weights(3, inputs, 7);
    let mut gram = gram(inputs, 8);
    for other in 0..inputs {
        gram[5 * inputs + other] = 0.0;
        gram[other * inputs + 5] = 0.0;
    }
    let tensor = Tensor {
        name: "layer",
        values: &values,
        dims: &[3, inputs],
        channel_axis: 0,
    };
    let hessian = Hessian {
        size: inputs,
        values: &gram,
    };
    let gptq = Gptq::new("layer", &[hessian], &GptqConfig::default()).unwrap();
    let quantized = gptq.quantize(&tensor, Bits::MAX).unwrap();
    for row in quantized.integers().chunks(inputs) {
        assert_eq!(row[5], 0);
    }
    assert!(
        gptq.error(&tensor, &quantized).unwrap() < 1e-2 * error(&tensor, &zeros(&tensor), &gram)
    );
}

fn zeros(tensor: &Tensor) -> Quantized {
    let channels = tensor.dims[tensor.channel_axis];
    let integers = vec![0; tensor.values.len()];
    Quantized::new(tensor, Bits::MIN, integers, vec![0.0; channels]).unwrap()
}

#[test]
fn unusable_tensors_and_hessians_are_refused_by_name() {
    let tensor = |values, dims, channel_axis| Tensor {
        name: "conv7.weight",
        values,
        dims,
        channel_axis,
    };
    let bits = Bits::MAX;
    let tensors = [
        tensor(&[1.0, f32::NAN], &[2], 0),
        tensor(&[1.0, 2.0], &[3], 0),
        tensor(&[1.0, 2.0], &[2], 1),
        tensor(&[], &[0, 3], 0),
        tensor(&[], &[usize::MAX, 3], 0),
    ];
    for tensor in tensors {
        let error = Nearest.quantize(&tensor, bits).unwrap_err().to_string();
        assert!(error.contains("conv7.weight"), "{error}");
    }
    let hessians: [(usize, &[f64]); 4] = [
        (2, &[1.0, 0.0, 0.0]),
        (1, &[f64::INFINITY]),
        (2, &[1.0, 2.0, 2.0, 1.0]),
        (0, &[]),
    ];
    for (size, values) in hessians {
        let hessian = Hessian { size, values };
        let gptq = Gptq::new("conv7.weight", &[hessian], &GptqConfig::default());
        let error = gptq.unwrap_err().to_string();
        assert!(error.contains("conv7.weight"), "{error}");
    }
    let hessian = Hessian {
        size: 1,
        values: &[1.0],
    };
    let gptq = Gptq::new("conv7.weight", &[hessian], &GptqConfig::default()).unwrap();
    let two_inputs = tensor(&[1.0, 2.0], &[1, 2], 0);
    let error = gptq.quantize(&two_inputs, bits).unwrap_err().to_string();
    assert!(error.contains("conv7.weight"), "{error}");
}
