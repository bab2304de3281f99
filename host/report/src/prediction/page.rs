//! The prediction as a page.

use maud::{Markup, html};

use super::{PredictionReport, groups, header, residuals, staircases, whole};
use crate::html::{document, footer, section};

/// Renders a prediction as one HTML file that needs no other file and no network.
pub fn render_prediction(data: &PredictionReport) -> String {
    let title = format!(
        "{} predicted on {}",
        header::model(data),
        header::device(data)
    );
    let header = header::header(data);
    document(&title, header, main(data), footer(&data.program))
}

fn main(data: &PredictionReport) -> Markup {
    let staircases = staircases::staircases(&data.stairs);
    html! {
        (section("prediction", "Predicted and measured", whole::whole(data)))
        (section("layers", "Residuals by layer", residuals::residuals(data)))
        (section("stairs", "Staircases", staircases))
        (section("groups", "Widths worth having", groups::groups(&data.groups)))
    }
}
