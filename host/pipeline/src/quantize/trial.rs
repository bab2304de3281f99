//! The forms of one network in integers on one device.

use datasets::Dataset;
use latency::stats::Interval;
use measuring::{FinalRatio, MeasuredRatio, MeasuringError, Session};
use onnx_graph::Graph;
use onnx_graph::quantize::Scheme;
use train::{Runtime, reference_outputs};

use super::candidate::{Built, Form, Integers, Subject, WeightBits};
use super::request::{Gate, QuantizeCandidate};
use crate::closeness::{Closeness, HOST_SQNR_DB, closeness};
use crate::error::PipelineError;
use crate::on_device::{Feed, outputs_on_device};
use crate::progress::{Reporter, StopFlag};
use crate::tuning::{Networks, Tuning};

/// Images on which the device is probed.
const PROBED: usize = 50;

/// A form that was measured.
pub(crate) struct Tried {
    pub form: Form,
    pub candidate: QuantizeCandidate,
    /// Latency of the network in floats next to it, nanoseconds.
    pub reference_ns: Option<f64>,
}

/// Images of the search split, and what the network in floats makes of them.
struct Images {
    indices: Vec<usize>,
    pixels: Vec<f32>,
    expected: Vec<f32>,
}

/// Training of a form that calibration alone does not hold.
#[derive(Clone, Copy)]
pub(crate) struct Training<'a> {
    pub tuning: &'a Tuning<'a>,
    /// The network in floats.
    pub teacher: &'a Graph,
}

impl Training<'_> {
    /// Trains a form of the network, from its weights in floats.
    pub fn run(
        &self,
        (subject, form): (&Subject, &Built),
        reporter: &mut dyn Reporter,
    ) -> Result<Graph, PipelineError> {
        let networks = Networks {
            student: &form.graph,
            floats: Some(&subject.graph),
            teacher: self.teacher,
        };
        let stage = "quantisation-aware training";
        self.tuning.run(stage, networks, reporter)
    }
}

/// The forms of one network on one device.
pub(crate) struct Trial<'a> {
    pub subject: &'a Subject,
    /// The search split.
    pub search: &'a dyn Dataset,
    pub feed: Feed,
    pub classes: usize,
    pub gate: Gate,
    pub training: Option<Training<'a>>,
    pub runtime: Runtime,
    pub session: &'a mut Session,
    pub stop: &'a StopFlag,
    pub reporter: &'a mut dyn Reporter,
    pub tried: Vec<Tried>,
}

impl Trial<'_> {
    /// The bits of weights whose products with unsigned activations the device adds up exactly.
    pub fn weight_bits(&mut self) -> Result<u8, PipelineError> {
        let full = Scheme::default();
        let reduced = Scheme {
            weight_bits: 7,
            ..full
        };
        let images = self.images(PROBED)?;
        let host = self.probe(full, &images)?;
        if host >= HOST_SQNR_DB {
            return Ok(full.weight_bits);
        }
        let of_reduced = self.probe(reduced, &images)?;
        if of_reduced <= host {
            return Ok(full.weight_bits);
        }
        self.reporter.note(&format!(
            "the device cuts off sums of 8-bit products: its outputs are {host:.1} dB above their distance from the \
             host's, and {of_reduced:.1} dB with 7-bit weights, which are used"
        ));
        Ok(reduced.weight_bits)
    }

    /// The ratio of a scheme's outputs on the device to their distance from the host's, decibels.
    fn probe(&mut self, scheme: Scheme, images: &Images) -> Result<f64, PipelineError> {
        let built = self.subject.build(&Form::Integers(Integers::new(scheme)))?;
        let (_, host) = self.closeness(&built, images)?;
        Ok(host.sqnr_db)
    }

    fn images(&self, count: usize) -> Result<Images, PipelineError> {
        let indices: Vec<usize> = (0..count.min(self.search.len())).collect();
        let (pixels, expected) =
            reference_outputs(&self.subject.graph, self.search, &indices, self.runtime)?;
        Ok(Images {
            indices,
            pixels,
            expected,
        })
    }

    /// The closeness of a form's outputs on the device to those of the network in floats, and to
    /// its own on the host.
    fn closeness(
        &mut self,
        built: &Built,
        images: &Images,
    ) -> Result<(Closeness, Closeness), PipelineError> {
        let outputs = outputs_on_device(self.session, &built.compared, &images.pixels, self.feed)?;
        let (_, host) =
            reference_outputs(&built.graph, self.search, &images.indices, self.runtime)?;
        let to = |expected: &[f32]| closeness(&outputs, expected, self.classes);
        Ok((to(&images.expected), to(&host)))
    }

    /// Measures all schemes; then, from the fastest one, parts in floats, each kept if it is
    /// faster so beyond noise. Returns the fastest form with its latency over that of floats.
    pub fn measure_all(
        &mut self,
        bits: WeightBits,
    ) -> Result<Option<(Interval, Integers)>, PipelineError> {
        let (forms, parts) = (self.subject.forms(bits), self.subject.parts());
        let steps = forms.len() + parts.len();
        self.reporter.begin("forms in integers", 0, steps as u64);
        let mut best: Option<(Interval, Integers)> = None;
        for form in forms {
            let Some(ratio) = self.measure(&Form::Integers(form.clone()))? else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(least, _)| ratio.value < least.value)
            {
                best = Some((ratio, form));
            }
        }
        for part in &parts {
            let Some((least, form)) = &best else { break };
            let (least, form) = (least.value, form.without(part));
            let ratio = self.measure(&Form::Integers(form.clone()))?;
            if let Some(ratio) = ratio.filter(|ratio| ratio.met_below(least)) {
                best = Some((ratio, form));
            }
        }
        let count = self.tried.len();
        self.reporter
            .end(&format!("{count} forms in integers measured"));
        Ok(best)
    }

    /// Measures the network in 16-bit floats, which few runtimes have kernels for.
    pub fn measure_halves(&mut self) -> Result<(), PipelineError> {
        let done = self.tried.len() as u64;
        self.reporter.begin("16-bit floats", done, done + 1);
        let ratio = self.measure(&Form::Halves)?;
        let words = ratio.map_or("not measured".into(), |of| format!("{:.3}x", of.value));
        self.reporter.end(&format!("16-bit floats: {words}"));
        Ok(())
    }

    /// The latency of a form over that of floats; `None` without a valid measurement.
    fn measure(&mut self, form: &Form) -> Result<Option<Interval>, PipelineError> {
        if self.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let built = match self.subject.build(form) {
            // An operator or a constant that has no such form.
            Err(PipelineError::Model { source, .. }) if *form == Form::Halves => {
                self.note(form, Err(source.to_string()));
                return Ok(None);
            }
            built => built?,
        };
        let measured = match self.session.final_ratio(built.model) {
            Ok(FinalRatio { ratio, .. }) => Ok(ratio),
            Err(error @ MeasuringError::NoMeasurement { .. }) => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        let ratio = measured.as_ref().ok().map(|m| m.ratio);
        self.note(form, measured);
        Ok(ratio)
    }

    /// Notes a form with its measurement, or with the reason why there is none.
    fn note(&mut self, form: &Form, measured: Result<MeasuredRatio, String>) {
        let ratio = measured.as_ref().ok().map(|m| m.ratio);
        let reference_ns = measured.as_ref().ok().map(|m| m.reference_ns);
        let candidate = QuantizeCandidate {
            name: form.name(),
            ratio,
            agreement: None,
            sqnr_db: None,
            sqnr_to_host_db: None,
            refused: measured.err(),
        };
        let figure = ratio.map_or("not measured".into(), |r| format!("{:.3}x", r.value));
        let detail = format!("{figure} {}", candidate.name);
        self.tried.push(Tried {
            form: form.clone(),
            candidate,
            reference_ns,
        });
        self.reporter.step(self.tried.len() as u64, &detail);
    }

    /// Compares the forms with the network in floats, the fastest first, and returns the first
    /// that computes nearly the same. If faster ones do not, the closest of the fastest is trained
    /// with its rounding, and is the answer if it does then.
    pub fn choose(&mut self) -> Result<Option<(usize, Built)>, PipelineError> {
        let ratio = |t: &Tried| t.candidate.ratio;
        let mut order: Vec<usize> = (0..self.tried.len()).collect();
        order.retain(|&i| ratio(&self.tried[i]).is_some_and(|r| r.met_below(1.0)));
        let value = |i: usize| ratio(&self.tried[i]).map_or(f64::INFINITY, |r| r.value);
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let images = self.images(self.gate.images)?;
        let (mut refused, mut chosen) = (Vec::new(), None);
        for index in order {
            if self.stop.is_set() {
                return Err(PipelineError::Stopped);
            }
            let built = self.subject.build(&self.tried[index].form)?;
            if self.holds(index, &built, &images)? {
                chosen = Some((index, built));
                break;
            }
            refused.push(index);
        }
        if let Some(training) = self.training
            && let Some(index) = self.to_train(&refused)
        {
            let built = self.subject.build(&self.tried[index].form)?;
            let (index, trained) = self.train(training, index, &built)?;
            if self.holds(index, &trained, &images)? {
                return Ok(Some((index, trained)));
            }
        }
        Ok(chosen)
    }

    /// Of the refused forms in integers, the fastest first, the one to train: those that are as
    /// fast as the first one but for noise differ in how close to floats they begin.
    fn to_train(&self, refused: &[usize]) -> Option<usize> {
        let candidate = |&index: &usize| &self.tried[index].candidate;
        let fastest = candidate(refused.first()?).ratio?;
        let as_fast = |index: &usize| {
            let is_in_integers = matches!(self.tried[*index].form, Form::Integers(_));
            let ratio = candidate(index).ratio;
            is_in_integers && ratio.is_some_and(|ratio| ratio.low <= fastest.high)
        };
        let sqnr = |index: &usize| candidate(index).sqnr_db.unwrap_or(f64::NEG_INFINITY);
        let all = refused.iter().copied().filter(as_fast);
        all.max_by(|a, b| sqnr(a).total_cmp(&sqnr(b)))
    }

    /// Whether a form computes nearly the same as floats, which is noted with its figures.
    fn holds(
        &mut self,
        index: usize,
        built: &Built,
        images: &Images,
    ) -> Result<bool, PipelineError> {
        let (of_floats, of_host) = self.closeness(built, images)?;
        let refused = self.refused((of_floats, of_host), images.indices.len());
        let candidate = &mut self.tried[index].candidate;
        candidate.agreement = Some(of_floats.agreement);
        candidate.sqnr_db = Some(of_floats.sqnr_db);
        candidate.sqnr_to_host_db = Some(of_host.sqnr_db);
        candidate.refused = refused;
        Ok(candidate.refused.is_none())
    }

    /// Trains a form with its rounding. It has the latency of the form: that does not depend on
    /// the values of weights.
    fn train(
        &mut self,
        training: Training<'_>,
        index: usize,
        built: &Built,
    ) -> Result<(usize, Built), PipelineError> {
        let graph = training.run((self.subject, built), self.reporter)?;
        let of = &self.tried[index];
        let name = format!("{}; trained", of.candidate.name);
        let built = self.subject.built(name.clone(), graph)?;
        let trained = Tried {
            form: of.form.clone(),
            candidate: QuantizeCandidate {
                name,
                ratio: of.candidate.ratio,
                agreement: None,
                sqnr_db: None,
                sqnr_to_host_db: None,
                refused: None,
            },
            reference_ns: of.reference_ns,
        };
        self.tried.push(trained);
        Ok((self.tried.len() - 1, built))
    }

    /// Why a form of this closeness, to floats and to the host, may not be used.
    fn refused(
        &self,
        (of_floats, of_host): (Closeness, Closeness),
        images: usize,
    ) -> Option<String> {
        let refused = self.gate.refused(of_floats, images);
        if refused.is_some() {
            return refused;
        }
        (of_host.sqnr_db < HOST_SQNR_DB).then(|| {
            format!(
                "the runtime computes something else than the file says: {:.1} dB between device and host",
                of_host.sqnr_db
            )
        })
    }
}
