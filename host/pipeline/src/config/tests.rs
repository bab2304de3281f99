//! Reading, writing and checking configurations.

use super::*;

#[test]
fn a_configuration_survives_its_toml() {
    let mut config = RunConfig {
        seed: 7,
        ..RunConfig::default()
    };
    config.budget.latency = Some(LatencyBudget::Ratio(0.7));
    let text = config.to_toml().unwrap();
    assert_eq!(RunConfig::from_toml(&text, None).unwrap(), config);
}

#[test]
fn only_a_network_of_the_zoo_takes_the_built_in_images_unasked() {
    let data = |model: &str, data: &str| {
        let text = format!("model = '{model}'\ndata = '{data}'");
        let config = RunConfig::from_toml(&text, None)?.settled()?;
        Ok::<_, ConfigError>(config.data.unwrap().to_string())
    };
    assert_eq!(data("resnet20", "").unwrap(), "shapes");
    assert_eq!(data("resnet20", "cifar10:x").unwrap(), "cifar10:x");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(data(file, "shapes").unwrap(), "shapes");
    let error = data(file, " ").unwrap_err().to_string();
    for word in [file, "--data", "cifar10:DIR", "folder:DIR", "shapes"] {
        assert!(error.contains(word), "no '{word}' in: {error}");
    }
}

#[test]
fn a_model_is_a_name_or_a_table_with_the_sizes_of_its_inputs() {
    let read = |text: &str| RunConfig::from_toml(text, None).map(|c| c.model);
    assert_eq!(read("model = 'a.onnx'").unwrap(), ModelSpec::new("a.onnx"));
    let text = "[model]\nname = 'a.onnx'\ninput_shapes = ['1x3x8x8', 'mask=1x8']";
    let config = RunConfig::from_toml(text, None).unwrap();
    let sizes = config.model.input_sizes.iter().map(ToString::to_string);
    assert_eq!(sizes.collect::<Vec<_>>(), ["1x3x8x8", "mask=1x8"]);
    let again = RunConfig::from_toml(&config.to_toml().unwrap(), None).unwrap();
    assert_eq!(again, config);
    for (refused, named) in [
        ("[model]\nname = 'a.onnx'\ninput_shapes = ['1x3x']", "1x3x"),
        (
            "[model]\nname = 'a.onnx'\ninput_shape = ['1x3']",
            "input_shape",
        ),
        ("[model]\ninput_shapes = ['1x3']", "name"),
        ("model = 3", "name"),
    ] {
        let error = read(refused).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_share_in_a_file_is_read_and_refused_as_on_the_command_line() {
    let read = |text: &str| {
        let config = RunConfig::from_toml(text, None)?;
        config.check().map(|()| config)
    };
    let check = |text: &str, latency: Option<LatencyBudget>, macs: Option<f64>| {
        let budget = read(text).unwrap().budget;
        assert_eq!((budget.latency, budget.macs), (latency, macs), "{text}");
    };
    check("budget.macs = \"50%\"", None, Some(0.5));
    check("budget.macs = 0.5", None, Some(0.5));
    let seven = Some(LatencyBudget::Ratio(0.7));
    check("budget.latency = \"70%\"", seven, None);
    check("budget.latency = 0.7", seven, None);
    let refused = |text: &str, needles: &[&str]| {
        let error = read(text).unwrap_err().to_string();
        for needle in needles {
            assert!(error.contains(needle), "{text}: no '{needle}' in {error}");
        }
    };
    refused(
        "budget.macs = 1",
        &["budget.macs", "not below the original's"],
    );
    refused("budget.macs = 50", &["budget.macs", "write 50%"]);
    refused("budget.macs = nan", &["budget.macs"]);
    refused("budget.latency = \"1x\"", &["budget.latency", "not below"]);
    refused("budget.latency = 3", &["latency", "`3`"]);
    for key in shares::KEYS {
        refused(&format!("{} = 3", key.key), &[key.key, "write 3%"]);
    }
    // What a run has written is not judged again.
    let old = RunConfig::stored("budget.macs = 1.0\nknowledge.sure = 2.0", "c.toml".into());
    assert!(old.unwrap().check_stored().is_ok());
}

#[test]
fn an_unknown_key_and_a_missing_budget_are_errors() {
    assert!(
        RunConfig::from_toml("sede = 1", None)
            .unwrap_err()
            .to_string()
            .contains("sede")
    );
    assert!(matches!(
        RunConfig::default().check(),
        Err(ConfigError::Value { key: "budget", .. })
    ));
}

#[test]
fn specifications_are_parsed_when_the_configuration_is_read() {
    let read = |text: &str| RunConfig::from_toml(text, None);
    for (text, needle) in [
        ("data = 'photos'", "'photos' is no kind of data"),
        ("device = ' , '", "no device is named"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(needle), "{text}: {error}");
    }
    let text =
        "measurements = 'user'\ndata = 'shapes:train=9'\ndevice = 'a, b'\nmodel = 'vgg.onnx'";
    let config = read(text).unwrap();
    assert_eq!(config.measurements, StorePlace::User);
    assert_eq!(config.data.as_ref().unwrap().train, Some(9));
    assert_eq!(config.model.source(), &ModelSource::File("vgg.onnx".into()));
    let written = config.to_toml().unwrap();
    for line in text.lines() {
        assert!(
            written.contains(&line.replace('\'', "\"")),
            "{line}: {written}"
        );
    }
}
