//! How channels are grouped, and what the search may do with single groups.

use std::collections::BTreeMap;
use std::fmt;

use channels::{AnalysisOptions, Attention};
use latency::ShareOf;
use regex::Regex;
use search::WidthGrid;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Most names that an error about a pattern lists.
const NEAREST: usize = 5;

/// How channels are grouped where there is a choice, and rules for single groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct GroupsConfig {
    /// The unit in which an attention is pruned.
    pub attention: Attention,
    /// Rules by a pattern, in which `*` matches any text and `?` any character. A rule holds for
    /// the groups whose name, or the name of a layer that writes them, matches; of several, the
    /// one whose pattern has the most other characters.
    #[serde(flatten)]
    pub rules: BTreeMap<String, GroupRule>,
}

/// What the search may do with the groups that a pattern selects: those whose name, or the name of
/// a layer that writes them, matches. `*` is any text, `?` any character. Of several patterns the
/// one with the most other characters holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupRule {
    /// The width of the group, which is not searched then: a share such as 0.5, or a number of
    /// channels such as 24.
    #[schemars(with = "Option<String>")]
    pub keep: Option<Extent>,
    /// The smallest width, a share or a number of channels; a branch is not removed then.
    #[schemars(with = "Option<String>")]
    pub min: Option<Extent>,
    /// The largest width, a share or a number of channels.
    #[schemars(with = "Option<String>")]
    pub max: Option<Extent>,
    /// Widths are multiples of this, in place of `widths.multiple`.
    pub multiple: Option<usize>,
    /// Whether the group stays as it is.
    pub ignore: bool,
}

/// A part of a group's channels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Extent {
    /// A number of channels.
    Channels(usize),
    /// A share of the group's channels, in (0, 1].
    Share(f64),
}

/// An extent in a file.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a number of channels such as 24, or a share such as 0.5"
)]
enum Written {
    Channels(usize),
    Share(f64),
    Text(String),
}

impl TryFrom<Written> for Extent {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let share = match written {
            Written::Channels(0) => return Err("a group keeps at least 1 channel".into()),
            Written::Channels(count) => return Ok(Self::Channels(count)),
            Written::Share(share) => ShareOf::Part.check(share),
            Written::Text(text) => ShareOf::Part.parse(&text),
        };
        share.map(Self::Share).map_err(|error| error.to_string())
    }
}

impl From<Extent> for Written {
    fn from(extent: Extent) -> Self {
        match extent {
            Extent::Channels(count) => Self::Channels(count),
            Extent::Share(share) => Self::Share(share),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channels(count) => write!(f, "{count} channels"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

impl Extent {
    /// The channels, at least one.
    ///
    /// # Errors
    /// In words, where the group has fewer.
    fn of(self, channels: usize) -> Result<usize, String> {
        match self {
            Self::Channels(count) if count > channels => {
                Err(format!("{count} channels of {channels}"))
            }
            Self::Channels(count) => Ok(count),
            Self::Share(share) => {
                Ok(((share * channels as f64).round() as usize).clamp(1, channels))
            }
        }
    }
}

/// The names of a group: its own, and those of the layers that write it.
pub(crate) struct GroupNames<'a> {
    /// The group's name.
    pub name: &'a str,
    /// Its layers.
    pub layers: Vec<&'a str>,
}

impl GroupNames<'_> {
    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name).chain(self.layers.iter().copied())
    }
}

impl GroupsConfig {
    /// How channels are grouped.
    #[must_use]
    pub fn analysis(&self) -> AnalysisOptions {
        AnalysisOptions {
            attention: self.attention,
        }
    }

    /// Checks what needs no network.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the pattern.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (pattern, rule) in &self.rules {
            let others = rule.min.is_some() || rule.max.is_some() || rule.multiple.is_some();
            let problem = match rule {
                GroupRule { ignore: true, .. } if others || rule.keep.is_some() => {
                    "`ignore` keeps the group as it is: omit the other keys"
                }
                GroupRule { keep: Some(_), .. } if others => {
                    "`keep` fixes the width: omit min, max and multiple"
                }
                GroupRule {
                    multiple: Some(0), ..
                } => "`multiple` must be at least 1",
                GroupRule {
                    ignore: false,
                    keep: None,
                    ..
                } if !others => "the rule says nothing; give keep, min, max, multiple or ignore",
                _ => continue,
            };
            return Err(problem_of(pattern, problem));
        }
        Ok(())
    }

    /// The rule of each group.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a pattern that selects no group, with the nearest names.
    pub(crate) fn resolve(
        &self,
        groups: &[GroupNames<'_>],
    ) -> Result<Vec<Option<(&str, GroupRule)>>, ConfigError> {
        let mut chosen = vec![None; groups.len()];
        let mut ordered: Vec<(&String, &GroupRule)> = self.rules.iter().collect();
        ordered.sort_by_key(|(pattern, _)| literal(pattern));
        for (pattern, &rule) in ordered {
            let expression = expression(pattern)?;
            let matching = |group: &GroupNames<'_>| group.all().any(|n| expression.is_match(n));
            let mut unmatched = true;
            for (slot, group) in chosen.iter_mut().zip(groups) {
                if matching(group) {
                    *slot = Some((pattern.as_str(), rule));
                    unmatched = false;
                }
            }
            if unmatched {
                let near = nearest(pattern, groups.iter().flat_map(GroupNames::all));
                let reason = format!("no group or layer has such a name; the nearest are {near}");
                return Err(problem_of(pattern, &reason));
            }
        }
        Ok(chosen)
    }
}

impl GroupRule {
    /// The widths that the rule of `pattern` admits for a group, ascending.
    ///
    /// # Errors
    /// [`ConfigError::Value`] where the group has too few channels, or no width is left.
    pub(crate) fn widths(
        &self,
        pattern: &str,
        (grid, channels): (&WidthGrid, usize),
        is_removable: bool,
    ) -> Result<Vec<usize>, ConfigError> {
        let of = |key: &str, extent: Extent| {
            let fail = |problem| problem_of(pattern, &format!("{key} = {problem}"));
            extent.of(channels).map_err(fail)
        };
        if self.ignore {
            return Ok(vec![channels]);
        }
        if let Some(keep) = self.keep {
            return Ok(vec![of("keep", keep)?]);
        }
        let mut grid = grid.clone();
        if let Some(multiple) = self.multiple {
            grid.multiple = multiple;
        }
        let min = self.min.map(|min| of("min", min)).transpose()?;
        if let Some(min) = min {
            grid.min_keep = min as f64 / channels as f64;
        }
        let mut widths = grid.widths(channels);
        if let Some(max) = self.max.map(|max| of("max", max)).transpose()? {
            if min.is_some_and(|min| min > max) {
                return Err(problem_of(pattern, "`min` is larger than `max`"));
            }
            widths.retain(|&width| width <= max);
            if widths.is_empty() {
                widths.push(max);
            }
        }
        if is_removable && grid.remove && min.is_none() {
            widths.insert(0, 0);
        }
        Ok(widths)
    }
}

fn problem_of(pattern: &str, problem: &str) -> ConfigError {
    ConfigError::value("groups", format!("\"{pattern}\": {problem}"))
}

/// The characters of a pattern that are no wildcards.
fn literal(pattern: &str) -> usize {
    pattern.chars().filter(|c| !matches!(c, '*' | '?')).count()
}

/// The pattern as a regular expression.
fn expression(pattern: &str) -> Result<Regex, ConfigError> {
    let escaped = regex::escape(pattern)
        .replace("\\*", ".*")
        .replace("\\?", ".");
    Regex::new(&format!("^{escaped}$")).map_err(|error| problem_of(pattern, &error.to_string()))
}

/// The names that are most similar to a pattern, in words.
fn nearest<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> String {
    let wanted = pattern.replace(['*', '?'], "");
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let likeness = |name: &&str| strsim::normalized_damerau_levenshtein(&wanted, name);
    names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    names.truncate(NEAREST);
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> GroupsConfig {
        toml::from_str(text).unwrap()
    }

    fn names() -> [GroupNames<'static>; 3] {
        [
            ("stem", vec!["stem"]),
            ("layer1.0.conv1", vec!["layer1.0.conv1"]),
            ("layer1.0.conv2", vec!["layer1.0.conv2", "layer1.1.conv2"]),
        ]
        .map(|(name, layers)| GroupNames { name, layers })
    }

    #[test]
    fn the_most_literal_pattern_that_matches_a_group_or_its_layer_applies() {
        let config = rules("[\"layer1.*\"]\nmin = 0.5\n[\"layer1.1.conv?\"]\nignore = true");
        let resolved = config.resolve(&names()).unwrap();
        let of: Vec<Option<&str>> = resolved.iter().map(|r| r.map(|(name, _)| name)).collect();
        assert_eq!(of, [None, Some("layer1.*"), Some("layer1.1.conv?")]);
    }

    #[test]
    fn a_pattern_without_a_group_is_refused_with_the_nearest_names() {
        let refusal = |rule: &str| {
            let config = rules(rule);
            config.resolve(&names()).unwrap_err().to_string()
        };
        let error = refusal("[\"layer2.0.conv1\"]\nignore = true");
        assert!(error.contains("\"layer2.0.conv1\""), "{error}");
        assert!(error.contains("nearest are layer1.0.conv1, "), "{error}");
        // A pattern is no regular expression.
        refusal("[\"layer1.0(\"]\nignore = true");
        refusal("[\"stem|x\"]\nignore = true");
    }

    #[test]
    fn a_rule_determines_the_widths() {
        let grid = WidthGrid {
            multiple: 8,
            ..WidthGrid::default()
        };
        let check = |rule: &str, removable: bool, expected: &[usize]| {
            let config = rules(&format!("[x]\n{rule}"));
            config.check().unwrap();
            let widths = config.rules["x"].widths("x", (&grid, 32), removable);
            assert_eq!(widths.unwrap(), expected, "{rule}");
        };
        check("ignore = true", true, &[32]);
        check("keep = 0.5", true, &[16]);
        check("keep = 11", false, &[11]);
        check("keep = \"50%\"", false, &[16]);
        check("min = 0.5", true, &[16, 24, 32]);
        check("min = 20", false, &[24, 32]);
        check("max = 0.75", false, &[8, 16, 24]);
        check("max = 5", false, &[5]);
        check("max = 16", true, &[0, 8, 16]);
        check("multiple = 16", false, &[16, 32]);
        check("multiple = 1\nmin = 30", false, &[30, 31, 32]);
    }

    #[test]
    fn a_rule_that_contradicts_itself_is_refused() {
        let check = |rule: &str, needle: &str| {
            let config = rules(&format!("[x]\n{rule}"));
            let grid = WidthGrid::default();
            let widths = || config.rules["x"].widths("x", (&grid, 32), false);
            let error = config.check().and_then(|()| widths().map(drop));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("\"x\"") && error.contains(needle), "{error}");
        };
        check("ignore = true\nkeep = 4", "`ignore`");
        check("keep = 4\nmin = 2", "`keep`");
        check("multiple = 0", "`multiple`");
        check("", "says nothing");
        check("min = 0.9\nmax = 0.5", "larger");
        check("max = 33", "33 channels of 32");
        for rule in ["keep = 0", "keep = 1.5", "keep = \"lots\"", "kept = 3"] {
            let text = format!("[x]\n{rule}");
            assert!(toml::from_str::<GroupsConfig>(&text).is_err(), "{rule}");
        }
    }

    #[test]
    fn rules_survive_a_round_trip() {
        let config = rules("attention = \"heads\"\n[\"a*\"]\nkeep = 24\n[b]\nmin = 0.25");
        let text = toml::to_string(&config).unwrap();
        assert_eq!(rules(&text), config, "{text}");
    }
}
