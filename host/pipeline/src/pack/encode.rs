//! From a written network to its container.

use weight_codec::{
    Bits, CodecError, FitConfig, FitTensor, Limits, Quantized, Quantizer, Storage, Stored,
    SurpConfig, SurpDecoder, SurpStop, fit, pack_refined, surp_encode,
};

use super::request::{PackForm, PackMethod, PackedTensor};
use super::rounding::Rounding;
use super::weights::{Weight, Weights};

/// What the length of a stream takes more than that of a stream without steps, in bytes.
const LENGTH: usize = 4;

/// No limit, for a container that was made here.
pub(super) const OWN: Limits = Limits {
    declared: usize::MAX,
};

/// A written network to pack.
pub(super) struct Subject<'a> {
    pub file: &'a [u8],
    pub weights: &'a Weights,
    /// One for each layer.
    pub quantizers: &'a [Rounding],
    /// Seed of the order of refinement.
    pub seed: u64,
}

/// A container.
pub(super) struct Encoded {
    pub container: Vec<u8>,
    /// The file that it must restore.
    pub file: Vec<u8>,
    pub tensors: Vec<PackedTensor>,
}

/// How a layer's weights are stored.
enum Layer {
    Lossless,
    Integers(Quantized),
    Refined,
}

impl Subject<'_> {
    /// Packs the file.
    ///
    /// # Errors
    /// Those of the codec, with the tensor's name; [`CodecError::Unreachable`].
    pub fn encode(&self, form: PackForm) -> Result<Encoded, CodecError> {
        match form {
            PackForm::Lossless => self.pack(&self.each(|_| Ok(Layer::Lossless))?, &[]),
            PackForm::Bits(bits) => {
                let bits = Bits::new(bits)?;
                self.pack(&self.each(|layer| self.integers(layer, bits))?, &[])
            }
            PackForm::Bytes(bytes) => self.fit(bytes),
            PackForm::RefinedDensity(density) => {
                let layers = self.refined()?;
                let stream = self.stream(&layers, SurpStop::Density(density))?;
                self.pack(&layers, &stream)
            }
            PackForm::RefinedBytes(limit) => {
                let layers = self.refined()?;
                let least = self.stream(&layers, SurpStop::Density(0.0))?;
                let smallest = self.pack(&layers, &least)?.container.len() + LENGTH;
                let Some(room) = limit.checked_sub(smallest) else {
                    return Err(CodecError::Unreachable { limit, smallest });
                };
                let stream = self.stream(&layers, SurpStop::Bytes(least.len() + room))?;
                self.pack(&layers, &stream)
            }
        }
    }

    fn each(
        &self,
        layer: impl Fn(usize) -> Result<Layer, CodecError>,
    ) -> Result<Vec<Layer>, CodecError> {
        (0..self.weights.layers.len()).map(layer).collect()
    }

    fn is_end(&self, layer: usize) -> bool {
        layer == 0 || layer + 1 == self.weights.layers.len()
    }

    /// A layer in so many bits, or 8 at the ends.
    fn integers(&self, layer: usize, bits: Bits) -> Result<Layer, CodecError> {
        let bits = if self.is_end(layer) { Bits::MAX } else { bits };
        let values = self.weights.layers[layer].values();
        let quantized = self.quantizers[layer].quantizer.quantize(&values, bits)?;
        Ok(Layer::Integers(quantized))
    }

    fn refined(&self) -> Result<Vec<Layer>, CodecError> {
        self.each(|layer| {
            if self.is_end(layer) {
                self.integers(layer, Bits::MAX)
            } else {
                Ok(Layer::Refined)
            }
        })
    }

    /// Packs with the bits per layer that lose the least within `bytes`.
    fn fit(&self, bytes: usize) -> Result<Encoded, CodecError> {
        let mut tensors = Vec::new();
        for (weight, rounding) in self.weights.layers.iter().zip(self.quantizers) {
            let tensor = weight.values();
            let quantizer = &*rounding.quantizer;
            tensors.push(FitTensor {
                offset: weight.range.start,
                weight: 1.0 / energy(&tensor, quantizer)?,
                bits: None,
                tensor,
                quantizer,
            });
        }
        let fitted = fit(self.file, &tensors, &self.others(), &FitConfig::new(bytes))?;
        let layers: Vec<Layer> = fitted.tensors.into_iter().map(Layer::Integers).collect();
        self.encoded(fitted.packed, &layers, &[])
    }

    /// The refined layers in the order of the file.
    fn in_file_order(&self, layers: &[Layer]) -> Vec<&Weight> {
        let layers = self.weights.layers.iter().zip(layers);
        let refined = layers.filter(|(_, layer)| matches!(layer, Layer::Refined));
        let mut refined: Vec<&Weight> = refined.map(|(weight, _)| weight).collect();
        refined.sort_by_key(|weight| weight.range.start);
        refined
    }

    fn stream(&self, layers: &[Layer], stop: SurpStop) -> Result<Vec<u8>, CodecError> {
        let refined = self.in_file_order(layers);
        let tensors: Vec<_> = refined.iter().map(|weight| weight.values()).collect();
        let config = SurpConfig {
            seed: self.seed,
            stop,
            ..SurpConfig::default()
        };
        surp_encode(&tensors, &config)
    }

    fn others(&self) -> Vec<Stored<'_>> {
        let others = self.weights.others.iter();
        others.map(|of| stored(of, Storage::Lossless)).collect()
    }

    fn pack(&self, layers: &[Layer], stream: &[u8]) -> Result<Encoded, CodecError> {
        let mut all = self.others();
        for (weight, layer) in self.weights.layers.iter().zip(layers) {
            let storage = match layer {
                Layer::Lossless => Storage::Lossless,
                Layer::Integers(quantized) => Storage::Quantized(quantized),
                Layer::Refined => Storage::Refined,
            };
            all.push(stored(weight, storage));
        }
        let container = pack_refined(self.file, &all, stream)?;
        self.encoded(container, layers, stream)
    }

    /// The container with the file that it must restore, made without it.
    fn encoded(
        &self,
        container: Vec<u8>,
        layers: &[Layer],
        stream: &[u8],
    ) -> Result<Encoded, CodecError> {
        let mut file = self.file.to_vec();
        let mut tensors = Vec::new();
        let all = self.weights.layers.iter().zip(layers);
        for ((weight, layer), rounding) in all.zip(self.quantizers) {
            let (method, bits) = match layer {
                Layer::Lossless => (PackMethod::Lossless, None),
                Layer::Refined => (PackMethod::Refined, None),
                Layer::Integers(quantized) => {
                    fill(&mut file, weight, &quantized.values());
                    (rounding.method, Some(quantized.bits().get()))
                }
            };
            tensors.push(PackedTensor {
                name: weight.name.clone(),
                values: weight.tensor.len(),
                method,
                bits,
            });
        }
        let others = self.weights.others.iter();
        tensors.extend(others.map(|of| PackedTensor {
            name: of.name.clone(),
            values: of.tensor.len(),
            method: PackMethod::Lossless,
            bits: None,
        }));
        if !stream.is_empty() {
            let mut decoder = SurpDecoder::new(stream, &OWN)?;
            while decoder.advance()? {}
            let refined = self.in_file_order(layers);
            for (weight, values) in refined.into_iter().zip(decoder.tensors()) {
                fill(&mut file, weight, &values);
            }
        }
        Ok(Encoded {
            container,
            file,
            tensors,
        })
    }
}

/// The energy of the outputs that a weight makes, in the measure of its quantiser.
fn energy(tensor: &weight_codec::Tensor<'_>, quantizer: &dyn Quantizer) -> Result<f64, CodecError> {
    let channels = tensor.dims[tensor.channel_axis];
    let zeros = vec![0; tensor.values.len()];
    let zeros = Quantized::new(tensor, Bits::MIN, zeros, vec![0.0; channels])?;
    // A weight of zeros has no error to compare.
    Ok(quantizer.error(tensor, &zeros)?.max(f64::MIN_POSITIVE))
}

fn stored<'a>(weight: &'a Weight, storage: Storage<'a>) -> Stored<'a> {
    Stored {
        name: &weight.name,
        range: weight.range.clone(),
        storage,
    }
}

fn fill(file: &mut [u8], weight: &Weight, values: &[f32]) {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    for (place, byte) in file[weight.range.clone()].iter_mut().zip(bytes) {
        *place = byte;
    }
}
