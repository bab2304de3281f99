//! Devices that failed or returned in the course of a run.

use measuring::Session;

use crate::error::PipelineError;
use crate::progress::Reporter;
use crate::records::{Key, Records};

/// The lines of a run about its devices, over all its resumptions.
pub(crate) const DEVICE_NEWS: Key<Vec<String>> = Key::new("device-news");

/// The failures of each device that were reported already.
#[derive(Debug, Default)]
pub(crate) struct DeviceNews(Vec<u32>);

impl DeviceNews {
    /// Reports which devices were set aside or returned since the last call, and records it for
    /// the report.
    pub fn report(
        &mut self,
        session: &Session,
        records: &mut Records,
        reporter: &mut dyn Reporter,
    ) -> Result<(), PipelineError> {
        let mut news = Vec::new();
        self.0.resize(session.devices(), 0);
        for (state, reported) in session.states().into_iter().zip(&mut self.0) {
            match &state.set_aside {
                Some(reason) if state.failures > *reported => {
                    news.push(format!("device {} was set aside: {reason}", state.name));
                }
                None if *reported > 0 => {
                    news.push(format!("device {} measures again", state.name));
                }
                _ => {}
            }
            *reported = state.failures;
        }
        if news.is_empty() {
            return Ok(());
        }
        news.iter().for_each(|line| reporter.warn(line));
        let mut all = records.get(&DEVICE_NEWS)?.unwrap_or_default();
        all.extend(news);
        records.finish(&DEVICE_NEWS, &all)
    }
}
