//! Work on every device, and on one device of any.

use std::thread;
use std::time::Instant;

use super::answer::PerDevice;
use super::devices::Fleet;
use super::fault::{Fault, no_device_left};
use super::threads::joined;
use crate::{LatencyError, LatencySource, MeasureRequest};

impl<S: LatencySource + Send> Fleet<S> {
    /// Measures all models of a request on every device that is not set aside, at once.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] if every device is lost; others if the host fails.
    pub fn measure_on_each(&mut self, request: &MeasureRequest) -> Result<PerDevice, LatencyError> {
        let present = self.present();
        let outcomes = thread::scope(|scope| {
            let working: Vec<_> = self
                .members
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| present.contains(i))
                .map(|(_, member)| {
                    scope.spawn(move || {
                        let measured = member.source().and_then(|source| source.measure(request));
                        (member, measured)
                    })
                })
                .collect();
            working.into_iter().map(joined).collect::<Vec<_>>()
        });
        let mut results = PerDevice::default();
        for (member, outcome) in outcomes {
            match outcome {
                Ok(measurements) => {
                    member.away = None;
                    results.measured.push((member.name.clone(), measurements));
                }
                Err(error) if Fault::of(&error) == Fault::Host => return Err(error),
                Err(error) => {
                    let is_device = Fault::of(&error) == Fault::Device;
                    if is_device && !matches!(error, LatencyError::Failed(_)) {
                        member.set_aside(&error, &self.config);
                    }
                    results.failed.push((member.name.clone(), error));
                }
            }
        }
        let lost = |(_, error): &(String, LatencyError)| !matches!(error, LatencyError::Failed(_));
        if results.measured.is_empty() && results.failed.iter().all(lost) {
            return Err(no_device_left(results.failed));
        }
        Ok(results)
    }

    /// Runs `task` with the first device that is not set aside, and with the next one if it
    /// fails.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] if every device failed; any other error of `task`.
    pub fn with_device<T>(
        &mut self,
        mut task: impl FnMut(&mut S) -> Result<T, LatencyError>,
    ) -> Result<T, LatencyError> {
        let mut errors = Vec::new();
        for i in self.present() {
            let member = &mut self.members[i];
            match member.source().and_then(&mut task) {
                Ok(value) => {
                    member.away = None;
                    return Ok(value);
                }
                Err(error) if Fault::of(&error) == Fault::Device => {
                    member.set_aside(&error, &self.config);
                    errors.push((i, error));
                }
                Err(error) => return Err(error),
            }
        }
        let name = |i: usize| self.members[i].name.as_str();
        Err(no_device_left(
            errors.into_iter().map(|(i, error)| (name(i), error)),
        ))
    }

    /// The devices that are not set aside, then those due for another attempt; all that are set
    /// aside if there are no others.
    fn present(&self) -> Vec<usize> {
        let now = Instant::now();
        let until = |i: &usize| self.members[*i].away.as_ref().map(|away| away.until);
        let (well, away): (Vec<usize>, Vec<usize>) =
            (0..self.members.len()).partition(|i| until(i).is_none());
        let due: Vec<usize> = away
            .iter()
            .copied()
            .filter(|i| well.is_empty() || until(i).is_some_and(|until| until <= now))
            .collect();
        well.into_iter().chain(due).collect()
    }
}
