//! The form of a network for a bare-metal board: all of it in integers, since a board has no
//! floats to compare with. The reference on the host computes what the board does, bit for bit, so
//! none is needed.

use datasets::Splits;
use latency::{Model, Profile};
use onnx_graph::quantize::Scheme;
use train::{Runtime, evaluate, reference_outputs};

use super::candidate::{BATCH, Built, Form, Subject};
use super::request::{QuantizeCandidate, QuantizeRequest, Quantized};
use crate::board::{BoardNeeds, MemoryLimits, outputs_of_reference};
use crate::closeness::closeness;
use crate::error::PipelineError;
use crate::folder::write_atomically;
use crate::model::LoadedModel;

/// Quantises a network for the board of `profile`, and writes it if the gate holds.
pub(super) fn for_board(
    request: &QuantizeRequest,
    profile: &Profile,
    model: &LoadedModel,
    (subject, splits): (&Subject, &Splits),
    original_bytes: usize,
) -> Result<Quantized, PipelineError> {
    let spec = profile.board.clone().unwrap_or_default();
    let form = Form::new(Scheme::default());
    let Built { graph, bytes, .. } = subject.build(&form)?;
    let needs = BoardNeeds::of(&graph, &spec, &model.name)?;
    let limits = MemoryLimits::of_profile(&spec);
    let stated = [Some(needs.words(&limits)), needs.unknown(&limits)];
    let (search, test) = (splits.search.as_ref(), splits.test.as_ref());
    let runtime = Runtime::default();
    let indices: Vec<usize> = (0..request.gate.images.min(search.len())).collect();
    let (images, expected) = reference_outputs(&subject.graph, search, &indices, runtime)?;
    let network = Model::new(&model.name[..], &bytes[..]);
    let outputs = outputs_of_reference((&network, &graph), &images)?;
    let close = closeness(&outputs, &expected, model.classes);
    let refused = request.gate.refused(close, indices.len());
    let is_written = refused.is_none();
    let original = evaluate(&subject.graph, test, BATCH, runtime)?;
    let mut answer = Quantized {
        model: model.name.clone(),
        device: profile.name.clone(),
        ranges: request.ranges.to_string(),
        candidates: vec![QuantizeCandidate {
            name: form.name(),
            ratio: None,
            agreement: Some(close.agreement),
            sqnr_db: Some(close.sqnr_db),
            sqnr_to_host_db: None,
            refused,
        }],
        chosen: is_written.then_some(0),
        file: None,
        original_ns: None,
        original_accuracy: original.share(),
        accuracy: None,
        test_images: original.total,
        original_bytes,
        bytes: None,
        board: Some(stated.into_iter().flatten().collect::<Vec<_>>().join("; ")),
    };
    if is_written {
        answer.accuracy = Some(evaluate(&graph, test, BATCH, runtime)?.share());
        write_atomically(&request.out, &bytes)?;
        answer.bytes = Some(bytes.len());
        answer.file = Some(request.out.clone());
    }
    Ok(answer)
}
