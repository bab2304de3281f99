//! Sources of latencies.

use agent_protocol::{DeviceInfo, Measurement};

use crate::{LatencyError, MeasureRequest};

/// A source of the latencies of one device.
pub trait LatencySource {
    /// Measures the models: returns one [`Measurement`] per model in the request's order, then
    /// one for the reference if there is one.
    ///
    /// A measurement can be [`Verdict::Invalid`](crate::Verdict::Invalid) after the source has
    /// used up its retries.
    ///
    /// # Errors
    /// Fails if nothing could be measured. [`LatencyError::Failed`] and [`LatencyError::Model`]
    /// concern one of the models, and leave the source usable.
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError>;

    /// Looks up the models without measuring: returns one slot per model in the request's order,
    /// then one for the reference if there is one.
    ///
    /// # Errors
    /// Fails if the stored measurements cannot be read.
    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        Ok(vec![None; request.names().count()])
    }

    /// Describes the device.
    fn describe(&self) -> DeviceInfo;
}

impl<S: LatencySource + ?Sized> LatencySource for Box<S> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        (**self).measure(request)
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        (**self).recall(request)
    }

    fn describe(&self) -> DeviceInfo {
        (**self).describe()
    }
}
