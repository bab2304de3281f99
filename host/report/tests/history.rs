//! The page and the tables of a history are complete and safe.

mod markup;

use report::history::{Estimate, HistoryData, Run, RunVerdict, Series, render, text};

fn run(number: u64, label: &str, latency: f64, change: Option<f64>, verdict: RunVerdict) -> Run {
    let figure = |value: f64, half: f64| Estimate {
        value,
        interval: Some((value - half, value + half)),
    };
    Run {
        unix_s: 1_790_000_000 + number * 86_400,
        label: label.into(),
        sha256: "ab12".repeat(16),
        runtime: "1.30.0".into(),
        baseline: "main".into(),
        latency_ns: (verdict != RunVerdict::Unmeasured).then(|| figure(latency * 1e6, 0.01e6)),
        change: change.map(|value| figure(value, 0.006)),
        processes: 5,
        threshold: 0.03,
        verdict,
        notes: String::new(),
    }
}

fn sample() -> HistoryData {
    let runs = vec![
        run(0, "first", 0.41, None, RunVerdict::NoBaseline),
        run(1, "b", 0.42, Some(0.004), RunVerdict::Fine),
        run(
            2,
            &"0123456789".repeat(4),
            0.45,
            Some(0.071),
            RunVerdict::Regressed,
        ),
        run(3, "", 0.0, None, RunVerdict::Unmeasured),
        run(
            4,
            "<script>alert(1)</script>",
            0.39,
            Some(-0.05),
            RunVerdict::Improved,
        ),
    ];
    HistoryData {
        series: vec![Series {
            model: "net & co".into(),
            device: "kitchen".into(),
            device_id: "pi-1".into(),
            setup: "threads=1".into(),
            runs,
        }],
    }
}

#[test]
fn the_history_has_its_known_form() {
    insta::assert_snapshot!("page", markup::pretty(&render(&sample())));
    insta::assert_snapshot!("table", text(&sample()));
}

#[test]
fn every_run_is_drawn_and_listed_with_its_verdict() {
    let page = render(&sample());
    markup::check(&page);
    let check = |needle: &str, wide_and_narrow: usize| {
        assert_eq!(page.matches(needle).count(), wide_and_narrow, "{needle}");
    };
    // Two charts, each for both windows, plus the key in each legend. Runs without a change are
    // missing in the second chart.
    check("class=\"mark slower\"", 6);
    check("class=\"mark faster\"", 6);
    check("class=\"line budget\"", 3);
    for needle in [
        "net &amp; co on kitchen",
        "012345678901<",
        "+7.1 %",
        "+6.5 % to +7.7 %",
        "not measured",
        "title=\"0123456789012345678901234567890123456789\"",
    ] {
        assert!(page.contains(needle), "no {needle}");
    }
    assert!(!page.contains("<script>alert"));
    let text = text(&sample());
    for needle in ["net & co on kitchen (pi-1)", "slower", "faster", "0.4100"] {
        assert!(text.contains(needle), "no {needle} in\n{text}");
    }
}

#[test]
fn missing_data_is_described() {
    let none = HistoryData::default();
    assert!(render(&none).contains("nothing was measured yet"));
    assert!(text(&none).contains("nothing was measured yet"));
    let mut lost = sample();
    lost.series[0].runs = vec![run(0, "a", 0.0, None, RunVerdict::Unmeasured)];
    let page = render(&lost);
    assert!(page.contains("Not measured in any of the runs shown"));
    assert!(page.contains("No run shown was compared"));
    assert!(!page.contains("<svg"));
}

#[test]
fn the_newest_runs_of_a_long_history_are_shown_and_the_others_counted() {
    let mut long = sample();
    long.series[0].runs = (0..230)
        .map(|i| run(i, &format!("run-{i}"), 0.4, Some(0.001), RunVerdict::Fine))
        .collect();
    let page = render(&long);
    assert!(page.contains("30 older runs are not shown"));
    assert!(page.contains(">run-229<") && page.contains(">run-30<"));
    assert!(!page.contains(">run-29<"));
}
