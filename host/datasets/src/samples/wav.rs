//! WAV files for networks over one axis.

use std::io::Seek as _;
use std::path::Path;

use hound::{SampleFormat, WavReader};

use super::arrays::unfit;
use super::wanted::TensorSpec;
use crate::DataError;

/// The length that an input takes: it has one axis longer than one.
pub(super) fn length(input: &TensorSpec) -> Option<usize> {
    let long = input.dims.iter().filter(|&&dim| dim > 1);
    (long.count() <= 1 && !input.integers).then(|| input.size())
}

/// Samples a second of a sound that is whole.
pub(super) fn rate(path: &Path) -> Result<u32, DataError> {
    let reader = open(path)?;
    let spec = reader.spec();
    let size = u64::from(reader.len()) * u64::from(spec.bits_per_sample.div_ceil(8));
    if size == 0 {
        return Err(unfit(path, "it holds no sound"));
    }
    let mut file = reader.into_inner();
    let start = file.stream_position();
    let length = file.get_ref().metadata().map(|of| of.len());
    let io = |error: std::io::Error| DataError::io(path, error);
    let held = length.map_err(io)?.saturating_sub(start.map_err(io)?);
    if held < size {
        let reason = format!("it is cut off: it holds {held} of {size} bytes of its sound");
        return Err(unfit(path, reason));
    }
    Ok(spec.sample_rate)
}

fn open(path: &Path) -> Result<WavReader<std::io::BufReader<std::fs::File>>, DataError> {
    WavReader::open(path)
        .map_err(|e| unfit(path, format!("it is no WAV file that can be read: {e}")))
}

/// Writes the mean of the channels, -1 to 1. A longer sound is cut at the end, a shorter one is
/// followed by silence.
pub(super) fn read(path: &Path, out: &mut [f32]) -> Result<(), DataError> {
    let mut reader = open(path)?;
    let spec = reader.spec();
    let channels = usize::from(spec.channels.max(1));
    let broken = |e: hound::Error| unfit(path, format!("it is cut off: {e}"));
    let most = out.len() * channels;
    let values: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => {
            let samples = reader.samples::<f32>().take(most);
            samples.collect::<Result<_, _>>().map_err(broken)?
        }
        SampleFormat::Int => {
            let scale = 2f32.powi(i32::from(spec.bits_per_sample.max(1)) - 1);
            let samples = reader.samples::<i32>().take(most);
            let samples = samples.map(|sample| sample.map(|value| value as f32 / scale));
            samples.collect::<Result<_, _>>().map_err(broken)?
        }
    };
    out.fill(0.0);
    for (value, frame) in out.iter_mut().zip(values.chunks_exact(channels)) {
        *value = frame.iter().sum::<f32>() / channels as f32;
        if !value.is_finite() {
            return Err(unfit(path, format!("it holds the sample {value}")));
        }
    }
    Ok(())
}
