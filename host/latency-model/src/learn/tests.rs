use super::*;
use crate::testing::SeededRng;

const WEIGHTS: [f64; 5] = [0.3, 0.05, 0.25, 0.1, 0.2];

/// A network of five layers of equal cost. Its latency is 0.1 plus WEIGHTS times the layers'
/// shares.
fn sample(rng: &mut SeededRng) -> (Vec<f64>, f64, f64) {
    let shares: Vec<f64> = (0..5).map(|_| 0.2 + 0.8 * rng.unit()).collect();
    let cost = shares.iter().sum::<f64>() * 200.0;
    let ratio = 0.1 + shares.iter().zip(WEIGHTS).map(|(s, w)| s * w).sum::<f64>();
    (shares, cost, ratio)
}

#[test]
fn without_a_regression_the_line_through_both_anchors_predicts() {
    let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
    assert_eq!(model.predict(&[], 500.0), 0.5);
    model.observe([(vec![], 200.0, 0.6)]).unwrap();
    assert!((model.predict(&[], 200.0) - 0.6).abs() < 1e-12);
    assert!((model.predict(&[], 600.0) - 0.8).abs() < 1e-12);
    assert!((model.predict(&[], 1000.0) - 1.0).abs() < 1e-12);
    assert!(model.fit().is_none());
}

#[test]
fn known_coefficients_are_recovered() {
    let mut rng = SeededRng::new(3, 0);
    let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
    for _ in 0..60 {
        let (features, cost, ratio) = sample(&mut rng);
        model.observe([(features, cost, ratio)]).unwrap();
    }
    let fit = *model.fit().unwrap();
    assert!(
        fit.mean_relative_error < 0.005 && fit.spearman > 0.99 && fit.kendall > 0.97,
        "{fit:?}"
    );
    assert!(
        fit.mean_relative_error < 0.2 * fit.line_relative_error,
        "{fit:?}"
    );
    // The line gives every layer the same slope per share; the regression adds the rest.
    let slope = (model.line(1000.0) - model.line(0.0)) / 5.0;
    for (coefficient, weight) in model.coefficients().unwrap().iter().zip(WEIGHTS) {
        assert!(
            (coefficient + slope - weight).abs() < 0.02,
            "{coefficient} + {slope} != {weight}"
        );
    }
    for _ in 0..40 {
        let (features, cost, ratio) = sample(&mut rng);
        assert!((model.predict(&features, cost) - ratio).abs() < 0.01 * ratio);
    }
}

#[test]
fn ranks_survive_noise_in_both_scales() {
    for scale in [Scale::Linear, Scale::Log] {
        let mut rng = SeededRng::new(9, 0);
        let config = LatencyModelConfig {
            scale,
            ..LatencyModelConfig::default()
        };
        let mut model = LatencyModel::new(config, 1000.0).unwrap();
        for _ in 0..50 {
            let (features, cost, ratio) = sample(&mut rng);
            model
                .observe([(features, cost, ratio * (1.0 + 0.02 * rng.normal()))])
                .unwrap();
        }
        let (mut predicted, mut truths) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            let (features, cost, ratio) = sample(&mut rng);
            predicted.push(model.predict(&features, cost));
            truths.push(ratio);
        }
        assert!(spearman(&predicted, &truths) > 0.95, "{scale:?}");
        assert!(
            model.fit().unwrap().mean_relative_error < 0.04,
            "{:?}",
            model.fit()
        );
    }
}

#[test]
fn intervals_cover_95_percent_and_are_as_narrow_as_noise_allows() {
    let (mut covered, mut count, mut width) = (0, 0, 0.0);
    for seed in 0..20 {
        let mut rng = SeededRng::new(seed, 3);
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
        let noisy = |rng: &mut SeededRng| {
            let (features, cost, ratio) = sample(rng);
            (features, cost, ratio + 0.01 * rng.normal())
        };
        for _ in 0..60 {
            let (features, cost, ratio) = noisy(&mut rng);
            model.observe([(features, cost, ratio)]).unwrap();
        }
        for _ in 0..100 {
            let (features, cost, ratio) = noisy(&mut rng);
            let interval = model.predict_interval(&features, cost).unwrap();
            assert!(interval.low <= interval.value && interval.value <= interval.high);
            assert_eq!(interval.value, model.predict(&features, cost));
            covered += usize::from(interval.low <= ratio && ratio <= interval.high);
            width += (interval.high - interval.low) / 2.0;
            count += 1;
        }
    }
    let share = covered as f64 / f64::from(count);
    assert!((0.93..0.985).contains(&share), "{share}");
    // Noise alone takes a half-width of 1.96 x 0.01.
    let mean = width / f64::from(count);
    assert!((0.018..0.026).contains(&mean), "{mean}");
}

#[test]
fn malformed_samples_are_refused_and_a_stored_model_predicts_the_same() {
    let mut rng = SeededRng::new(4, 0);
    let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
    for _ in 0..12 {
        let (features, cost, ratio) = sample(&mut rng);
        model.observe([(features, cost, ratio)]).unwrap();
    }
    assert!(model.observe([(vec![0.5; 5], 500.0, f64::NAN)]).is_err());
    assert!(model.observe([(vec![0.5; 4], 500.0, 0.5)]).is_err());
    assert!(
        model
            .observe([(vec![f64::INFINITY; 5], 500.0, 0.5)])
            .is_err()
    );
    assert!(LatencyModel::new(LatencyModelConfig::default(), 0.0).is_err());
    let stored: LatencyModel =
        serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    assert_eq!(
        stored.predict(&[0.5; 5], 500.0),
        model.predict(&[0.5; 5], 500.0)
    );
}
