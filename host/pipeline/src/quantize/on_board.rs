//! The form of a network for a bare-metal board: all of it in integers, since a board has no
//! floats to compare with. The reference on the host computes what the board does, bit for bit, so
//! none is needed.

use datasets::Splits;
use latency::{Model, Profile};
use train::{Runtime, evaluate, reference_outputs};

use super::candidate::{BATCH, Built, Form, Subject, WeightBits};
use super::request::{QuantizeCandidate, QuantizeRequest, Quantized};
use super::trial::Training;
use crate::board::{BoardNeeds, MemoryLimits, outputs_of_reference};
use crate::closeness::{Closeness, closeness};
use crate::error::PipelineError;
use crate::folder::write_named;
use crate::model::LoadedModel;
use crate::progress::Reporter;

/// A network that is quantised for a board.
pub(super) struct ForBoard<'a> {
    pub request: &'a QuantizeRequest,
    pub profile: &'a Profile,
    pub model: &'a LoadedModel,
    pub subject: &'a Subject,
    pub splits: &'a Splits,
    /// Bytes of the network in floats.
    pub original_bytes: usize,
    pub training: Option<Training<'a>>,
}

impl ForBoard<'_> {
    /// Quantises the network, and writes it if the gate holds: trained with its rounding, if
    /// calibration alone does not hold it.
    pub fn run(&self, reporter: &mut dyn Reporter) -> Result<Quantized, PipelineError> {
        let bits = WeightBits::limited(8, self.request.weight_bits);
        let forms = self.subject.forms(bits);
        let form = Form::Integers(forms[0].clone());
        let calibrated = self.subject.build(&form)?;
        let spec = self.profile.board.clone().unwrap_or_default();
        // Training does not change them.
        let needs = BoardNeeds::of(&calibrated.graph, &spec, &self.model.name)?;
        let limits = MemoryLimits::of_profile(&spec);
        let stated = [Some(needs.words(&limits)), needs.unknown(&limits)];
        let needs = stated.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let judged = self.judge(&calibrated)?;
        let mut tried = vec![(form.name(), judged, calibrated)];
        if let (Some(training), Some(_)) = (self.training, &tried[0].1.1) {
            let graph = training.run((self.subject, &tried[0].2), reporter)?;
            let name = format!("{}; trained", form.name());
            let trained = self.subject.built(name.clone(), graph)?;
            tried.push((name, self.judge(&trained)?, trained));
        }
        self.answer(tried, needs)
    }

    /// The closeness to the network in floats, and why it is not close enough.
    fn judge(&self, built: &Built) -> Result<(Closeness, Option<String>), PipelineError> {
        let (search, runtime) = (self.splits.search.as_ref(), Runtime::default());
        let gate = &self.request.gate;
        let indices: Vec<usize> = (0..gate.images.min(search.len())).collect();
        let (images, expected) = reference_outputs(&self.subject.graph, search, &indices, runtime)?;
        let network = Model::new(&self.model.name[..], &built.bytes[..]);
        let outputs = outputs_of_reference((&network, &built.graph), &images)?;
        let close = closeness(&outputs, &expected, self.model.classes);
        Ok((close, gate.refused(close, indices.len())))
    }

    /// The last of what was tried is the answer, if it is close enough.
    fn answer(
        &self,
        tried: Vec<(String, (Closeness, Option<String>), Built)>,
        needs: String,
    ) -> Result<Quantized, PipelineError> {
        let (test, runtime) = (self.splits.test.as_ref(), Runtime::default());
        let candidates = tried
            .iter()
            .map(|(name, (close, refused), _)| QuantizeCandidate {
                name: name.clone(),
                ratio: None,
                agreement: Some(close.agreement),
                sqnr_db: Some(close.sqnr_db),
                sqnr_to_host_db: None,
                refused: refused.clone(),
            });
        let candidates: Vec<QuantizeCandidate> = candidates.collect();
        let chosen = candidates.iter().position(|of| of.refused.is_none());
        let Built { graph, bytes, .. } = &tried[chosen.unwrap_or(0)].2;
        let original = evaluate(&self.subject.graph, test, BATCH, runtime)?;
        let mut answer = Quantized {
            model: self.model.name.clone(),
            device: self.profile.name.clone(),
            ranges: self.request.ranges.to_string(),
            candidates,
            chosen,
            file: None,
            original_ns: None,
            original_accuracy: original.share(),
            accuracy: None,
            test_images: original.total,
            original_bytes: self.original_bytes,
            bytes: None,
            board: Some(needs),
        };
        if chosen.is_some() {
            answer.accuracy = Some(evaluate(graph, test, BATCH, runtime)?.share());
            write_named(&self.request.out, bytes)?;
            answer.bytes = Some(bytes.len());
            answer.file = Some(self.request.out.clone());
        }
        Ok(answer)
    }
}
