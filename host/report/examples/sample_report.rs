//! Writes the report of an invented run: `cargo run -p report --example sample_report FILE.html`.

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> std::io::Result<()> {
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "report.html".to_owned());
    let data = sample::run();
    print!("{}", report::text_table(&data));
    std::fs::write(file, report::render(&data))
}
