//! Results for people: a run's report as one HTML file, as a table for the terminal and as
//! TensorBoard events; the history of a latency guard ([`history`]); the attribution of saved
//! time ([`render_explanation`]); and the accuracy of a prediction ([`render_prediction`]).
//!
//! [`ReportData`] is the content of a report; [`render`] turns it into HTML and [`text_table`]
//! into text. Both are pure. The caller reads the run folder and writes the file.
//!
//! Invariants:
//! - A page is one file. Styles, charts (SVG) and a small script are inline, and its content
//!   security policy forbids all requests. The script only adds hover texts.
//! - All text from the data is escaped; names of models, files and devices are untrusted.
//! - Missing data appears as "not run" or "not measured", never as an error or an empty chart.
//! - Colours follow the reader's preference for light or dark. Every chart is drawn for wide and
//!   for narrow windows, so that its text stays legible.
//!
//! Deliberately absent: reading runs, statistics beyond percentiles and correlations, and judging
//! measurements.

#![forbid(unsafe_code)]

mod charts;
mod data;
pub mod events;
mod explanation;
mod format;
pub mod history;
mod html;
mod page;
mod prediction;
mod svg;
mod table;
mod text;

pub use data::{
    Budget, Candidate, DeviceLine, Evidence, Fact, Group, Header, LatencyFigure, MeasurementLine,
    Metric, Provider, ReportData, Role, Row, RowFigure, SCHEMA, SkippedFiles, Verdict, schema,
};
pub use explanation::{
    Explanation, GroupSaving, LayerChange, LayerRun, OtherOperators, Remainder, explanation_text,
    render_explanation,
};
pub use page::render;
pub use prediction::{
    AskedPoint, GroupSteps, LayerResidual, PredictedPoint, PredictionFit, PredictionReport,
    Staircase, render_prediction,
};
pub use text::text_table;
