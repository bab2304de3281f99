//! JUnit XML, for the test reports of continuous integration.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::text::{interval, ms, sentence};
use crate::summary::{Compared, Summary};
use crate::verdict::{Severity, Verdict};

impl Summary {
    /// Renders JUnit XML: one suite per device, one test case per model.
    ///
    /// # Errors
    /// Fails if the writer fails.
    pub fn junit(&self) -> Result<String, SerializeError> {
        let mut report = Report::new("graphprune bench");
        let mut devices: Vec<&str> = self.all.iter().map(|c| c.device.as_str()).collect();
        devices.dedup();
        for device in devices {
            let mut suite = TestSuite::new(device);
            for compared in self.all.iter().filter(|c| c.device == device) {
                suite.add_test_case(self.case(compared));
            }
            report.add_test_suite(suite);
        }
        if let Some(failure) = &self.failure {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(failure);
            let mut suite = TestSuite::new("graphprune bench");
            suite.add_test_case(TestCase::new("the guard itself", status));
            report.add_test_suite(suite);
        }
        report.to_string()
    }

    fn case(&self, compared: &Compared) -> TestCase {
        let mut status = match compared.verdict.severity() {
            // Measured, and compared with nothing.
            Severity::Success if compared.verdict == Verdict::NoBaseline => {
                TestCaseStatus::skipped()
            }
            Severity::Success => TestCaseStatus::success(),
            Severity::Failure => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Severity::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if !matches!(status, TestCaseStatus::Success { .. }) {
            status.set_message(sentence(compared, self.threshold));
        }
        let mut case = TestCase::new(&compared.model, status);
        case.set_classname(&compared.device);
        case.set_time(Duration::from_secs_f64(compared.seconds));
        let number = |of: Option<usize>| of.map(|n| n.to_string());
        let long = |of: Option<u64>| of.map(|n| n.to_string());
        let properties = [
            ("verdict", Some(compared.verdict.word().to_owned())),
            ("latency_ms", Some(ms(compared.median_ns))),
            ("baseline_ms", Some(ms(compared.baseline_ns))),
            ("change", Some(interval(compared.change.as_ref()))),
            (
                "threshold",
                Some(format!("{:.1} %", self.threshold * 100.0)),
            ),
            ("processes", Some(compared.processes.to_string())),
            ("bytes", number(Some(compared.bytes))),
            ("baseline_bytes", number(compared.baseline_bytes)),
            ("peak_memory_bytes", long(compared.peak_memory_bytes)),
            (
                "baseline_peak_memory_bytes",
                long(compared.baseline_peak_memory_bytes),
            ),
            ("sha256", Some(compared.sha256.clone())),
            ("device", Some(compared.device_id.clone())),
            ("baseline", self.baseline.clone()),
            (
                "label",
                Some(self.label.clone()).filter(|label| !label.is_empty()),
            ),
        ];
        for (name, value) in properties {
            if let Some(value) = value {
                case.add_property((name, value.as_str()));
            }
        }
        case
    }
}
