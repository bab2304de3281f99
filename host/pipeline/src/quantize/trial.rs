//! The forms of one network in integers on one device.

use datasets::Dataset;
use latency::stats::Interval;
use measuring::{FinalRatio, MeasuringError, Session};
use onnx_graph::quantize::Scheme;
use train::{Runtime, reference_outputs};

use super::candidate::{Built, Form, Subject, schemes};
use super::request::{Gate, QuantizeCandidate};
use crate::closeness::{Closeness, HOST_SQNR_DB, closeness};
use crate::error::PipelineError;
use crate::on_device::{Feed, outputs_on_device};
use crate::progress::{Reporter, StopFlag};

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

/// The forms of one network on one device.
pub(crate) struct Trial<'a> {
    pub subject: &'a Subject,
    /// The search split.
    pub search: &'a dyn Dataset,
    pub feed: Feed,
    pub classes: usize,
    pub gate: Gate,
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
        let built = self.subject.build(&Form::new(scheme))?;
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
        let outputs = outputs_on_device(self.session, &built.model, &images.pixels, self.feed)?;
        let (_, host) =
            reference_outputs(&built.graph, self.search, &images.indices, self.runtime)?;
        let to = |expected: &[f32]| closeness(&outputs, expected, self.classes);
        Ok((to(&images.expected), to(&host)))
    }

    /// Measures all schemes; then, from the fastest one, parts in floats, each kept if it is
    /// faster so beyond noise. `bits` are those of weights. Returns the fastest form with its
    /// latency over that of floats.
    pub fn measure_all(&mut self, bits: u8) -> Result<Option<(Interval, Form)>, PipelineError> {
        let parts = self.subject.parts();
        let steps = schemes(bits).len() + parts.len();
        self.reporter.begin("forms in integers", 0, steps as u64);
        let mut best: Option<(Interval, Form)> = None;
        for scheme in schemes(bits) {
            let form = Form::new(scheme);
            let Some(ratio) = self.measure(&form)? else {
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
            if let Some(ratio) = self.measure(&form)?.filter(|ratio| ratio.met_below(least)) {
                best = Some((ratio, form));
            }
        }
        let count = self.tried.len();
        self.reporter
            .end(&format!("{count} forms in integers measured"));
        Ok(best)
    }

    /// The latency of a form over that of floats; `None` without a valid measurement.
    fn measure(&mut self, form: &Form) -> Result<Option<Interval>, PipelineError> {
        if self.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let built = self.subject.build(form)?;
        let (measured, refused) = match self.session.final_ratio(built.model) {
            Ok(FinalRatio { ratio, .. }) => (Some(ratio), None),
            Err(error @ MeasuringError::NoMeasurement { .. }) => (None, Some(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let ratio = measured.as_ref().map(|m| m.ratio);
        let candidate = QuantizeCandidate {
            name: form.name(),
            ratio,
            agreement: None,
            sqnr_db: None,
            sqnr_to_host_db: None,
            refused,
        };
        let figure = ratio.map_or("not measured".into(), |r| format!("{:.3}x", r.value));
        let detail = format!("{figure} {}", candidate.name);
        self.tried.push(Tried {
            form: form.clone(),
            candidate,
            reference_ns: measured.map(|m| m.reference_ns),
        });
        self.reporter.step(self.tried.len() as u64, &detail);
        Ok(ratio)
    }

    /// Compares the forms with the network in floats, the fastest first, and returns the first
    /// that computes nearly the same.
    pub fn choose(&mut self) -> Result<Option<(usize, Built)>, PipelineError> {
        let ratio = |t: &Tried| t.candidate.ratio;
        let mut order: Vec<usize> = (0..self.tried.len()).collect();
        order.retain(|&i| ratio(&self.tried[i]).is_some_and(|r| r.met_below(1.0)));
        let value = |i: usize| ratio(&self.tried[i]).map_or(f64::INFINITY, |r| r.value);
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let images = self.images(self.gate.images)?;
        for index in order {
            if self.stop.is_set() {
                return Err(PipelineError::Stopped);
            }
            let built = self.subject.build(&self.tried[index].form)?;
            let closeness = self.closeness(&built, &images)?;
            let refused = self.refused(closeness, images.indices.len());
            let candidate = &mut self.tried[index].candidate;
            let (of_floats, of_host) = closeness;
            candidate.agreement = Some(of_floats.agreement);
            candidate.sqnr_db = Some(of_floats.sqnr_db);
            candidate.sqnr_to_host_db = Some(of_host.sqnr_db);
            candidate.refused = refused;
            if candidate.refused.is_none() {
                return Ok(Some((index, built)));
            }
        }
        Ok(None)
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
