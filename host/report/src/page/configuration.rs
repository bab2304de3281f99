//! The configuration of the run.

use maud::{Markup, html};

use crate::data::ReportData;
use crate::html::none;

pub(super) fn configuration(data: &ReportData) -> Markup {
    html! {
        @if data.config.is_empty() {
            (none("Not recorded."))
        } @else {
            details {
                summary { "The run's configuration" }
                pre tabindex="0" { code { (data.config) } }
            }
        }
    }
}
