//! The tables and the page of an explanation are complete and safe.

mod markup;

use report::{
    Explanation, GroupSaving, LayerChange, LayerRun, OtherOperators, Remainder, explanation_text,
    render_explanation,
};

fn sample() -> Explanation {
    let group = |name: &str, kept, saved_ns, reason: Option<&str>| GroupSaving {
        name: name.into(),
        channels: 64,
        kept,
        saved_ns,
        before_ns: 80e3,
        predicted_ns: (kept < 64).then_some(41e3),
        uncertainty_ns: 800.0,
        reason: reason.map(str::to_owned),
        ..GroupSaving::default()
    };
    let run = |outputs, ns, kernel: &str| LayerRun {
        ns,
        predicted_ns: Some(29e3),
        inputs: 3,
        outputs,
        kernel: kernel.into(),
        provider: "CPUExecutionProvider".into(),
    };
    Explanation {
        original: "original.onnx".into(),
        pruned: "pruned.onnx".into(),
        device: "kitchen".into(),
        original_ns: 400e3,
        pruned_ns: 360e3,
        ratio: (0.9, 0.89, 0.91).into(),
        passes: 7,
        groups: vec![
            group("kept", 64, 0.0, Some("no channel removed")),
            group("worse", 62, -9e3, Some("wide lost the blocked layout")),
            group("<b>better</b>\u{1b}[2J", 32, 40e3, None),
        ],
        layers: vec![LayerChange {
            name: "conv".into(),
            before: run(64, Some(31e3), "Conv"),
            after: run(32, None, "NchwcConv"),
        }],
        notes: vec!["a <note>".into()],
        others: vec![OtherOperators {
            kind: "ReorderInput".into(),
            count_before: 1,
            count_after: 2,
            before_ns: 1e3,
            after_ns: 2e3,
        }],
        rest: Remainder {
            untouched_ns: 7e3,
            others_ns: -1e3,
            outside_ns: 3e3,
        },
        ..Explanation::default()
    }
}

#[test]
fn the_explanation_has_its_known_form() {
    let page = render_explanation(&sample());
    insta::assert_snapshot!("page", markup::pretty(&page));
    insta::assert_snapshot!("table", explanation_text(&sample()));
}

#[test]
fn the_table_starts_with_the_largest_saving_and_explains_groups_without_one() {
    let text = explanation_text(&sample());
    let position = |needle: &str| {
        text.find(needle)
            .unwrap_or_else(|| panic!("no '{needle}' in\n{text}"))
    };
    assert!(position("better") < position("worse") && position("worse") < position("\nkept"));
    position("0.900x (0.890 to 0.910), 40.0 us saved");
    position("64 \u{2192} 32    41.0 us  40.0 us \u{b1}0.8  100 %");
    position("  no gain: wide lost the blocked layout");
    position("together");
    position("1 \u{2192} 2");
    assert!(
        !text.contains('\u{1b}'),
        "a name must not control the terminal"
    );
}

#[test]
fn a_slower_network_is_reported_as_slower() {
    let mut data = sample();
    (data.pruned_ns, data.ratio) = (500e3, (1.25, 1.2, 1.3).into());
    assert!(explanation_text(&data).contains("100.0 us slower"));
    assert!(render_explanation(&data).contains("<b>Slower</b>"));
    data.ratio = (1.0, 0.98, 1.02).into();
    assert!(render_explanation(&data).contains("<b>As fast</b>"));
}

#[test]
fn the_page_draws_every_group_and_escapes_names() {
    let html = render_explanation(&sample());
    markup::check(&html);
    assert!(!html.contains("<b>better</b>") && html.contains("&lt;b&gt;better"));
    assert_eq!(html.matches("<rect class=\"bar lost\"").count(), 2 + 1);
    assert!(html.contains("lost the blocked layout") && !html.contains("NaN"));
    let nothing = render_explanation(&Explanation::default());
    assert!(nothing.contains("The network has no groups of channels."));
}
