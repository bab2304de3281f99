//! A report is complete, well-formed and safe.

mod markup;
mod sample;

use agent_protocol::stats::Interval;
use report::{Candidate, Group, ReportData, Role, Row, Verdict, render, text_table};
use sample::{run, run_by_two, small};

#[test]
fn the_report_has_its_known_form() {
    insta::assert_snapshot!("page", markup::pretty(&render(&small())));
    insta::assert_snapshot!("table", text_table(&run_by_two()));
}

#[test]
fn a_full_report_is_well_formed_and_has_every_chart() {
    let html = render(&run());
    let tags = markup::check(&html);
    assert_eq!(tags.iter().filter(|t| *t == "figcaption").count(), 7);
    for id in [
        "front",
        "rewards",
        "device-time",
        "widths",
        "distribution",
        "macs",
        "prediction",
    ] {
        assert!(
            html.contains(&format!("<figure class=\"chart\" id=\"{id}\">")),
            "no chart {id}"
        );
    }
    assert_eq!(tags.iter().filter(|t| *t == "desc").count(), 14);
    assert!(!html.contains("NaN") && !html.contains("inf\""));
}

#[test]
fn the_page_contains_every_figure_of_the_data() {
    let data = run();
    let html = render(&data);
    let expect = |text: &str| assert!(html.contains(text), "'{text}' is missing");
    for row in &data.rows {
        expect(&row.label);
        for accuracy in [row.test_accuracy, row.search_accuracy]
            .into_iter()
            .flatten()
        {
            expect(&format!("{:.2} %", accuracy * 100.0));
        }
        for count in [row.macs, row.parameters, row.bytes].into_iter().flatten() {
            let digits = count.to_string();
            let tail = &digits[digits.len() - 3..];
            expect(&format!(
                "{},{tail}",
                &digits[digits.len() - 6..digits.len() - 3]
            ));
        }
        let latency = row.latency.as_ref().unwrap();
        for ns in [latency.median_ns, latency.low_ns, latency.high_ns] {
            expect(&format!("{:.3}", ns / 1e6));
        }
        for ratio in [latency.ratio, latency.ratio_low, latency.ratio_high]
            .into_iter()
            .flatten()
        {
            expect(&format!("{ratio:.3}"));
        }
        expect(&format!(
            "<td>{},{:03}</td>",
            latency.samples_ns.len() / 1000,
            latency.samples_ns.len() % 1000
        ));
    }
    for candidate in &data.candidates {
        let Interval { value, low, high } = candidate.latency_ratio.unwrap();
        expect(&format!("{value:.3} ({low:.3} to {high:.3})"));
        expect(&format!("{:.2} %", candidate.accuracy * 100.0));
        expect(
            &candidate
                .widths
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    for group in &data.groups {
        expect(&group.name);
        expect(&format!("{} / {}", group.kept, group.channels));
    }
    for fact in &data.evidence.facts {
        expect(&fact.name);
        expect(&fact.value);
    }
    for text in [
        "166 valid, 2 invalid",
        "CPUExecutionProvider: 31 nodes",
        "3.9 of 2 cores busy",
        "48.23 MB",
        "2026-11-23 19:44:20 UTC",
        "47 min 51 s",
    ] {
        expect(text);
    }
    expect("episodes = 160");
    expect(&data.warnings[0]);
}

#[test]
fn an_empty_report_lists_what_was_not_run() {
    let html = render(&ReportData::default());
    markup::check(&html);
    for text in [
        "Not finished",
        "Not run: no network",
        "Not run: there are no episodes",
        "Not measured: there are no samples",
        "Not recorded",
    ] {
        assert!(html.contains(text), "'{text}' is missing");
    }
    assert!(text_table(&ReportData::default()).contains("not run"));
}

#[test]
fn an_original_that_does_not_fit_has_no_latency_and_ratios_are_to_its_stand_in() {
    let mut data = run();
    data.rows[0].latency = None;
    data.rows[0].does_not_fit = true;
    data.budget.latency_ns = Some(8e6);
    let stand_in = "the original at 0.75 of its widths";
    data.evidence.reference = Some(stand_in.into());
    let html = render(&data);
    markup::check(&html);
    for text in [
        "<td>does not fit</td>",
        "latency \u{2264} 8 ms",
        "ratios are relative to the original at 0.75 of its widths, measured",
        "measured latency, relative to the original at 0.75 of its widths",
        "MACs, relative to the original<",
    ] {
        assert!(html.contains(text), "'{text}' is missing");
    }
    assert!(!html.contains("Latency, relative to the original"));
    let text = text_table(&data);
    assert!(text.contains("does not fit"), "{text}");
    let line = format!("Ratios are to {stand_in}: the original does not fit the device.\n");
    assert!(text.contains(&line), "{text}");
}

#[test]
fn missing_and_absurd_values_do_not_break_the_page() {
    let mut data = run();
    for (index, row) in data.rows.iter_mut().enumerate() {
        match index % 4 {
            0 => row.latency = None,
            1 => row.macs = Some(0),
            2 => row.latency.as_mut().unwrap().samples_ns = vec![5, 5, 5],
            _ => {
                *row = Row {
                    label: String::new(),
                    ..Row::default()
                }
            }
        }
    }
    for (index, candidate) in data.candidates.iter_mut().enumerate() {
        match index % 6 {
            0 => candidate.accuracy = f64::NAN,
            1 => candidate.latency_ratio = Some((f64::INFINITY, 0.0, f64::NAN).into()),
            2 => candidate.reward = f64::NEG_INFINITY,
            3 => *candidate = Candidate::default(),
            _ => candidate.macs = u64::MAX,
        }
    }
    data.groups.push(Group {
        name: "none".into(),
        channels: 0,
        kept: 0,
    });
    data.budget.latency_ratio = Some(f64::NAN);
    data.header.started_unix_s = Some(u64::MAX);
    data.header.duration_s = Some(f64::NAN);
    for part in [
        data.clone(),
        ReportData {
            rows: Vec::new(),
            ..data.clone()
        },
        ReportData {
            candidates: data.candidates[..1].to_vec(),
            ..data
        },
    ] {
        let html = render(&part);
        markup::check(&html);
        assert!(
            !html.contains("\"NaN") && !html.contains("\"inf"),
            "a coordinate is not a number"
        );
        text_table(&part);
    }
}

#[test]
fn untrusted_names_neither_become_markup_nor_control_a_terminal() {
    let evil = "</script><img src=x onerror=alert(1)>\"'><!--\u{1b}[31m\u{202e}";
    let json = serde_json::to_string(&run_by_two()).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    replace_texts(&mut value, evil);
    let mut data: ReportData = serde_json::from_value(value).unwrap();
    data.verdict = Verdict::NotMet(evil.into());
    let html = render(&data);
    let tags = markup::check(&html);
    assert!(!tags.iter().any(|tag| tag == "img"));
    assert_eq!(tags.iter().filter(|tag| *tag == "script").count(), 1);
    assert_eq!(html.matches("<!").count(), 1, "only the doctype");
    assert!(!html.contains('\u{202e}') && !html.contains('\u{1b}'));
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    let text = text_table(&data);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
}

/// Replaces every text except the names of variants.
fn replace_texts(value: &mut serde_json::Value, evil: &str) {
    match value {
        serde_json::Value::String(text) => *text = evil.to_owned(),
        serde_json::Value::Array(items) => {
            items.iter_mut().for_each(|item| replace_texts(item, evil))
        }
        serde_json::Value::Object(map) => {
            map.iter_mut()
                .filter(|(key, _)| *key != "role" && *key != "kind")
                .for_each(|(_, item)| replace_texts(item, evil));
        }
        _ => {}
    }
}

#[test]
fn a_run_on_several_devices_compares_them() {
    let data = run_by_two();
    let html = render(&data);
    markup::check(&html);
    for text in [
        "on shelf",
        "check on window",
        "1.019",
        "differs from the others",
        "set aside: the cable was pulled",
        "Cortex-A76",
    ] {
        assert!(html.contains(text), "'{text}' is missing");
    }
    let table = text_table(&data);
    assert!(
        table.contains("pruned on shelf") && table.contains("  check on window"),
        "{table}"
    );
    // A single device is not repeated in every row.
    let alone = render(&run());
    assert!(!alone.contains("check on") && !alone.contains("original to itself"));
}

#[test]
fn the_page_fetches_nothing() {
    let html = render(&run());
    assert!(html.contains("default-src 'none'"));
    for part in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(part), "{part}");
    }
}

#[test]
fn report_data_survives_json_and_missing_fields() {
    let mut data = run();
    data.candidates[0].reward = f64::NAN;
    data.candidates[1].accuracy = f64::NAN;
    let json = serde_json::to_string(&data).unwrap();
    let back: ReportData = serde_json::from_str(&json).unwrap();
    // Pages are compared because JSON may change the last bit of a number, and NaN != NaN.
    assert!(render(&back) == render(&data));
    let text = r#"{"candidates":[{"latency_ratio":[0.7,0.69,0.72]}]}"#;
    let stored: ReportData = serde_json::from_str(text).unwrap();
    let ratio = Interval::from((0.7, 0.69, 0.72));
    assert_eq!(stored.candidates[0].latency_ratio, Some(ratio));
    let json = serde_json::to_string(&stored).unwrap();
    assert!(json.contains(r#""latency_ratio":[0.7,0.69,0.72]"#));
    assert_eq!(
        serde_json::from_str::<ReportData>("{}").unwrap(),
        ReportData::default()
    );
}

#[test]
fn the_columns_of_the_table_are_aligned() {
    let text = text_table(&run());
    let lines: Vec<&str> = text.lines().collect();
    let width = lines[0].chars().count();
    assert!(
        lines[2..6].iter().all(|line| line.chars().count() == width),
        "\n{text}"
    );
    for part in [
        "91.60 %",
        "1.492 ms [1.483, 1.502]",
        "0.679 [0.673, 0.687]",
        "40.81 M",
        "640,114",
        "Budget met",
    ] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    let mut data = run();
    data.rows.retain(|row| row.role == Role::Original);
    data.verdict = Verdict::Unfinished;
    assert!(text_table(&data).contains("not finished"));
}
