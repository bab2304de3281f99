//! Writes an invented prediction as a page:
//! `cargo run -p report --example sample_prediction FILE.html [large]`.

#[path = "../tests/prediction/sample.rs"]
mod sample;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next();
    let data = if arguments.next().is_some_and(|size| size == "large") {
        sample::sized(200, 60, 120, 90)
    } else {
        sample::resnet20()
    };
    std::fs::write(
        file.unwrap_or_else(|| "prediction.html".to_owned()),
        report::render_prediction(&data),
    )
}
