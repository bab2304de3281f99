//! How the weights of each layer are rounded.

use std::collections::BTreeMap;

use datasets::Splits;
use onnx_graph::{Graph, fold_batch_norm};
use train::{Gram, Runtime, draw_batches, grams};
use weight_codec::{CodecError, Gptq, GptqConfig, Hessian, Nearest, Quantizer};

use super::open::Opened;
use super::request::{PackForm, PackMethod, PackRequest};
use super::weights::{Weight, Weights};
use crate::error::PipelineError;
use crate::progress::Reporter;

/// Positions of a layer's output at which its inputs are observed.
const ROWS: usize = 20_000;

/// How a layer's weights are rounded.
pub(super) struct Rounding {
    pub quantizer: Box<dyn Quantizer>,
    pub method: PackMethod,
}

/// The roundings of the layers: GPTQ with data, to the nearest without. `trained` is the network,
/// if it was retrained.
pub(super) fn roundings(
    request: &PackRequest,
    (opened, trained): (&Opened, Option<&Graph>),
    weights: &Weights,
    reporter: &mut dyn Reporter,
) -> Result<Vec<Rounding>, PipelineError> {
    let is_rounded = request.form != PackForm::Lossless;
    let mut observed = match &opened.classifier {
        Some(classifier) if is_rounded => {
            let graph = trained.unwrap_or(&classifier.graph);
            observe(request, &opened.name, (graph, &classifier.splits))?
        }
        _ => BTreeMap::new(),
    };
    let mut all = Vec::new();
    for weight in &weights.layers {
        let rounding = Rounding::new(weight, observed.remove(&weight.name));
        all.push(rounding.map_err(|source| PipelineError::codec(&opened.name, source))?);
    }
    if !is_rounded {
        return Ok(all);
    }
    let of_gptq = all.iter().filter(|of| of.method == PackMethod::Gptq);
    let nearest = all.len() - of_gptq.count();
    match &opened.classifier {
        None => reporter.note(
            "weights are rounded to the nearest; with --data, GPTQ loses less and accuracy is measured",
        ),
        Some(_) if nearest > 0 => reporter.note(&format!(
            "{nearest} of {} layers are rounded to the nearest: several layers read their weight, it has too many inputs, or \
             the size of their output is unknown",
            all.len()
        )),
        Some(_) => {}
    }
    Ok(all)
}

/// The Gram matrices of the inputs, by the name of the weight.
fn observe(
    request: &PackRequest,
    model: &str,
    (graph, splits): (&Graph, &Splits),
) -> Result<BTreeMap<String, Gram>, PipelineError> {
    let folded = fold_batch_norm(graph);
    let graph = folded.map_err(|source| PipelineError::Model {
        model: model.to_owned(),
        source,
    })?;
    let device = Runtime::default().device;
    let train = splits.train.as_ref();
    let images = draw_batches(train, &graph, request.images, request.seed, device)?;
    let found = grams(&graph, &images, ROWS, request.seed)?;
    let named = found.into_iter();
    Ok(named
        .map(|(weight, gram)| (graph.value(weight).name.clone(), gram))
        .collect())
}

impl Rounding {
    pub fn nearest() -> Self {
        Self {
            quantizer: Box::new(Nearest),
            method: PackMethod::Nearest,
        }
    }

    fn new(weight: &Weight, gram: Option<Gram>) -> Result<Self, CodecError> {
        let Some(Gram { size, groups }) = gram else {
            return Ok(Self::nearest());
        };
        let hessians = groups.iter().map(|values| Hessian { size, values });
        let hessians: Vec<Hessian> = hessians.collect();
        let gptq = Gptq::new(&weight.name, &hessians, &GptqConfig::default())?;
        Ok(Self {
            quantizer: Box::new(gptq),
            method: PackMethod::Gptq,
        })
    }
}
