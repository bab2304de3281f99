//! The page of a prediction is complete, well-formed and safe.

mod markup;
#[path = "prediction/sample.rs"]
mod sample;

use report::{PredictionReport, render_prediction};
use sample::{resnet20, sized};

#[test]
fn the_prediction_has_its_known_form() {
    let page = render_prediction(&sized(2, 1, 3, 2));
    insta::assert_snapshot!("page", markup::pretty(&page));
}

#[test]
fn the_page_contains_every_figure_of_the_data() {
    let data = resnet20();
    let html = render_prediction(&data);
    markup::check(&html);
    let expect = |text: &str| assert!(html.contains(text), "'{text}' is missing");
    for text in [
        "resnet20",
        "kitchen (Cortex-A72), ONNX Runtime 1.30.0, 4 thread(s)",
        "kernels measured alone",
        "The leave-one-out error is 1.5 % on average and 4.2 % at worst, over 40 measured networks",
        "a linear fit to MACs is 8.7 %, that of the plain sum of kernels 7.1 %",
        "Better than MACs",
        "95 % 0.512 to 0.557",
        "within the interval",
        "measured 0.541 (0.536 to 0.547)",
        "0.996",
        "95.0 %",
        "41.3 us",
        "by MACs",
        "The device changed its frequency",
    ] {
        expect(text);
    }
    for point in &data.points {
        expect(&format!("measured {:.3}", point.measured));
        expect(&format!("by MACs {:.3}", point.macs));
    }
    for layer in &data.layers {
        expect(&layer.name);
        expect(&format!("{:.1} us", layer.alone_ns / 1e3));
    }
    for stair in &data.stairs {
        expect(&format!("{} by {}", stair.kernel, stair.axis));
    }
    for group in &data.groups {
        expect(&format!(
            ">{}</td>",
            group
                .edges
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        ));
    }
}

#[test]
fn the_verdict_compares_the_predictor_with_simpler_estimates() {
    let check = |mean: f64, macs: f64, kernels: f64, word: &str| {
        let mut data = resnet20();
        let fit = data.fit.as_mut().unwrap();
        (fit.mean_error, fit.macs_error, fit.kernels_error) = (mean, macs, kernels);
        let html = render_prediction(&data);
        assert!(html.contains(&format!("<b>{word}</b>")), "{word}");
    };
    check(0.01, 0.08, 0.05, "Better than MACs");
    check(0.06, 0.08, 0.05, "No better than kernels alone");
    check(0.09, 0.08, 0.05, "No better than MACs");
    check(f64::NAN, 0.08, 0.05, "Not checked");
}

#[test]
fn methods_of_prediction_differ_in_shape() {
    let html = render_prediction(&resnet20());
    // Two charts, each for both windows, plus the key in the legend. Four of the networks were
    // measured too early for a prediction.
    let check = |mark: &str, count: usize| assert_eq!(html.matches(mark).count(), count, "{mark}");
    check("<circle class=\"dot c0\"", 4 * 36 + 1);
    check("<circle class=\"dot ring c1\"", 4 * 40 + 1);
    check("<path class=\"mark hollow c2\"", 4 * 40 + 1);
}

#[test]
fn edges_are_marked_only_where_no_wider_step_is_as_fast() {
    let mut data = resnet20();
    data.stairs.truncate(1);
    data.stairs[0].steps = vec![(2, 8, 4e3), (10, 12, 9e3), (14, 16, 8e3)];
    let html = render_prediction(&data);
    assert!(html.contains("worth having: 8 16<"));
    assert!(
        html.contains("8 output channels\n")
            && !html.contains("12 output channels\n0.009000 ms\nworth")
    );
}

#[test]
fn untrusted_names_do_not_become_markup() {
    let hostile = "\"><script>alert('x')</script>&\u{202e}\0";
    let mut data = resnet20();
    data.model = hostile.into();
    data.device = hostile.into();
    data.program = hostile.into();
    data.facts[0].name = hostile.into();
    data.facts[0].value = hostile.into();
    data.warnings[0] = hostile.into();
    data.layers[0].name = hostile.into();
    data.layers[0].kernel = hostile.into();
    data.groups[0].name = hostile.into();
    data.stairs[0].kernel = hostile.into();
    data.stairs[0].axis = hostile.into();
    data.stairs[0].layers = vec![hostile.into(); 3];
    let html = render_prediction(&data);
    markup::check(&html);
    assert_eq!(html.matches("<script").count(), 1, "only ours");
    assert!(!html.contains('\u{202e}') && !html.contains('\0'));
    assert!(html.contains("&lt;script&gt;alert('x')"));
}

#[test]
fn missing_data_is_described() {
    let html = render_prediction(&PredictionReport::default());
    markup::check(&html);
    for text in [
        "Not checked",
        "Too few whole networks were measured",
        "Not measured: there is no whole network to compare with.",
        "Not known: too few networks were measured.",
        "Not measured: no layer has a time.",
        "Not measured: no kernel was measured by width.",
        "The network has no groups of channels.",
    ] {
        assert!(html.contains(text), "no '{text}'");
    }
    assert!(!html.contains("<svg"), "no empty chart");
    let mut part = resnet20();
    part.points.clear();
    part.asked.as_mut().unwrap().measured = None;
    part.layers.iter_mut().for_each(|l| l.in_network_ns = None);
    part.stairs[0].points.clear();
    part.stairs[0].steps.clear();
    part.groups[0].edges.clear();
    let html = render_prediction(&part);
    markup::check(&html);
    for text in [
        "was not measured: it is drawn on the diagonal",
        "The device did not report times of operators",
        "0 of 20 layers have both",
        ">Not measured.<",
        ">none found<",
    ] {
        assert!(html.contains(text), "no '{text}'");
    }
}

#[test]
fn absurd_values_do_not_break_the_page() {
    for bad in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -1.0,
        f64::MAX,
    ] {
        let mut data = resnet20();
        let fit = data.fit.as_mut().unwrap();
        (fit.mean_error, fit.max_error, fit.held) = (bad, bad, Some(bad));
        (fit.rank_correlation, fit.macs_error, fit.kernels_error) = (bad, bad, bad);
        data.points[5].measured = bad;
        data.points[6].predicted = Some(bad);
        (data.points[7].kernels, data.points[8].macs) = (bad, bad);
        let asked = data.asked.as_mut().unwrap();
        (asked.low, asked.measured) = (Some(bad), Some((bad, bad, bad).into()));
        (data.layers[0].alone_ns, data.layers[1].in_network_ns) = (bad, Some(bad));
        (data.stairs[0].points[0].1, data.stairs[0].steps[0].2) = (bad, bad);
        data.stairs[1].points = vec![(usize::MAX, bad)];
        data.other_ns = Some(bad);
        markup::check(&render_prediction(&data));
        data.asked.as_mut().unwrap().predicted = bad;
        let html = render_prediction(&data);
        markup::check(&html);
        assert!(!html.contains("NaN"), "{bad}");
    }
}

#[test]
fn the_layers_that_differ_most_are_drawn_and_all_are_listed() {
    let mut data = sized(200, 60, 120, 90);
    data.layers[150].name = "the worst".into();
    data.layers[150].in_network_ns = Some(data.layers[150].alone_ns + 9e6);
    let html = render_prediction(&data);
    markup::check(&html);
    assert!(html.contains("The 40 of 200 layers that differ most"));
    // 40 drawn for both windows, and the key.
    let guesses = html.matches("<rect class=\"bar guess\"").count();
    let measured = html.matches("<rect class=\"bar kept\"").count();
    assert_eq!(guesses + measured, 2 * 40 + 2);
    assert!(html.contains(">the worst</text>"));
    assert_eq!(html.matches("<svg class=\"small\"").count(), 60);
}
