//! Learning a device from whole networks: the ones that the predictor is least certain about are
//! measured, until it is certain enough about all.

use std::time::{Duration, Instant};

use latency::Model;
use latency_model::Predictor;

use crate::error::MeasuringError;
use crate::ratio::MeasuredRatio;
use crate::session::{Effort, Session};

/// The fewest networks. The conformal quantile behind an interval is the largest of the left-out
/// errors up to here, so intervals of fewer samples hold too little.
const FEWEST: usize = 16;

/// Configurations drawn for each network that is measured. The least certain of a dozen lies in
/// the least certain tenth of the space, without being its outermost point.
const DRAWN: usize = 12;

/// Configurations on which it is judged how certain the predictor is: enough that nine in ten of
/// them means nine in ten.
const JUDGED: usize = 64;

/// Networks that are measured together for each device of several, so that all of them are busy
/// to the end.
const PER_DEVICE: usize = 8;

/// Half the width of a predicted interval, relative, below which a prediction is certain enough:
/// about the noise of one measured ratio.
pub const CERTAINTY: f64 = 0.025;

/// How much is learned.
#[derive(Debug, Clone, Copy)]
pub struct Learning {
    /// The most networks that are measured.
    pub most: u64,
    /// Half the width of a predicted interval, relative, at which learning ends.
    pub certainty: f64,
}

/// The configurations of one network that a device is learned from.
pub trait Networks {
    /// The error of the caller.
    type Error: From<MeasuringError>;

    /// Draws `count` configurations at random, as they will be predicted.
    fn draw(&mut self, predictor: &Predictor<'_>, count: usize) -> Vec<Vec<usize>>;

    /// The network of these widths as it is deployed.
    ///
    /// # Errors
    /// When it cannot be built.
    fn model(&mut self, widths: &[usize]) -> Result<Model, Self::Error>;

    /// Called before the first measurement and after each, with how many networks were tried.
    ///
    /// # Errors
    /// Any error ends the learning.
    fn progress(&mut self, session: &Session, tried: u64) -> Result<(), Self::Error>;

    /// Called for a configuration without a valid measurement, which is passed over.
    fn passed_over(&mut self, _widths: &[usize], _reason: &str) {}
}

/// A whole network that was measured.
#[derive(Debug, Clone)]
pub struct Learned {
    /// Its widths.
    pub widths: Vec<usize>,
    /// Its latency over the reference's.
    pub measured: MeasuredRatio,
    /// Its share of the time that measuring took.
    pub took: Duration,
}

/// Measures whole networks and teaches them to `predictor`.
///
/// # Errors
/// When a network cannot be built, the devices fail, or [`Networks::progress`] returns an error.
pub fn learn<N: Networks>(
    session: &mut Session,
    predictor: &mut Predictor<'_>,
    networks: &mut N,
    learning: Learning,
) -> Result<Vec<Learned>, N::Error> {
    // One device measures one network after the other, and each teaches which is the next.
    let at_once = match session.devices() {
        1 => 1,
        devices => devices * PER_DEVICE,
    };
    let mut learned: Vec<Learned> = Vec::new();
    let mut tried = 0;
    networks.progress(session, tried)?;
    while tried < learning.most {
        if learned.len() >= FEWEST {
            let judged = networks.draw(predictor, JUDGED);
            if predictor.is_precise(&judged, learning.certainty) {
                break;
            }
        }
        let count = at_once.min(usize::try_from(learning.most - tried).unwrap_or(usize::MAX));
        let drawn = networks.draw(predictor, count * DRAWN);
        let chosen = predictor.most_uncertain(drawn, count);
        if chosen.is_empty() {
            break;
        }
        let models = chosen.iter().map(|widths| networks.model(widths));
        let models = models.collect::<Result<Vec<_>, _>>()?;
        let clock = Instant::now();
        let measured = session.ratios(models, Effort::Search);
        let took = clock.elapsed() / u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        tried += chosen.len() as u64;
        networks.progress(session, tried)?;
        let before = learned.len();
        for (widths, measured) in chosen.into_iter().zip(measured?) {
            match measured {
                Ok(measured) => learned.push(Learned {
                    widths,
                    measured,
                    took,
                }),
                // One that cannot be measured teaches nothing; the others do.
                Err(MeasuringError::NoMeasurement { reason, .. }) => {
                    networks.passed_over(&widths, &reason);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let fresh = learned[before..].iter();
        predictor
            .learn(fresh.map(|of| (&of.widths[..], of.measured.ratio.value)))
            .map_err(MeasuringError::from)?;
    }
    Ok(learned)
}
