//! The recipe: strategy and weights that a run takes where its settings leave them open.

use super::{
    ConfigError, EvaluationWeights, ModelSource, PrecisionChoice, RunConfig, StrategyKind,
    WeightOrigin,
};

impl RunConfig {
    /// The strategy of the search.
    #[must_use]
    pub fn strategy(&self) -> StrategyKind {
        self.search.strategy.unwrap_or(StrategyKind::Knapsack)
    }

    /// The weights that candidates are evaluated with.
    #[must_use]
    pub fn evaluation_weights(&self) -> EvaluationWeights {
        // DDPG reads the states of the Graph PruningNet, so that is trained in any case.
        let usual = if self.strategy().reads_embeddings() {
            EvaluationWeights::Generated
        } else {
            EvaluationWeights::Repaired
        };
        self.search.weights.unwrap_or(usual)
    }

    /// Configurations to try.
    #[must_use]
    pub fn episodes(&self) -> u64 {
        let usual = self.strategy().usual_episodes();
        self.search.episodes.unwrap_or(usual)
    }

    /// The origin of a candidate's weights before fine-tuning.
    #[must_use]
    pub fn weight_origin(&self) -> WeightOrigin {
        let usual = match self.evaluation_weights() {
            EvaluationWeights::Repaired => WeightOrigin::Repaired,
            EvaluationWeights::Generated => WeightOrigin::Original,
        };
        self.result.weights.unwrap_or(usual)
    }

    /// Refuses to search precision where it has no ranges or no effect.
    pub(super) fn check_precision(&self) -> Result<(), ConfigError> {
        if self.precision == PrecisionChoice::Given {
            return Ok(());
        }
        let refuse = |reason: &str| Err(ConfigError::value("precision", reason));
        if let ModelSource::Zoo(_) = self.model.source() {
            return refuse("`joint` needs a network that is given trained: an ONNX file");
        }
        if self.budget.latency.is_none() {
            return refuse("`joint` needs a latency budget: integers save time, and no MACs");
        }
        Ok(())
    }

    /// Writes down the recipe, so that a later version goes on with the same.
    pub(super) fn settle_recipe(&mut self) {
        let recipe = (self.strategy(), self.evaluation_weights(), self.episodes());
        self.result.weights = Some(self.weight_origin());
        self.search.strategy = Some(recipe.0);
        self.search.weights = Some(recipe.1);
        self.search.episodes = Some(recipe.2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelSpec;

    type Recipe = (StrategyKind, EvaluationWeights, u64, WeightOrigin);

    fn check(model: &str, settings: &str, expected: Recipe) {
        let mut config = RunConfig::from_toml(settings, None).unwrap();
        config.model = ModelSpec::new(model);
        config.data = Some("shapes".parse().unwrap());
        let of = |config: &RunConfig| {
            let weights = (config.evaluation_weights(), config.weight_origin());
            (config.strategy(), weights.0, config.episodes(), weights.1)
        };
        assert_eq!(of(&config), expected, "{model}: {settings}");
        // What a run stores is what it decided, whatever the defaults of a later version.
        let stored = config.settled().unwrap().to_toml().unwrap();
        let stored = RunConfig::from_toml(&stored, None).unwrap();
        assert_eq!(of(&stored), expected);
        assert_eq!(stored.search.strategy, Some(expected.0));
        assert_eq!(stored.result.weights, Some(expected.3));
    }

    #[test]
    fn every_network_is_repaired_unless_the_strategy_reads_the_graph_pruning_net() {
        use EvaluationWeights::{Generated, Repaired};
        use StrategyKind::{Ddpg, Evolution, Knapsack};
        let origin = WeightOrigin::Original;
        for model in ["net.onnx", "resnet20"] {
            check(model, "", (Knapsack, Repaired, 24, WeightOrigin::Repaired));
            let ddpg = "search.strategy = \"ddpg\"";
            check(model, ddpg, (Ddpg, Generated, 240, origin));
        }
        let evolution = "search.strategy = \"evolution\"\nsearch.episodes = 7";
        check(
            "net.onnx",
            evolution,
            (Evolution, Repaired, 7, WeightOrigin::Repaired),
        );
        let scratch = "result.weights = \"scratch\"";
        check(
            "net.onnx",
            scratch,
            (Knapsack, Repaired, 24, WeightOrigin::Scratch),
        );
        let generated = "search.weights = \"generated\"";
        check("net.onnx", generated, (Knapsack, Generated, 24, origin));
    }

    #[test]
    fn a_run_of_a_version_without_repair_goes_on_with_generated_weights() {
        let earlier = "[model]\nname = \"net.onnx\"\n[search]\nstrategy = \"random\"\nepisodes = 9\n\
                       [result]\nweights = \"original\"";
        let stored = RunConfig::stored(earlier, "config.toml".into()).unwrap();
        assert_eq!(stored.evaluation_weights(), EvaluationWeights::Generated);
        assert_eq!(stored.weight_origin(), WeightOrigin::Original);
    }

    fn check_precision(model: &str, budget: &str, refusal: Option<&str>) {
        let settings = format!("precision = \"joint\"\nbudget.{budget}");
        let mut config = RunConfig::from_toml(&settings, None).unwrap();
        config.model = ModelSpec::new(model);
        match (config.check(), refusal) {
            (Ok(()), None) => {}
            (Err(error), Some(reason)) => {
                let error = error.to_string();
                assert!(
                    error.contains("precision") && error.contains(reason),
                    "{error}"
                );
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn joint_precision_needs_a_trained_network_and_a_latency_budget() {
        check_precision("net.onnx", "latency = 0.5", None);
        check_precision("resnet20", "latency = 0.5", Some("given trained"));
        check_precision("net.onnx", "macs = 0.5", Some("latency budget"));
    }
}
