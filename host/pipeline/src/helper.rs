//! A process of a run that is not the first: it trains and measures what the first one says, most
//! often on its part of the samples, and keeps nothing.

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use collective::{Place, Team};
use datasets::{Loader, Splits};
use onnx_graph::Graph;
use train::{
    Event, Feature, FinetuneConfig, Held, JointSetup, JointState, Prunable, Runtime, Subject, Task,
    TeacherSetup, TrainError, TrainJob, finetune, finetune_abreast, score_together, train_joint,
    train_plain,
};

use crate::config::{ConfigError, ModelSpec, RunConfig};
use crate::data::open_run;
use crate::error::PipelineError;
use crate::job::{END, Job, Kind, Scored, Split, key, leaving};
use crate::model::{load_network, read_model_bytes};
use crate::prepare::runtime;
use crate::progress::StopFlag;
use crate::task;

/// How long one look for the next job takes.
const LOOK: Duration = Duration::from_secs(1);

/// Trains and measures what the first process of a run says, until that one ends.
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
        match work(&job, place, &team, (&mut data, stop)) {
            // Only this process trains the network, and knows why it cannot go on.
            Err(PipelineError::Train(error @ TrainError::NonFinite { .. }))
                if matches!(job.kind, Kind::Abreast { .. }) =>
            {
                return Err(error.into());
            }
            Err(PipelineError::Train(
                TrainError::NonFinite { .. } | TrainError::Peer { .. } | TrainError::Unlike { .. },
            )) => return Err(PipelineError::Stopped),
            other => other?,
        }
    }
    Ok(())
}

/// What a job reads.
#[derive(Clone)]
struct Material {
    splits: Splits,
    task: Arc<dyn Task>,
}

/// The run's own network with the material of the last job, which the next one most often has as
/// well.
#[derive(Default)]
struct Opened {
    network: Vec<u8>,
    material: Option<Material>,
    /// The samples drawn for the search, and what they were drawn by.
    held: Option<(Scored, Held)>,
}

impl Opened {
    fn open(
        &mut self,
        job: &Job,
        config: &RunConfig,
        (runtime, rank): (Runtime, usize),
    ) -> Result<Material, PipelineError> {
        if let Some(own) = job.networks.first().filter(|own| !own.is_empty()) {
            *self = Self {
                network: own.clone(),
                ..Self::default()
            };
        }
        if let Some(material) = &self.material {
            return Ok(material.clone());
        }
        let Some(spec) = &config.data else {
            return Err(ConfigError::value("data", "no data set is named").into());
        };
        let dir = std::env::temp_dir();
        let fail = |source| PipelineError::io(&dir, "write a network to", source);
        let file = tempfile::Builder::new().suffix(".onnx").tempfile();
        let file = file.map_err(fail)?;
        std::fs::write(file.path(), &self.network).map_err(fail)?;
        let name = file.path().to_string_lossy();
        let groups = config.groups.analysis();
        let model = load_network(&ModelSpec::new(&*name), 0, [0; 3], config.seed, groups)?;
        model.check_open()?;
        let kind = task::kind(config, spec)?;
        let splits = open_run(config, spec, &model, kind)?;
        same_data(rank, splits.train.identity(), &job.data)?;
        let train = splits.train.as_ref();
        let (task, _) = task::settled(config, &model, kind, train, runtime)?;
        let material = Material { splits, task };
        self.material = Some(material.clone());
        Ok(material)
    }
}

fn same_data(rank: usize, own: String, first: &str) -> Result<(), PipelineError> {
    match own == first {
        true => Ok(()),
        false => Err(PipelineError::OtherData {
            rank,
            own,
            first: first.to_owned(),
        }),
    }
}

fn work(
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
    let material = opened.open(job, &config, (exact, team.rank()))?;
    let part = Part {
        job,
        own: &opened.network,
        material: &material,
        runtime,
        team,
    };
    let mut watch = |_: Event| match stop.is_set() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    match &job.kind {
        Kind::Plain(settings) => {
            let (student, loader) = (part.graph(1)?, part.loader()?);
            let training = part.training(&student, &loader, settings);
            train_plain(&training, &mut watch)?;
        }
        Kind::Finetune { settings, features } => {
            let (teacher, student, loader) = (part.graph(0)?, part.graph(1)?, part.loader()?);
            let floats = (job.networks.len() > 2)
                .then(|| part.graph(2))
                .transpose()?;
            let training = TrainJob {
                floats: floats.as_ref(),
                ..part.training(&student, &loader, settings)
            };
            let teacher = TeacherSetup {
                graph: &teacher,
                features,
            };
            finetune(&training, Some(teacher), &mut watch)?;
        }
        Kind::Abreast {
            settings,
            features,
            identities,
        } => part.train_abreast(settings, (features, identities), &mut watch)?,
        Kind::Score(scored) => part.score(scored, &mut opened.held, exact)?,
        Kind::Joint {
            settings,
            net,
            groups,
            order,
            widths,
        } => {
            let (student, loader) = (part.graph(1)?, part.loader()?);
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

/// This process's part of a job.
struct Part<'a> {
    job: &'a Job,
    /// The run's own network.
    own: &'a [u8],
    material: &'a Material,
    runtime: Runtime,
    team: &'a Rc<Team>,
}

impl Part<'_> {
    fn graph(&self, index: usize) -> Result<Graph, PipelineError> {
        let bytes = match index {
            0 => self.own,
            _ => self.job.networks.get(index).map_or(&[][..], Vec::as_slice),
        };
        let name = format!("network {index} of rank 0");
        read_model_bytes(Path::new(&name), bytes.to_vec(), &[])
    }

    fn loader(&self) -> Result<Loader, PipelineError> {
        let data = Arc::clone(&self.material.splits.train);
        Ok(Loader::new(data, self.job.loader.clone())?)
    }

    fn training<'t>(
        &'t self,
        student: &'t Graph,
        loader: &'t Loader,
        config: &'t FinetuneConfig,
    ) -> TrainJob<'t> {
        TrainJob {
            graph: student,
            floats: None,
            task: &*self.material.task,
            loader,
            config,
            runtime: self.runtime,
            seed: self.job.seed,
            team: Some(&**self.team),
            checkpoint: None,
            identity: None,
        }
    }

    /// Trains the network of this process, if there is one for it.
    fn train_abreast(
        &self,
        settings: &FinetuneConfig,
        (features, identities): (&[Vec<Feature>], &[String]),
        watch: &mut dyn train::Observer,
    ) -> Result<(), PipelineError> {
        let folder = tempfile::tempdir()
            .map_err(|e| PipelineError::io(&std::env::temp_dir(), "make a folder in", e))?;
        let file = |number: usize| folder.path().join(format!("{number}.safetensors"));
        let files: Vec<_> = (0..identities.len()).map(file).collect();
        let rank = self.team.rank();
        let (Some(identity), Some(features)) = (identities.get(rank), features.get(rank)) else {
            finetune_abreast(self.team, None, &files, watch)?;
            return Ok(());
        };
        let (teacher, student, loader) = (self.graph(0)?, self.graph(1 + rank)?, self.loader()?);
        let training = TrainJob {
            identity: Some(identity),
            ..self.training(&student, &loader, settings)
        };
        let teacher = TeacherSetup {
            graph: &teacher,
            features,
        };
        finetune_abreast(self.team, Some((&training, teacher)), &files, watch)?;
        Ok(())
    }

    /// Measures a network on this process's part of the samples.
    fn score(
        &self,
        scored: &Scored,
        held: &mut Option<(Scored, Held)>,
        exact: Runtime,
    ) -> Result<(), PipelineError> {
        let Material { splits, task } = self.material;
        let data = match scored.split {
            Split::Search => splits.search.as_ref(),
            Split::Test => splits.test.as_ref(),
        };
        same_data(self.team.rank(), data.identity(), &scored.identity)?;
        let graph = self.graph(1)?;
        let runtime = match scored.is_exact {
            true => exact,
            false => self.runtime,
        };
        let Some(config) = &scored.drawn else {
            let original = task.follows_original().then(|| self.graph(0)).transpose()?;
            let subject = Subject {
                graph: &graph,
                task: &**task,
                original: original.as_ref(),
            };
            score_together(subject, data, scored.batch, exact, Some(&**self.team))?;
            return Ok(());
        };
        if held.as_ref().is_none_or(|(of, _)| of != scored) {
            let team = Some(Rc::clone(self.team));
            let mut drawn = Held::draw(data, Arc::clone(task), config, runtime.device, team)?;
            if scored.compares {
                drawn.remember(&self.graph(0)?, self.runtime)?;
            }
            *held = Some((scored.clone(), drawn));
        }
        if let Some((_, held)) = held {
            held.score_of(&graph, runtime)?;
        }
        Ok(())
    }
}
