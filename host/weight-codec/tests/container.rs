//! Containers: what comes back, what is refused, and how small they are.

mod support;

use proptest::prelude::*;
use support::weights;
use weight_codec::{
    Bits, CodecError, Fit, FitConfig, FitTensor, Limits, Nearest, Quantized, Quantizer, Storage,
    Stored, SurpConfig, SurpStop, Tensor, fit, pack, pack_refined, surp_encode, unpack,
    unpack_prefix,
};

const NAMES: [&str; 4] = ["conv1.weight", "conv2.weight", "bn.weight", "fc.weight"];

/// A file of tensors with other bytes between them.
struct File {
    bytes: Vec<u8>,
    values: Vec<Vec<f32>>,
    dims: Vec<[usize; 2]>,
    offsets: Vec<usize>,
}

impl File {
    fn new(shapes: &[[usize; 2]], between: &str) -> Self {
        let mut file = Self {
            bytes: between.as_bytes().to_vec(),
            values: Vec::new(),
            dims: shapes.to_vec(),
            offsets: Vec::new(),
        };
        for (index, [channels, inputs]) in shapes.iter().enumerate() {
            let values = weights(*channels, *inputs, index as u64);
            file.offsets.push(file.bytes.len());
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            file.bytes.extend(bytes);
            file.bytes.extend(between.as_bytes());
            file.values.push(values);
        }
        file
    }

    fn tensor(&self, index: usize) -> Tensor<'_> {
        Tensor {
            name: NAMES[index % NAMES.len()],
            values: &self.values[index],
            dims: &self.dims[index],
            channel_axis: 0,
        }
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        (0..self.dims.len())
            .map(|index| self.tensor(index))
            .collect()
    }

    /// The tensor at an index, to be stored.
    fn stored<'a>(&'a self, index: usize, storage: Storage<'a>) -> Stored<'a> {
        let start = self.offsets[index];
        Stored {
            name: self.tensor(index).name,
            range: start..start + self.values[index].len() * 4,
            storage,
        }
    }

    /// The file with other values of a tensor.
    fn with(mut self, index: usize, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.bytes[self.offsets[index]..][..bytes.len()].copy_from_slice(&bytes);
        self
    }

    fn quantized(&self, bits: u8) -> Vec<Quantized> {
        let bits = Bits::new(bits).unwrap();
        let tensors = self.tensors().into_iter();
        tensors
            .map(|tensor| Nearest.quantize(&tensor, bits).unwrap())
            .collect()
    }
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    unpack(bytes, &Limits::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_come_back(
        shapes in proptest::collection::vec((1_usize..6, 1_usize..40), 0..4),
        kinds in proptest::collection::vec(0_u8..=8, 4),
        between in "[a-z]{0,20}",
    ) {
        let shapes: Vec<[usize; 2]> = shapes.into_iter().map(|(a, b)| [a, b]).collect();
        let file = File::new(&shapes, &between);
        let quantized: Vec<Option<Quantized>> = file
            .tensors()
            .iter()
            .zip(&kinds)
            .map(|(tensor, kind)| Some(Nearest.quantize(tensor, Bits::new(*kind).ok()?).unwrap()))
            .collect();
        let stored = quantized.iter().enumerate().map(|(index, quantized)| {
            let storage = quantized.as_ref().map_or(Storage::Lossless, Storage::Quantized);
            file.stored(index, storage)
        });
        // The order of the tensors does not matter.
        let stored: Vec<Stored> = stored.rev().collect();
        let packed = pack(&file.bytes, &stored).unwrap();
        let mut expected = File::new(&shapes, &between);
        for (index, quantized) in quantized.iter().enumerate() {
            if let Some(quantized) = quantized {
                expected = expected.with(index, &quantized.values());
            }
        }
        prop_assert_eq!(unpacked(&packed), expected.bytes);
    }

    #[test]
    fn damaged_containers_are_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<Option<proptest::sample::Index>>(),
    ) {
        let (whole, file) = mixed();
        let mut bytes = whole.clone();
        for (index, byte) in &changes {
            bytes[index.index(whole.len())] = *byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(whole.len()));
        }
        let limits = Limits { declared: 1 << 20 };
        match unpack(&bytes, &limits) {
            // A change that has no effect, as of the bits that fill up the last byte.
            Ok(unpacked) => prop_assert_eq!(unpacked, file),
            Err(CodecError::Damaged { .. } | CodecError::TooLarge { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
        let _ = unpack_prefix(&bytes, &limits);
    }

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(unpack(&bytes, &Limits::default()).is_err());
    }
}

/// A container with all kinds of storage, and what it unpacks to.
fn mixed() -> (Vec<u8>, Vec<u8>) {
    let file = File::new(&[[4, 30], [6, 20], [1, 8], [3, 50]], "between");
    let quantized = file.quantized(3);
    let config = SurpConfig {
        stop: SurpStop::Density(0.4),
        ..SurpConfig::default()
    };
    let stream = surp_encode(&[file.tensor(3)], &config).unwrap();
    let stored = [
        file.stored(0, Storage::Quantized(&quantized[0])),
        file.stored(1, Storage::Quantized(&quantized[1])),
        file.stored(2, Storage::Lossless),
        file.stored(3, Storage::Refined),
    ];
    let packed = pack_refined(&file.bytes, &stored, &stream).unwrap();
    let unpacked = unpacked(&packed);
    (packed, unpacked)
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused_or_without_effect() {
    let (packed, file) = mixed();
    let limits = Limits::default();
    for len in 0..packed.len() {
        assert!(unpack(&packed[..len], &limits).is_err(), "{len}");
    }
    for bit in 0..packed.len() * 8 {
        let mut bytes = packed.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(unpacked) = unpack(&bytes, &limits) {
            assert!(unpacked == file, "bit {bit}");
        }
    }
    let mut longer = packed;
    longer.push(0);
    assert!(unpack(&longer, &limits).is_err());
}

#[test]
fn a_prefix_of_the_refinement_unpacks() {
    let (packed, file) = mixed();
    let limits = Limits::default();
    let prefixes: Vec<_> = (0..=packed.len())
        .filter_map(|len| unpack_prefix(&packed[..len], &limits).ok())
        .collect();
    assert!(prefixes.len() > 30, "{}", prefixes.len());
    let (last, shorter) = prefixes.split_last().unwrap();
    assert!(last.complete && last.file == file);
    for prefix in shorter {
        assert!(!prefix.complete);
        assert_eq!(prefix.file.len(), file.len());
    }
    // The first has no weights yet, and all other bytes.
    assert_ne!(shorter[0].file, file);
}

#[test]
fn a_container_does_not_get_more_memory_than_admitted() {
    let (packed, file) = mixed();
    let limits = Limits {
        declared: file.len(),
    };
    let error = unpack(&packed, &limits).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
    // One that declares a huge file in few bytes.
    let mut huge = packed[..37].to_vec();
    for _ in 0..5 {
        huge.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    }
    let error = unpack(&huge, &Limits::default()).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
}

#[test]
fn ranges_that_do_not_fit_are_refused_by_name() {
    let file = File::new(&[[4, 30], [6, 20]], "--");
    let quantized = file.quantized(4);
    let whole = file.stored(0, Storage::Lossless);
    let at = |range| Stored {
        range,
        ..whole.clone()
    };
    let cases: [&[Stored]; 7] = [
        &[at(0..0)],
        &[at(4..file.bytes.len() + 1)],
        &[at(0..6)],
        &[
            file.stored(0, Storage::Quantized(&quantized[1])),
            at(0..400),
        ],
        &[whole.clone(), at(whole.range.end - 4..whole.range.end + 4)],
        &[file.stored(0, Storage::Refined)],
        &[Stored {
            range: 0..16,
            ..file.stored(0, Storage::Quantized(&quantized[0]))
        }],
    ];
    for case in cases {
        let error = pack(&file.bytes, case).unwrap_err().to_string();
        assert!(error.contains("conv1.weight"), "{error}");
    }
}

#[test]
fn lossless_storage_is_smaller_than_deflate() {
    let file = File::new(&[[64, 576]], "");
    let packed = pack(&file.bytes, &[file.stored(0, Storage::Lossless)]).unwrap();
    let deflated = pack(&file.bytes, &[]).unwrap();
    let share = |bytes: &[u8]| bytes.len() as f64 / file.bytes.len() as f64;
    println!(
        "planes {:.3}, deflate {:.3}",
        share(&packed),
        share(&deflated)
    );
    assert!(share(&packed) < 0.86 && packed.len() < deflated.len());
    assert_eq!(unpacked(&packed), file.bytes);
}

fn network() -> File {
    File::new(
        &[[16, 27], [16, 144], [32, 144], [32, 288], [10, 64]],
        "layer",
    )
}

fn fitted(file: &File, importance: &[f64; 5], config: &FitConfig) -> Result<Fit, CodecError> {
    let tensors = (0..5).map(|index| FitTensor {
        tensor: file.tensor(index),
        offset: file.offsets[index],
        quantizer: &Nearest,
        weight: importance[index],
        bits: (index == 2).then(|| Bits::new(5).unwrap()),
    });
    fit(&file.bytes, &tensors.collect::<Vec<_>>(), &[], config)
}

#[test]
fn a_budget_of_bytes_is_kept_and_used() {
    let file = network();
    let importance = [1.0, 100.0, 1.0, 1.0, 1.0];
    let smallest = match fitted(&file, &importance, &FitConfig::new(0)) {
        Err(CodecError::Unreachable { limit: 0, smallest }) => smallest,
        other => panic!("{other:?}"),
    };
    let mut before = f64::INFINITY;
    for bytes in [smallest, smallest + 500, 9000, 12000, 100_000] {
        let fit = fitted(&file, &importance, &FitConfig::new(bytes)).unwrap();
        let size = fit.packed.len();
        let bits: Vec<u8> = fit.tensors.iter().map(|of| of.bits().get()).collect();
        println!("{bytes}: {size} bytes, {bits:?}, error {:.4}", fit.error);
        assert!(size <= bytes && (bytes == 100_000 || size > bytes - 900));
        assert_eq!((bits[0], bits[2], bits[4]), (8, 5, 8));
        assert!(bits[1] >= bits[3], "the more important has more bits");
        assert!(fit.error <= before);
        before = fit.error;
        let mut expected = network();
        for (index, quantized) in fit.tensors.iter().enumerate() {
            expected = expected.with(index, &quantized.values());
        }
        assert_eq!(unpacked(&fit.packed), expected.bytes);
    }
    let free = FitConfig {
        ends: None,
        ..FitConfig::new(smallest)
    };
    assert!(fitted(&file, &importance, &free).is_ok());
    let error = fitted(&file, &[-1.0; 5], &free).unwrap_err().to_string();
    assert!(error.contains("conv1.weight"), "{error}");
}

#[test]
fn the_bits_chosen_lose_about_as_little_as_any_within_the_budget() {
    let file = File::new(&[[16, 64], [16, 128], [8, 96]], "");
    let importance = [1.0, 3.0, 0.5];
    let tensors: Vec<FitTensor> = (0..3)
        .map(|index| FitTensor {
            tensor: file.tensor(index),
            offset: file.offsets[index],
            quantizer: &Nearest,
            weight: importance[index],
            bits: None,
        })
        .collect();
    let options: Vec<Vec<Quantized>> = (2..=8).map(|bits| file.quantized(bits)).collect();
    let mut all = Vec::new();
    for choice in 0..343 {
        let of = [choice % 7, choice / 7 % 7, choice / 49];
        let chosen = [0, 1, 2].map(|index| &options[of[index]][index]);
        let stored = [0, 1, 2].map(|index| file.stored(index, Storage::Quantized(chosen[index])));
        let error = |index: usize| {
            let error = Nearest.error(&tensors[index].tensor, chosen[index]);
            importance[index] * error.unwrap()
        };
        let size = pack(&file.bytes, &stored).unwrap().len();
        all.push((size, error(0) + error(1) + error(2)));
    }
    let mut shares = 0.0;
    let budgets = [1400, 1700, 2000, 2300, 2600, 3000, 3500];
    for bytes in budgets {
        let within = all.iter().filter(|(size, _)| *size <= bytes);
        let best = within.fold(f64::INFINITY, |best, (_, error)| best.min(*error));
        let config = FitConfig { bytes, ends: None };
        let found = fit(&file.bytes, &tensors, &[], &config).unwrap().error;
        shares += found / best;
    }
    let share = shares / budgets.len() as f64;
    println!("{share:.3} of the least error");
    assert!(share < 1.1, "{share}");
}
