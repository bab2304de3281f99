//! Several processes share the work of a search: each measures a part of the samples, and each
//! fine-tunes whole candidates.

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use collective::Team;
use common::{CLASSES, Faulty, data, loader, network, subject, together, trained};
use datasets::{DataError, Dataset, InputSpec, Loader};
use onnx_graph::ops::{self, Op};
use onnx_graph::{DType, Dim, Graph, NoExternalData};
use tch::{Kind, Tensor};
use train::{
    Classification, Completion, Evaluator, EvaluatorConfig, Event, FinetuneConfig, Follow,
    Followed, Held, MultiLabel, OutputForm, Prunable, Regression, Runtime, Score, Segmentation,
    SgdConfig, Silent, Subject, Task, TeacherSetup, TrainError, TrainJob, checkpoint, finetune,
    finetune_abreast, finetune_identity, materialise, score, score_together,
};

/// A network as another process has it.
fn sent(graph: &Graph) -> Graph {
    onnx_graph::read_owned(onnx_graph::write(graph).unwrap(), &NoExternalData).unwrap()
}

fn check_equal(a: &Score, b: &Score) {
    assert_eq!((a.value, a.total), (b.value, b.total));
    let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-6 * a.abs().max(1e-3), "{a} {b}");
    near(a.loss, b.loss);
    assert_eq!(a.divergence.is_some(), b.divergence.is_some());
    near(a.divergence.unwrap_or(0.0), b.divergence.unwrap_or(0.0));
    assert_eq!(a.figures.len(), b.figures.len());
    for (a, b) in a.figures.iter().zip(&b.figures) {
        assert_eq!(a.name, b.name);
        near(a.value, b.value);
    }
}

#[test]
fn a_candidate_measured_in_parts_has_the_score_that_one_process_gives_it() {
    let graph = trained();
    let subject = subject();
    let prunable = Prunable {
        graph: &graph,
        ..subject.prunable()
    };
    let net = common::Subject {
        graph: graph.clone(),
        ..common::subject()
    }
    .net();
    let (train, search) = (data(96, 1), data(101, 2));
    let config = EvaluatorConfig {
        batch: 16,
        search_images: 95,
        calibration_batch: 32,
        ..EvaluatorConfig::default()
    };
    let runtime = Runtime::default();
    let evaluator = |team| {
        let data = (&*train, &*search);
        let task = Arc::new(Classification);
        let mut evaluator =
            Evaluator::for_team(prunable, data, task, &config, (runtime, team)).unwrap();
        evaluator.remember_original(runtime).unwrap();
        evaluator
    };
    let alone = evaluator(None);
    for widths in [[8, 12], [6, 12], [4, 6], [4, 0]] {
        let expected = alone.accuracy(&net, &widths).unwrap();
        assert!(expected.share() > 0.34, "{expected:?} is a guess");
        let images = alone.calibration();
        let candidate = materialise(&net, prunable, &widths, images, runtime).unwrap();
        for size in [2, 3, 4] {
            let scores = together(size, |team| {
                if team.leads() {
                    let evaluator = evaluator(Some(team));
                    return evaluator.accuracy_of_graph(&candidate, runtime).unwrap();
                }
                let (task, device) = (Arc::new(Classification), runtime.device);
                let mut held = Held::draw(&*search, task, &config, device, Some(team)).unwrap();
                held.remember(&sent(&graph), runtime).unwrap();
                held.score_of(&sent(&candidate), runtime).unwrap()
            });
            scores
                .iter()
                .for_each(|score| check_equal(&expected, score));
        }
    }
}

#[test]
fn a_split_measured_in_parts_has_the_score_of_the_whole() {
    let graph = trained();
    let subject = Subject {
        graph: &graph,
        task: &Classification,
        original: None,
    };
    let runtime = Runtime::default();
    // Two samples leave a process of three without any.
    for (samples, size) in [(101, 2), (101, 3), (64, 4), (2, 3)] {
        let data = data(samples, 2);
        let expected = score(subject, &*data, 16, runtime).unwrap();
        let scores = together(size, |team| {
            score_together(subject, &*data, 16, runtime, Some(&team)).unwrap()
        });
        scores
            .iter()
            .for_each(|score| check_equal(&expected, score));
    }
}

#[test]
fn a_sample_that_one_process_cannot_read_ends_the_measurement_of_all() {
    let graph = trained();
    let images = Faulty {
        images: data(48, 1),
        at: 20,
        is_read: false,
    };
    let errors = together(3, |team| {
        let subject = Subject {
            graph: &graph,
            task: &Classification,
            original: None,
        };
        let score = score_together(subject, &images, 16, Runtime::default(), Some(&team));
        score.map(|_| ()).unwrap_err()
    });
    assert!(matches!(errors[1], TrainError::Data(_)), "{}", errors[1]);
    for rank in [0, 2] {
        let error = &errors[rank];
        assert!(matches!(error, TrainError::Peer { rank: 1 }), "{error}");
    }
}

/// A network that maps `[N, 3, 8, 8]` to itself without negative values.
fn by_position() -> Graph {
    let mut graph = Graph::new("positions", 17);
    let dims = [
        Dim::Symbol("N".into()),
        Dim::Known(3),
        Dim::Known(8),
        Dim::Known(8),
    ];
    let x = graph.add_input("x", DType::F32, dims.to_vec());
    let y = graph.push("y", Op::Relu(ops::Relu), &[x]).unwrap();
    graph.add_output(y);
    graph
}

/// Images with values to predict: their label and its square.
struct Valued(Arc<dyn Dataset>);

impl Dataset for Valued {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        self.0.classes()
    }
    fn image_shape(&self) -> [usize; 3] {
        self.0.image_shape()
    }
    fn label(&self, index: usize) -> usize {
        self.0.label(index)
    }
    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.0.decode(index, out)
    }
    fn target_len(&self) -> usize {
        2
    }
    fn target(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        let label = self.label(index) as f32;
        out.copy_from_slice(&[label, label * label]);
        Ok(())
    }
    fn input(&self) -> &InputSpec {
        self.0.input()
    }
    fn identity(&self) -> String {
        self.0.identity()
    }
}

/// Checks that tallies of parts add up to that of the whole. `targets` and `head` have as many
/// rows.
fn check_adds_up(task: &dyn Task, head: &Tensor, targets: &Tensor) {
    let original = head.flip([0]);
    let tally = |from: i64, to: i64| {
        let rows = |of: &Tensor| of.slice(0, from, to, 1);
        let mut tally = task.tally();
        let (own, original) = ([rows(head)], [rows(&original)]);
        tally.add(&own, &rows(targets), Some(&original)).unwrap();
        tally
    };
    let rows = head.size()[0];
    let whole = tally(0, rows).score();
    assert!(whole.value > 0.0 && whole.value < 1.0, "{whole:?}");
    let parts = [tally(0, 5), tally(5, rows), task.tally()].map(|part| part.sums());
    let sums = (0..parts[0].len()).map(|i| parts.iter().map(|part| part[i]).sum());
    let mut all = task.tally();
    all.take(&sums.collect::<Vec<f64>>());
    check_equal(&whole, &all.score());
}

#[test]
fn the_sums_behind_the_score_of_every_task_add_up() {
    let runtime = Runtime::default();
    let random = |shape: &[i64]| {
        let count: i64 = shape.iter().product();
        let values = Tensor::arange(count, (Kind::Float, runtime.device));
        (values * 12.9898f64).sin().reshape(shape) + 0.2
    };
    let rows = 12;
    let classes = Tensor::arange(rows, (Kind::Int64, runtime.device)).remainder(CLASSES as i64);
    let logits = random(&[rows, CLASSES as i64]);
    check_adds_up(&Classification, &logits, &classes);
    let labels = random(&[rows, CLASSES as i64]).flip([1]).ge(0.0);
    check_adds_up(&MultiLabel, &logits, &labels.to_kind(Kind::Float));
    let values = Valued(data(24, 1));
    let near = random(&[rows, 2]);
    let targets = &near + random(&[rows, 2]).flip([0]) * 0.1;
    check_adds_up(&Regression::new(&values).unwrap(), &near, &targets);
    let positions = by_position();
    let pixels = random(&[rows, 3, 8, 8]);
    let mask = pixels.flip([0]).argmax(1, false).flatten(1, -1);
    check_adds_up(
        &Segmentation::new(&positions, None).unwrap(),
        &pixels,
        &mask,
    );
    let samples = (32, 1);
    let follow = Follow::new(&positions, &[], &*data(32, 1), samples, runtime).unwrap();
    check_adds_up(&follow, &(pixels * 0.1), &classes);
    let graph = network(5);
    let followed = Followed {
        name: graph.value(graph.outputs()[0]).name.clone(),
        weight: 1.0,
        form: Some(OutputForm::Classes),
    };
    let follow = Follow::new(&graph, &[followed], &*data(32, 1), samples, runtime).unwrap();
    check_adds_up(&follow, &logits, &classes);
}

fn settings() -> FinetuneConfig {
    FinetuneConfig {
        epochs: 3,
        sgd: SgdConfig {
            lr: 0.05,
            ..SgdConfig::default()
        },
        ..FinetuneConfig::default()
    }
}

/// Networks cut from one, which they learn from.
struct Candidates {
    teacher: Graph,
    graphs: Vec<Graph>,
    loaders: Vec<Loader>,
    config: FinetuneConfig,
}

impl Candidates {
    fn new(count: usize) -> Self {
        let subject = subject();
        let cut = |widths: &[usize; 2]| {
            let cut = subject.prunable().cut(widths).unwrap();
            channels::apply(&subject.graph, &cut).unwrap()
        };
        let widths = [[6, 8], [4, 0], [8, 4]];
        Self {
            graphs: widths[..count].iter().map(cut).collect(),
            teacher: subject.graph.clone(),
            loaders: (0..count).map(|_| loader(64, 16)).collect(),
            config: settings(),
        }
    }

    fn job<'a>(&'a self, index: usize, graph: &'a Graph) -> (TrainJob<'a>, TeacherSetup<'a>) {
        let job = common::job(graph, &self.loaders[index], &self.config);
        let graph = &self.teacher;
        let features = &[];
        (job, TeacherSetup { graph, features })
    }

    /// The checkpoint of each after a training by one process.
    fn alone(&self, folder: &Path) -> Vec<Vec<u8>> {
        let train = |(index, graph): (usize, &Graph)| {
            let path = folder.join(format!("alone-{index}"));
            let (mut job, teacher) = self.job(index, graph);
            job.checkpoint = Some(&path);
            finetune(&job, Some(teacher), &mut Silent).unwrap();
            std::fs::read(&path).unwrap()
        };
        self.graphs.iter().enumerate().map(train).collect()
    }

    /// Trains as one of several processes, each with a candidate if there is one for it. The files
    /// of the first process are in `folder`.
    fn abreast(
        &self,
        team: &Team,
        folder: &Path,
        observer: &mut dyn train::Observer,
    ) -> Result<Completion, TrainError> {
        let own = tempfile::tempdir().unwrap();
        let folder = if team.leads() { folder } else { own.path() };
        let files = files(folder, self.graphs.len());
        let Some(graph) = self.graphs.get(team.rank()) else {
            return finetune_abreast(team, None, &files, observer);
        };
        let (job, teacher) = self.job(team.rank(), graph);
        let identity = finetune_identity(&job, Some(teacher));
        let graph = sent(graph);
        let job = TrainJob {
            graph: &graph,
            identity: Some(&identity),
            ..job
        };
        finetune_abreast(team, Some((&job, teacher)), &files, observer)
    }
}

fn files(folder: &Path, count: usize) -> Vec<PathBuf> {
    (0..count).map(|i| folder.join(format!("{i}"))).collect()
}

#[test]
fn each_process_trains_to_the_last_bit_what_one_process_trains() {
    let folder = tempfile::tempdir().unwrap();
    for (count, size) in [(3, 3), (2, 3)] {
        let candidates = Candidates::new(count);
        let alone = candidates.alone(folder.path());
        let out = tempfile::tempdir().unwrap();
        let ends = together(size, |team: Rc<Team>| {
            candidates.abreast(&team, out.path(), &mut Silent).unwrap()
        });
        assert_eq!(ends, vec![Completion::Finished; size]);
        for (path, alone) in files(out.path(), alone.len()).iter().zip(&alone) {
            assert!(&std::fs::read(path).unwrap() == alone, "{}", path.display());
        }
        // One process goes on with what another one trained: there is nothing left to do.
        let path = &files(out.path(), alone.len())[1];
        let (mut job, teacher) = candidates.job(1, &candidates.graphs[1]);
        job.checkpoint = Some(path);
        let mut watch = |_: Event| panic!("a step of a training that is done");
        finetune(&job, Some(teacher), &mut watch).unwrap();
    }
}

#[test]
fn a_stop_of_one_process_stops_all_after_the_same_step_and_all_resume_there() {
    let folder = tempfile::tempdir().unwrap();
    let candidates = Candidates::new(3);
    let alone = candidates.alone(folder.path());
    let out = tempfile::tempdir().unwrap();
    let ends = together(3, |team: Rc<Team>| {
        let (mut last, rank) = (0, team.rank());
        let mut watch = |event: Event| {
            last = event.step;
            match rank == 1 && event.step == 6 {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let end = candidates.abreast(&team, out.path(), &mut watch).unwrap();
        (end, last)
    });
    assert_eq!(ends, [(Completion::Stopped, 6); 3]);
    for path in files(out.path(), 3) {
        assert_eq!(checkpoint::load(&path).unwrap().unwrap().0.step, 6);
    }
    let firsts = together(3, |team: Rc<Team>| {
        let mut first = None;
        let mut watch = |event: Event| {
            first.get_or_insert(event.step);
            ControlFlow::Continue(())
        };
        let end = candidates.abreast(&team, out.path(), &mut watch).unwrap();
        (end, first)
    });
    assert_eq!(firsts, [(Completion::Finished, Some(7)); 3]);
    for (path, alone) in files(out.path(), 3).iter().zip(&alone) {
        assert!(&std::fs::read(path).unwrap() == alone, "{}", path.display());
    }
}

#[test]
fn a_training_that_is_longer_than_the_others_is_waited_for() {
    let out = tempfile::tempdir().unwrap();
    let mut candidates = Candidates::new(3);
    candidates.loaders[1] = loader(128, 16);
    let lasts = together(3, |team: Rc<Team>| {
        let mut last = 0;
        let mut watch = |event: Event| {
            last = event.step;
            ControlFlow::Continue(())
        };
        let end = candidates.abreast(&team, out.path(), &mut watch).unwrap();
        assert_eq!(end, Completion::Finished);
        last
    });
    assert_eq!(lasts, [12, 24, 12]);
    let meta = checkpoint::load(&files(out.path(), 3)[1])
        .unwrap()
        .unwrap()
        .0;
    assert_eq!((meta.epoch, meta.step), (3, 24));
}

#[test]
fn an_error_of_one_training_ends_all_and_is_its_own() {
    for is_read in [true, false] {
        let mut candidates = Candidates::new(3);
        let images = Faulty {
            images: data(64, 1),
            at: 31,
            is_read,
        };
        let config = candidates.loaders[1].config().clone();
        candidates.loaders[1] = Loader::new(Arc::new(images), config).unwrap();
        let out = tempfile::tempdir().unwrap();
        let errors = together(3, |team: Rc<Team>| {
            let end = candidates.abreast(&team, out.path(), &mut Silent);
            end.map(|_| ()).unwrap_err()
        });
        let own = match &errors[1] {
            TrainError::NonFinite { .. } => is_read,
            TrainError::Data(_) => !is_read,
            _ => false,
        };
        assert!(own, "{}", errors[1]);
        for rank in [0, 2] {
            let error = &errors[rank];
            assert!(matches!(error, TrainError::Peer { rank: 1 }), "{error}");
        }
    }
}
