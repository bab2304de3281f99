//! What a run found, for people: one HTML file, a table for the terminal, and TensorBoard events; and what a guard over latency
//! found run after run ([`history`]); what became of the time ([`render_explanation`]) and how it was predicted
//! ([`render_prediction`]).
//!
//! [`ReportData`] holds everything the report says, [`render`] turns it into HTML and [`text_table`] into text. Both are
//! pure; the caller reads the run's folder and writes the file.
//!
//! Invariants:
//! - The HTML is one file: styles, charts (SVG) and a little script are inline, and its content security policy forbids any
//!   request. It is complete without the script, which only adds hover texts.
//! - Every text of the data is escaped; names of models, files and devices are taken to be hostile.
//! - Missing data gives "not run" or "not measured", never an error and never an empty chart.
//! - Colours follow the reader's light or dark preference; every chart is drawn twice, for wide and narrow windows, so that
//!   its text stays legible.
//!
//! Deliberately absent: reading of runs, statistics beyond percentiles and a correlation, any judgement about measurements.

#![forbid(unsafe_code)]

mod charts;
mod data;
mod devices;
pub mod events;
mod explanation;
mod format;
pub mod history;
mod html;
mod page;
mod prediction;
mod sections;
mod svg;
mod text;

pub use data::{
    Budget, Candidate, DeviceLine, Evidence, Fact, Group, Header, LatencyFigure, MeasurementLine,
    Provider, ReportData, Role, Row, SkippedFiles, Verdict,
};
pub use explanation::{
    Explanation, GroupSaving, LayerChange, LayerRun, OtherOperators, Remainder, explanation_text,
    render_explanation,
};
pub use page::render;
pub use prediction::{
    AskedPoint, GroupCorners, LayerResidual, PredictedPoint, PredictionFit, PredictionReport,
    Staircase, render_prediction,
};
pub use text::text_table;
