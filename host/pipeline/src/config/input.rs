//! How images become the network's input, as a configuration has it.

use std::fmt;

use datasets::{DataError, Preprocessing};
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize as _, Deserializer, de};

use super::ConfigError;

/// Reads the table `input`, or the name of a preset in its place.
pub(super) fn table_or_preset<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Preprocessing, D::Error> {
    deserializer.deserialize_any(Visitor)
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Preprocessing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or the name of a preset")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Preprocessing, E> {
        let preset: datasets::Preset = name.parse().map_err(E::custom)?;
        Ok(preset.into())
    }

    fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<Preprocessing, M::Error> {
        Preprocessing::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Checks the settings, by their keys in the configuration.
pub(super) fn check(input: &Preprocessing) -> Result<(), ConfigError> {
    input.check().map_err(|error| match error {
        DataError::Option { option, reason } => {
            ConfigError::value("input", format!("{option}: {reason}"))
        }
        other => ConfigError::value("input", other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use datasets::{ChannelOrder, Preprocessing, Preset, Resize};

    use crate::config::RunConfig;

    #[test]
    fn the_input_is_a_table_or_a_preset_and_the_old_key_is_read() {
        let read = |text: &str| RunConfig::from_toml(text, None).map(|config| config.input);
        let half: Preprocessing = Preset::Half.into();
        for text in [
            "input = 'half'",
            "normalise = 'half'",
            "[input]\npreset = 'half'",
        ] {
            assert_eq!(read(text).unwrap(), half, "{text}");
            let old = RunConfig::stored(text, "config.toml".into()).unwrap();
            assert_eq!(old.input, half, "{text}");
        }
        let text = "[input]\nscale = 1\nmean = [104.0, 117.0, 123.0]\norder = 'bgr'\nresize = 256";
        let config = RunConfig::from_toml(text, None).unwrap();
        assert_eq!(config.input.order, ChannelOrder::Bgr);
        assert_eq!(config.input.resize, Some(Resize::ShortSide(256)));
        let again = RunConfig::from_toml(&config.to_toml().unwrap(), None).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn an_input_that_cannot_be_is_refused_by_its_key() {
        let check = |text: &str, words: &[&str]| {
            let config = RunConfig::from_toml(text, None);
            let error = config.and_then(|of| super::check(&of.input)).unwrap_err();
            let error = error.to_string();
            for word in words {
                assert!(error.contains(word), "{text}: no '{word}' in {error}");
            }
        };
        check("input = 'imagnet'", &["imagnet", "imagenet, mnist"]);
        check("[input]\nmaen = [1]", &["maen", "mean"]);
        check("[input]\nstd = [0]", &["input: std: ", "positive"]);
        check("[input]\nresize = '8x'", &["8x", "shorter side"]);
        check(
            "[input]\nresize = 9\nfit = 'letterbox'",
            &["input: resize: ", "omit"],
        );
        check("[input]\npad = 256", &["256"]);
    }
}
