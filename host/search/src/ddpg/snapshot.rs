//! Serialised agents: a safetensors file with the networks, their optimiser states and the
//! replay; the rest is JSON.

use super::agent::{Agent, Memory, NAME, agent_dims};
use super::net::Learner;
use super::replay::Episode;
use crate::error::SearchError;
use crate::strategy::{check_owner, from_json, to_json};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

/// The JSON part. States and actions of the episodes are stored as tensors.
#[derive(Serialize, Deserialize)]
struct JsonPart {
    memory: Memory,
    episodes: Vec<Episode>,
    state_len: Option<usize>,
    steps: (u64, u64),
}

/// Content of a snapshot.
pub(super) struct Snapshot {
    pub memory: Memory,
    pub episodes: Vec<Episode>,
    /// `None` before the first proposal.
    pub agent: Option<Agent>,
}

fn broken(reason: impl ToString) -> SearchError {
    SearchError::Snapshot {
        strategy: NAME,
        reason: reason.to_string(),
    }
}

pub(super) fn write(
    memory: &Memory,
    episodes: &[Episode],
    agent: Option<&Agent>,
) -> Result<Vec<u8>, SearchError> {
    let mut vectors: Vec<(String, Vec<f32>)> = Vec::new();
    let mut steps = (0, 0);
    if let Some(agent) = agent {
        let (actor_steps, actor) = agent.actor.export("actor")?;
        let (critic_steps, critic) = agent.critic.export("critic")?;
        steps = (actor_steps, critic_steps);
        vectors.extend(actor);
        vectors.extend(critic);
    }
    vectors.push((
        "replay.states".into(),
        episodes
            .iter()
            .flat_map(|e| e.states.iter().flatten().copied())
            .collect(),
    ));
    vectors.push((
        "replay.actions".into(),
        episodes
            .iter()
            .flat_map(|e| e.actions.iter().copied())
            .collect(),
    ));
    let bare = |e: &Episode| Episode {
        states: Vec::new(),
        actions: Vec::new(),
        ..e.clone()
    };
    let json = JsonPart {
        memory: memory.clone(),
        episodes: episodes.iter().map(bare).collect(),
        state_len: agent.map(|a| a.state_len),
        steps,
    };
    let mut entries: Vec<(String, Dtype, usize, Vec<u8>)> = vectors
        .into_iter()
        .map(|(name, values)| {
            (
                name,
                Dtype::F32,
                values.len(),
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let json = to_json(NAME, &json)?;
    entries.push(("plain".into(), Dtype::U8, json.len(), json));
    let views = entries
        .iter()
        .map(|(name, dtype, len, bytes)| {
            Ok((
                name.clone(),
                TensorView::new(*dtype, vec![*len], bytes).map_err(broken)?,
            ))
        })
        .collect::<Result<Vec<_>, SearchError>>()?;
    safetensors::serialize(views, None).map_err(broken)
}

pub(super) fn read(bytes: &[u8]) -> Result<Snapshot, SearchError> {
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut json: JsonPart = from_json(NAME, file.tensor("plain").map_err(broken)?.data())?;
    check_owner(NAME, &json.memory.strategy)?;
    json.memory.config.check()?;
    let vector = |name: &str| -> Option<Vec<f32>> {
        let tensor = file.tensor(name).ok().filter(|t| t.dtype() == Dtype::F32)?;
        Some(
            tensor
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        )
    };
    let agent = match json.state_len {
        None => None,
        Some(state_len) => {
            let (actor, critic) = agent_dims(state_len, json.memory.config.hidden);
            let actor = Learner::import(&actor, true, json.steps.0, "actor", &vector);
            let critic = Learner::import(&critic, false, json.steps.1, "critic", &vector);
            let (Some(actor), Some(critic)) = (actor, critic) else {
                return Err(broken("its networks are missing or of another size"));
            };
            Some(Agent {
                actor,
                critic,
                state_len,
            })
        }
    };
    let states = vector("replay.states").ok_or_else(|| broken("its replay is missing"))?;
    let actions = vector("replay.actions").ok_or_else(|| broken("its replay is missing"))?;
    let columns = json.state_len.unwrap_or(0);
    let steps: usize = json.episodes.iter().map(|e| e.widths.0.len()).sum();
    if actions.len() != steps
        || states.len() != steps * columns
        || json.episodes.iter().any(|e| e.widths.0.is_empty())
    {
        return Err(broken("its replay is cut off"));
    }
    let mut begin = 0;
    for episode in &mut json.episodes {
        let end = begin + episode.widths.0.len();
        episode.actions = actions[begin..end].to_vec();
        episode.states = (begin..end)
            .map(|row| states[row * columns..(row + 1) * columns].to_vec())
            .collect();
        begin = end;
    }
    Ok(Snapshot {
        memory: json.memory,
        episodes: json.episodes,
        agent,
    })
}
