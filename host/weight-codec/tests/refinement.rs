//! Successive refinement: prefixes, errors, sizes, and damage.

mod support;

use proptest::prelude::*;
use support::weights;
use weight_codec::{CodecError, Limits, SurpConfig, SurpDecoder, SurpStop, Tensor, surp_encode};

/// Two layers of different sizes, and one of zeros.
fn layers() -> Vec<Vec<f32>> {
    vec![weights(8, 90, 1), weights(4, 20, 2), vec![0.0; 5]]
}

fn tensors<'a>(layers: &'a [Vec<f32>], dims: &'a [[usize; 1]]) -> Vec<Tensor<'a>> {
    let layers = layers.iter().zip(dims);
    layers
        .map(|(values, dims)| Tensor {
            name: "conv.weight",
            values,
            dims,
            channel_axis: 0,
        })
        .collect()
}

fn dims(layers: &[Vec<f32>]) -> Vec<[usize; 1]> {
    layers.iter().map(|values| [values.len()]).collect()
}

fn encode(layers: &[Vec<f32>], stop: SurpStop) -> Result<Vec<u8>, CodecError> {
    let config = SurpConfig {
        seed: 7,
        stop,
        ..SurpConfig::default()
    };
    surp_encode(&tensors(layers, &dims(layers)), &config)
}

fn decoder(stream: &[u8]) -> SurpDecoder<'_> {
    SurpDecoder::new(stream, &Limits::default()).unwrap()
}

/// The squared errors of layers, relative to their squares: what steps lower.
fn error(layers: &[Vec<f32>], decoder: &SurpDecoder) -> f64 {
    let mut error = 0.0;
    for (values, decoded) in layers.iter().zip(decoder.tensors()) {
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let differences = values.iter().zip(decoded);
        let squared = differences.map(|(a, b)| f64::from(a - b).powi(2));
        error += squared.sum::<f64>() / squares.max(f64::MIN_POSITIVE);
    }
    error
}

#[test]
fn steps_lower_the_error() {
    let layers = layers();
    let stream = encode(&layers, SurpStop::Density(0.9)).unwrap();
    let mut decoder = decoder(&stream);
    assert_eq!(decoder.counts().collect::<Vec<_>>(), [720, 80, 5]);
    let mut before = error(&layers, &decoder);
    assert!((before - 2.0).abs() < 1e-6);
    let mut steps = 0;
    while decoder.advance().unwrap() {
        steps += 1;
        // What a step leaves is an estimate, so that a single step may raise the error.
        if steps % 10 == 0 {
            let now = error(&layers, &decoder);
            assert!(now < before, "step {steps}: {now}, before {before}");
            before = now;
        }
    }
    println!("{steps} steps, {} bytes, error {before:.4}", stream.len());
    assert!((decoder.density() - 0.9).abs() < 0.002);
    assert_eq!(decoder.len(), stream.len());
    assert!(before < 0.1, "{before}");
}

#[test]
fn every_prefix_decodes_to_the_steps_that_it_contains() {
    let layers = layers();
    let stream = encode(&layers, SurpStop::Density(0.5)).unwrap();
    // The header: magic, version and seed, sizes and norms, checksum.
    let header = decoder(&stream).len();
    let mut whole = decoder(&stream);
    for len in 0..=stream.len() {
        let prefix = SurpDecoder::new(&stream[..len], &Limits::default());
        assert_eq!(prefix.is_ok(), len >= header);
        let Ok(mut prefix) = prefix else { continue };
        while prefix.advance().unwrap() {}
        assert!(prefix.len() <= len);
        while whole.len() < prefix.len() || whole.density() < prefix.density() {
            assert!(whole.advance().unwrap());
        }
        // Several steps may end in one byte.
        while whole.tensors() != prefix.tensors() {
            assert!(whole.advance().unwrap() && whole.len() <= len);
        }
    }
}

#[test]
fn a_budget_of_bytes_is_the_prefix_of_a_longer_stream() {
    let layers = layers();
    let long = encode(&layers, SurpStop::Density(0.9)).unwrap();
    for bytes in [60, 100, 333, 700] {
        let stream = encode(&layers, SurpStop::Bytes(bytes)).unwrap();
        assert_eq!(stream, long[..bytes]);
    }
    let error = encode(&layers, SurpStop::Bytes(10)).unwrap_err();
    assert!(error.to_string().contains("stop"), "{error}");
}

#[test]
fn a_stream_ends_when_no_weight_is_left() {
    let layers = vec![vec![0.5, 0.0, -0.25, 0.0], vec![1e-42, 0.0]];
    let stream = encode(&layers, SurpStop::Density(1.0)).unwrap();
    let mut coarse = decoder(&stream);
    while coarse.advance().unwrap() {}
    assert_eq!(coarse.density(), 2.0 / 6.0);
    let stream = encode(&layers, SurpStop::Bytes(10_000)).unwrap();
    let mut exact = decoder(&stream);
    while exact.advance().unwrap() {}
    let decoded = exact.tensors();
    assert!((decoded[0][0] - 0.5).abs() < 1e-6 && (decoded[0][2] + 0.25).abs() < 1e-6);
    assert_eq!(decoded[1], [0.0, 0.0]);
    for values in [vec![0.0; 3], vec![-2.0]] {
        let stream = encode(&[values], SurpStop::Bytes(1000)).unwrap();
        let mut all = decoder(&stream);
        while all.advance().unwrap() {}
        assert!(stream.len() < 500);
    }
}

#[test]
fn invalid_settings_and_tensors_are_refused() {
    let layers = layers();
    assert!(encode(&[], SurpStop::Density(0.5)).is_err());
    assert!(encode(&layers, SurpStop::Density(1.5)).is_err());
    let config = SurpConfig {
        alpha: 0.0,
        ..SurpConfig::default()
    };
    assert!(surp_encode(&tensors(&layers, &dims(&layers)), &config).is_err());
    for value in [f32::NAN, f32::MAX] {
        let error = encode(&[vec![value; 2]], SurpStop::Density(0.5)).unwrap_err();
        assert!(error.to_string().contains("conv.weight"), "{error}");
    }
}

#[test]
fn the_stream_does_not_change() {
    let stream = encode(&[vec![0.5, -1.0, 0.25, 2.0]], SurpStop::Density(0.75)).unwrap();
    let steps = [
        247, 255, 255, 255, 31, 171, 49, 153, 15, 255, 255, 241, 246, 128, 148, 157, 255, 255, 255,
        31, 36, 248, 200, 231,
    ];
    assert_eq!(stream[22..], steps);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<proptest::sample::Index>(),
    ) {
        let layers = layers();
        let mut stream = encode(&layers, SurpStop::Density(0.3)).unwrap();
        for (index, byte) in changes {
            let at = index.index(stream.len());
            stream[at] = byte;
        }
        stream.truncate(cut.index(stream.len() + 1));
        if let Ok(mut decoder) = SurpDecoder::new(&stream, &Limits::default()) {
            while let Ok(true) = decoder.advance() {}
            for values in decoder.tensors() {
                prop_assert!(values.iter().all(|value| value.is_finite()));
            }
        }
    }

    #[test]
    fn random_layers_decode_for_any_seed(
        seed in any::<u64>(),
        counts in proptest::collection::vec(1_usize..80, 1..5),
        density in 0.0..1.0,
    ) {
        let layers: Vec<Vec<f32>> = counts.iter().map(|count| weights(1, *count, seed)).collect();
        let config = SurpConfig { seed, stop: SurpStop::Density(density), ..SurpConfig::default() };
        let stream = surp_encode(&tensors(&layers, &dims(&layers)), &config).unwrap();
        let mut decoder = decoder(&stream);
        while decoder.advance().unwrap() {}
        let n: usize = counts.iter().sum();
        prop_assert_eq!(decoder.density(), (density * n as f64).ceil() / n as f64);
    }
}

#[test]
fn a_stream_of_many_weights_needs_its_memory_admitted() {
    let layers = layers();
    let stream = encode(&layers, SurpStop::Density(0.1)).unwrap();
    let limits = Limits { declared: 805 * 12 };
    assert!(SurpDecoder::new(&stream, &limits).is_ok());
    let limits = Limits {
        declared: 805 * 12 - 1,
    };
    let error = SurpDecoder::new(&stream, &limits).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
}
