//! Fine-tuning of a classifier outside of a run, with another form of it as teacher.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datasets::{Augment, Dataset, Loader, LoaderConfig, Splits};
use onnx_graph::Graph;
use train::{
    Classification, Completion, Event, FinetuneConfig, Runtime, TeacherSetup, TrainJob, finetune,
};

use crate::error::PipelineError;
use crate::progress::{Reporter, StopFlag};

/// Images of a training batch.
const BATCH: usize = 128;

/// What a fine-tuning trains on, and how.
pub(crate) struct Tuning<'a> {
    pub train: &'a Arc<dyn Dataset>,
    pub augment: Augment,
    pub settings: FinetuneConfig,
    pub seed: u64,
    /// The file from which the training resumes after it was stopped.
    pub checkpoint: PathBuf,
    pub stop: &'a StopFlag,
}

/// The networks of a training.
#[derive(Clone, Copy)]
pub(crate) struct Networks<'a> {
    pub student: &'a Graph,
    /// The student before its weights became integers.
    pub floats: Option<&'a Graph>,
    pub teacher: &'a Graph,
}

impl<'a> Tuning<'a> {
    /// With the checkpoint beside the file `out`.
    pub fn new(
        (splits, augment): (&'a Splits, Augment),
        (settings, seed): (FinetuneConfig, u64),
        out: &Path,
        stop: &'a StopFlag,
    ) -> Self {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".training.safetensors");
        Self {
            train: &splits.train,
            augment,
            settings,
            seed,
            checkpoint: out.with_file_name(name),
            stop,
        }
    }

    /// Trains the student to compute what its teacher does.
    ///
    /// # Errors
    /// [`PipelineError::Stopped`], and those of the training.
    pub fn run(
        &self,
        stage: &str,
        networks: Networks<'_>,
        reporter: &mut dyn Reporter,
    ) -> Result<Graph, PipelineError> {
        let config = LoaderConfig {
            batch: BATCH.min(self.train.len()),
            shuffle: true,
            seed: self.seed,
            augment: self.augment.clone(),
            drop_last: true,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::clone(self.train), config)?;
        let job = TrainJob {
            graph: networks.student,
            floats: networks.floats,
            task: &Classification,
            loader: &loader,
            config: &self.settings,
            runtime: Runtime::default(),
            seed: self.seed,
            team: None,
            checkpoint: Some(&self.checkpoint),
            identity: None,
        };
        let teacher = TeacherSetup {
            graph: networks.teacher,
            features: &[],
        };
        let mut line = String::new();
        let mut begun = false;
        let mut observe = |event: Event| {
            if !begun {
                reporter.begin(stage, event.step.saturating_sub(1), event.steps);
                begun = true;
            }
            line = format!(
                "epoch {}/{}, loss {:.3}, batch accuracy {:.1} %, {:.0} images/s",
                event.epoch + 1,
                event.epochs,
                event.loss,
                event.score * 100.0,
                event.images_per_second
            );
            reporter.step(event.step, &line);
            match self.stop.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let (graph, completion) = finetune(&job, Some(teacher), &mut observe)?;
        if begun {
            reporter.end(&format!("{stage}: {line}"));
        }
        if completion == Completion::Stopped {
            return Err(PipelineError::Stopped);
        }
        Ok(graph)
    }

    /// Deletes the checkpoint, once what was made of the training is written.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn forget(&self) -> Result<(), PipelineError> {
        match std::fs::remove_file(&self.checkpoint) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(PipelineError::io(&self.checkpoint, "delete", e))
            }
            _ => Ok(()),
        }
    }
}
