//! Packing a network for a slow link: its ONNX file in few bytes, which
//! [`unpack`] restores bit by bit.
//!
//! The file is the network's deployed form. Weights in fewer bits change what it computes, so the
//! file that is restored is another one than was packed; that file is what the container is
//! verified against, and what accuracy is measured of.

mod encode;
mod open;
mod request;
mod retrain;
mod rounding;
mod unpack;
mod weights;

use std::time::Instant;

use datasets::Dataset;
use onnx_graph::{Graph, deploy};
use train::{Runtime, classify};

use self::encode::{OWN, Subject};
use self::open::{Classifier, open, read_again};
use self::retrain::{Retraining, with_weights};
use self::rounding::roundings;
use self::weights::Weights;
use crate::error::PipelineError;
use crate::folder::write_named;
use crate::progress::{Reporter, StopFlag};

pub use request::{PackForm, PackMethod, PackQuality, PackRequest, Packed, PackedTensor};
pub use unpack::{Container, UnpackRequest, Unpacked, container, unpack};

/// Images per batch of evaluation.
const BATCH: usize = 100;

/// Packs a network into [`PackRequest::out`]. The container is unpacked and compared bit by bit
/// before it is written.
///
/// # Errors
/// When the network or the data cannot be read or do not fit each other, a weight is not finite,
/// the file cannot be written, or `stop` was set; [`PipelineError::BytesOutOfReach`].
pub fn pack(
    request: &PackRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Packed, PipelineError> {
    let opened = open(request, reporter)?;
    let name = &opened.name;
    let fail = |source| PipelineError::Model {
        model: name.clone(),
        source,
    };
    let deployed = deploy(&opened.graph, None).map_err(fail)?;
    let weights = Weights::of(&deployed);
    let is_refined = request.form.is_refined();
    if is_refined && weights.layers.len() < 3 {
        return Err(PipelineError::UnfitModel {
            model: name.clone(),
            reason: "has no weights between its first and its last layer to refine".into(),
        });
    }
    let clock = Instant::now();
    let retraining = opened.classifier.as_ref();
    let retraining = retraining.filter(|_| is_refined && request.retrain_epochs > 0);
    let retraining = retraining.map(|classifier| Retraining {
        request,
        name,
        classifier,
        stop,
    });
    let trained = match &retraining {
        Some(retraining) => Some(retraining.run(reporter)?),
        None => None,
    };
    let (deployed, weights) = match &trained {
        Some(trained) => {
            let names = weights.layers.iter().map(|weight| &weight.name[..]);
            let graph = with_weights(&opened.graph, trained, names).map_err(fail)?;
            let deployed = deploy(&graph, None).map_err(fail)?;
            let weights = Weights::of(&deployed);
            (deployed, weights)
        }
        None => (deployed, weights),
    };
    let quantizers = roundings(request, (&opened, trained.as_ref()), &weights, reporter)?;
    if stop.is_set() {
        return Err(PipelineError::Stopped);
    }
    let subject = Subject {
        file: &deployed.bytes,
        weights: &weights,
        quantizers: &quantizers,
        seed: request.seed,
    };
    let failed = |source| PipelineError::codec(name, source);
    let encoded = subject.encode(request.form).map_err(failed)?;
    let encode_s = clock.elapsed().as_secs_f64();

    let clock = Instant::now();
    let restored = weight_codec::unpack(&encoded.container, &OWN).map_err(failed)?;
    let decode_s = clock.elapsed().as_secs_f64();
    if restored != encoded.file {
        return Err(PipelineError::NotRestored {
            model: name.clone(),
        });
    }
    let packed = read_again(restored, &request.model.input_sizes).map_err(fail)?;
    if stop.is_set() {
        return Err(PipelineError::Stopped);
    }
    let quality = match &opened.classifier {
        Some(Classifier { graph, splits, .. }) => {
            let (packed, _) = packed.with_open_batch("N").map_err(fail)?;
            Some(quality(graph, &packed, splits.test.as_ref())?)
        }
        None => None,
    };
    let deflated = weight_codec::pack(&deployed.bytes, &[]).map_err(failed)?;
    write_named(&request.out, &encoded.container)?;
    if let Some(retraining) = &retraining {
        retraining.forget()?;
    }
    Ok(Packed {
        model: name.clone(),
        file: request.out.clone(),
        form: request.form,
        model_bytes: deployed.bytes.len(),
        deflated_bytes: deflated.len(),
        bytes: encoded.container.len(),
        tensors: encoded.tensors,
        quality,
        encode_s,
        decode_s,
    })
}

fn quality(
    original: &Graph,
    packed: &Graph,
    test: &dyn Dataset,
) -> Result<PackQuality, PipelineError> {
    let runtime = Runtime::default();
    let before = classify(original, test, BATCH, runtime)?;
    let after = classify(packed, test, BATCH, runtime)?;
    let share = |count: usize| count as f64 / before.len().max(1) as f64;
    let right = |classes: &[usize]| {
        let classes = classes.iter().enumerate();
        share(
            classes
                .filter(|&(image, class)| test.label(image) == *class)
                .count(),
        )
    };
    let same = before.iter().zip(&after).filter(|(a, b)| a == b).count();
    Ok(PackQuality {
        test_images: before.len(),
        original_accuracy: right(&before),
        accuracy: right(&after),
        agreement: share(same),
    })
}
