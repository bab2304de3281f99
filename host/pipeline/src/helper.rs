//! A process of a run that is not the first: it trains what the first one says, each time on its
//! slice of every batch, and keeps nothing.

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use collective::{Place, Team};
use datasets::{Dataset, Loader};
use onnx_graph::Graph;
use train::{
    Event, JointSetup, JointState, Prunable, Runtime, Task, TeacherSetup, TrainError, TrainJob,
    finetune, train_joint, train_plain,
};

use crate::config::{ConfigError, ModelSpec, RunConfig};
use crate::data::open_run;
use crate::error::PipelineError;
use crate::job::{END, Job, Kind, key, leaving};
use crate::model::{load_network, read_model_bytes};
use crate::prepare::runtime;
use crate::progress::StopFlag;
use crate::task;

/// How long one look for the next training takes.
const LOOK: Duration = Duration::from_secs(1);

/// Trains what the first process of a run says, until that one ends.
///
/// # Errors
/// What fails here and not in the first process, which reports its own errors.
/// [`PipelineError::Stopped`] if the run ended by an error or a stop of all.
pub fn help(place: &Place, stop: &StopFlag) -> Result<(), PipelineError> {
    let team = Rc::new(Team::open(place)?);
    let mut data = Opened::default();
    for done in 0.. {
        let next = loop {
            match team.wait(&key(done), LOOK) {
                Ok(Some(next)) => break next,
                // The first process measures, which takes as long as it takes.
                Ok(None) => {}
                Err(_) if stop.is_set() => return Err(PipelineError::Stopped),
                Err(error) => return Err(error.into()),
            }
        };
        if next == END {
            team.set(&leaving(team.rank()), b"")?;
            break;
        }
        let Some(job) = Job::share(&team, ("", &[]))? else {
            return Err(PipelineError::OtherVersion { rank: team.rank() });
        };
        match train(&job, place, &team, (&mut data, stop)) {
            Err(PipelineError::Train(
                TrainError::NonFinite { .. } | TrainError::Peer { .. } | TrainError::Unlike { .. },
            )) => return Err(PipelineError::Stopped),
            other => other?,
        }
    }
    Ok(())
}

/// What a training reads.
#[derive(Clone)]
struct Material {
    data: Arc<dyn Dataset>,
    task: Arc<dyn Task>,
}

/// The run's own network with the material of the last training, which the next one most often has
/// as well.
#[derive(Default)]
struct Opened(Option<(Vec<u8>, Material)>);

impl Opened {
    fn open(
        &mut self,
        job: &Job,
        config: &RunConfig,
        (runtime, rank): (Runtime, usize),
    ) -> Result<Material, PipelineError> {
        let own = job.networks.first().cloned().unwrap_or_default();
        if let Some((network, material)) = &self.0
            && *network == own
        {
            return Ok(material.clone());
        }
        let Some(spec) = &config.data else {
            return Err(ConfigError::value("data", "no data set is named").into());
        };
        let dir = std::env::temp_dir();
        let fail = |source| PipelineError::io(&dir, "write a network to", source);
        let file = tempfile::Builder::new().suffix(".onnx").tempfile();
        let file = file.map_err(fail)?;
        std::fs::write(file.path(), &own).map_err(fail)?;
        let name = file.path().to_string_lossy();
        let groups = config.groups.analysis();
        let model = load_network(&ModelSpec::new(&*name), 0, [0; 3], config.seed, groups)?;
        model.check_open()?;
        let kind = task::kind(config, spec)?;
        let data = open_run(config, spec, &model, kind)?.train;
        if data.identity() != job.data {
            return Err(PipelineError::OtherData {
                rank,
                own: data.identity(),
                first: job.data.clone(),
            });
        }
        let (task, _) = task::settled(config, &model, kind, data.as_ref(), runtime)?;
        let material = Material { data, task };
        self.0 = Some((own, material.clone()));
        Ok(material)
    }
}

fn train(
    job: &Job,
    place: &Place,
    team: &Rc<Team>,
    (opened, stop): (&mut Opened, &StopFlag),
) -> Result<(), PipelineError> {
    let mut config = RunConfig::stored(&job.config, "the run's configuration".into())?;
    if config.train_on.starts_with("cuda") {
        config.train_on = format!("cuda:{}", place.local_rank);
    }
    let exact = runtime(&config)?;
    if config.threads == 0 {
        torch_exec::set_threads(train::cores());
    }
    let runtime = Runtime {
        options: job.options,
        ..exact
    };
    let Material { data, task } = opened.open(job, &config, (exact, team.rank()))?;
    let loader = Loader::new(data, job.loader.clone())?;
    let graph = |index: usize| -> Result<Graph, PipelineError> {
        let bytes = job.networks.get(index).map_or(&[][..], Vec::as_slice);
        let name = format!("network {index} of rank 0");
        read_model_bytes(Path::new(&name), bytes.to_vec(), &[])
    };
    let student = graph(1)?;
    let floats = (job.networks.len() > 2).then(|| graph(2)).transpose()?;
    let mut watch = |_: Event| match stop.is_set() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let training = |settings| TrainJob {
        graph: &student,
        floats: floats.as_ref(),
        task: &*task,
        loader: &loader,
        config: settings,
        runtime,
        seed: job.seed,
        team: Some(&**team),
        checkpoint: None,
        identity: None,
    };
    match &job.kind {
        Kind::Plain(settings) => {
            train_plain(&training(settings), &mut watch)?;
        }
        Kind::Finetune { settings, features } => {
            let teacher = graph(0)?;
            let teacher = TeacherSetup {
                graph: &teacher,
                features,
            };
            finetune(&training(settings), Some(teacher), &mut watch)?;
        }
        Kind::Joint {
            settings,
            net,
            groups,
            order,
            widths,
        } => {
            let analysis = channels::analyse_with(&student, config.groups.analysis())?;
            if !analysis.groups().iter().map(|group| &group.name).eq(groups) {
                return Err(PipelineError::OtherVersion { rank: team.rank() });
            }
            let setup = JointSetup {
                prunable: Prunable {
                    graph: &student,
                    analysis: &analysis,
                    order,
                },
                widths,
                net,
                config: settings,
                runtime,
                seed: job.seed,
            };
            let mut state = JointState::new(&setup)?.with_team(Some(Rc::clone(team)));
            train_joint(&mut state, &loader, None, &mut watch)?;
        }
    }
    Ok(())
}
