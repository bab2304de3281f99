//! JUnit XML, for the test reports of continuous integration.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::text::sentence;
use crate::summary::{Compared, Summary};
use crate::verdict::Severity;

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
            Severity::Success => TestCaseStatus::success(),
            Severity::Failure => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Severity::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if compared.verdict.severity() != Severity::Success {
            status.set_message(sentence(compared, self.threshold));
        }
        let mut case = TestCase::new(&compared.model, status);
        case.set_classname(&compared.device);
        if let Some(ns) = compared.median_ns {
            case.set_time(Duration::from_nanos(ns as u64));
        }
        case
    }
}
