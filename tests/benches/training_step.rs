//! Training throughput of ResNet-20 (3x32x32, batch 128, 2 threads, stochastic gradient descent) on the executor, beside
//! PyTorch's eager step of the same network; then whole trainings, data loading included, plain and joint with the Graph
//! PruningNet; then the criterion benches of the executor's step.
//!
//! The two are interleaved block by block in one run, because this kind of machine drifts by more than the difference
//! looked for. PyTorch is run as a child process by the interpreter in `.deps/peers`, or the one that
//! `GRAPHPRUNE_PEERS_PYTHON` names; without it the comparison is left out, and said so.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use criterion::{Criterion, Throughput};
use torch_exec::{
    Device, ExecOptions, Kind, MemoryFormat, NormMode, Params, Precision, Program, Sgd, SgdConfig,
    SgdParam, Tensor, cross_entropy, has_bf16, seed, set_threads,
};

const BATCH: i64 = 128;
const THREADS: usize = 2;
const STEPS: usize = 4;
const ROUNDS: usize = 11;

struct Trainer {
    program: Program,
    params: Params,
    sgd: Sgd,
    images: Tensor,
    labels: Tensor,
}

impl Trainer {
    fn new(options: ExecOptions) -> Self {
        seed(0);
        set_threads(THREADS);
        let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default())
            .expect("the zoo's network builds");
        let program = Program::with_options(&graph, options).expect("the zoo's network compiles");
        let params = Params::with_options(&graph, Device::Cpu, &options).expect("the weights load");
        let trainable = params
            .trainable(&graph)
            .into_iter()
            .map(|(_, name, t)| SgdParam::new(name, t))
            .collect();
        let sgd = Sgd::new(
            trainable,
            SgdConfig {
                weight_decay: 1e-4,
                ..SgdConfig::default()
            },
        );
        let images = Tensor::randn([BATCH, 3, 32, 32], (Kind::Float, Device::Cpu));
        let images =
            torch_exec::to_format(&images, options.memory_format).expect("the format exists");
        let labels = Tensor::randint(10, [BATCH], (Kind::Int64, Device::Cpu));
        Self {
            program,
            params,
            sgd,
            images,
            labels,
        }
    }

    fn step(&mut self) {
        self.sgd.zero_grad();
        let mode = NormMode::Update { momentum: 0.1 };
        let logits = self
            .program
            .forward(&self.images, &self.params, None, mode)
            .expect("the network runs");
        cross_entropy(&logits, &self.labels, 0.0)
            .expect("the shapes fit")
            .backward();
        self.sgd.step(0.01).expect("the gradients are there");
    }

    fn run(&mut self, steps: usize) -> f64 {
        let start = Instant::now();
        (0..steps).for_each(|_| self.step());
        start.elapsed().as_secs_f64()
    }
}

struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Option<Self> {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("GRAPHPRUNE_PEERS_PYTHON")
            .map_or_else(|| tests.join("../.deps/peers/bin/python"), PathBuf::from);
        if !python.exists() {
            return None;
        }
        let mut child = Command::new(python)
            .arg(tests.join("peers/torch_step.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let input = child.stdin.take()?;
        let output = BufReader::new(child.stdout.take()?);
        Some(Self {
            child,
            input,
            output,
        })
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("the peer reads");
        let mut answer = String::new();
        self.output
            .read_line(&mut answer)
            .expect("the peer answers");
        answer.trim().to_owned()
    }

    fn run(&mut self, steps: usize) -> f64 {
        self.ask(&format!("run {steps}"))
            .parse()
            .expect("the peer answers with seconds; see its error output")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The peer ends by itself on "quit"; if it is gone already there is nothing left to do.
        let _ = writeln!(self.input, "quit");
        let _ = self.child.wait();
    }
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

fn sorted(mut v: Vec<f64>) -> Vec<f64> {
    v.sort_by(f64::total_cmp);
    v
}

fn compare(peer: &mut Peer, options: ExecOptions) {
    let format = match options.memory_format {
        MemoryFormat::Contiguous => "contiguous",
        MemoryFormat::ChannelsLast => "channels-last",
    };
    let precision = match options.precision {
        Precision::Full => "full",
        Precision::Bf16 => "bf16",
    };
    let mut trainer = Trainer::new(options);
    let ready = peer.ask(&format!("configure {BATCH} {THREADS} {format} {precision}"));
    assert_eq!(
        ready, "ready",
        "the peer did not start; see its error output"
    );
    trainer.run(2);
    peer.run(2);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(trainer.run(STEPS));
        theirs.push(peer.run(STEPS));
    }
    let ratios = sorted(ours.iter().zip(&theirs).map(|(o, t)| t / o).collect());
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    let rate = |seconds: f64| STEPS as f64 * BATCH as f64 / seconds;
    println!(
        "resnet20 {format} {precision}: executor {:.0} images/s, PyTorch {:.0} images/s (medians of {ROUNDS} interleaved \
         blocks of {STEPS} steps); executor / PyTorch {:.3}, by block {:.3} to {:.3} (quartiles {:.3} to {:.3}); \
         ratio of the fastest blocks {:.3}",
        rate(quantile(&ours, 0.5)),
        rate(quantile(&theirs, 0.5)),
        quantile(&theirs, 0.5) / quantile(&ours, 0.5),
        ratios[0],
        ratios[ratios.len() - 1],
        quantile(&ratios, 0.25),
        quantile(&ratios, 0.75),
        theirs[0] / ours[0],
    );
}

/// Both memory orders, in full precision and, where the processor has it, in bfloat16.
fn all_options() -> Vec<ExecOptions> {
    let mut out = Vec::new();
    for precision in [Precision::Full, Precision::Bf16] {
        if precision == Precision::Bf16 && !has_bf16(Device::Cpu) {
            println!("this processor has no bfloat16: it is left out");
            continue;
        }
        for memory_format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            out.push(ExecOptions {
                memory_format,
                precision,
            });
        }
    }
    out
}

/// Images per second of `steps` training steps through the public entry points, the first two left out.
fn whole(steps: usize, joint: bool) -> f64 {
    seed(0);
    set_threads(THREADS);
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default())
        .expect("the zoo's network builds");
    let spec = format!("shapes:train={},test=10", steps as i64 * BATCH * 10 / 9)
        .parse()
        .expect("a good specification");
    let input = datasets::InputSpec::preset("half", [3, 32, 32]).expect("a known preset");
    let data = datasets::open(&spec, &input)
        .expect("shapes are rendered")
        .train;
    let config = datasets::LoaderConfig {
        batch: BATCH as usize,
        drop_last: true,
        ..Default::default()
    };
    let loader = datasets::Loader::new(data, config).expect("the data fits");
    let (mut start, mut images) = (Instant::now(), 0);
    let mut observer = |event: train::Event| {
        if event.step == 2 {
            start = Instant::now();
        } else if event.step > 2 {
            images += BATCH;
        }
        std::ops::ControlFlow::Continue(())
    };
    let runtime = train::Runtime::default();
    if joint {
        let analysis = channels::analyse(&graph).expect("the zoo's network is sound");
        let order = channels::importance_order(&graph, &analysis);
        let grid = search::WidthGrid::default();
        let widths: Vec<Vec<usize>> = analysis
            .groups()
            .iter()
            .map(|g| grid.group(&g.name, g.channels).widths)
            .collect();
        let setup = train::JointSetup {
            graph: &graph,
            analysis: &analysis,
            order: &order,
            widths: &widths,
            net: &train::PruningNetConfig::default(),
            config: &train::JointConfig {
                epochs: 1,
                ..Default::default()
            },
            runtime,
            seed: 1,
        };
        let mut state = train::JointState::new(&setup).expect("the set-up is sound");
        train::train_joint(&mut state, &loader, None, &mut observer).expect("the training runs");
    } else {
        let config = train::FinetuneConfig {
            epochs: 1,
            ..Default::default()
        };
        train::train_plain(&graph, &loader, &config, runtime, 1, None, &mut observer)
            .expect("the training runs");
    }
    images as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    let listing = std::env::args().any(|a| a == "--list" || a == "--test");
    let options = all_options();
    if !listing {
        match Peer::start() {
            Some(mut peer) => options.iter().for_each(|&o| compare(&mut peer, o)),
            None => {
                println!("no interpreter with PyTorch in .deps/peers: the comparison is left out")
            }
        }
        let rates = |joint| sorted((0..3).map(|_| whole(20, joint)).collect());
        for (name, rates) in [("plain", rates(false)), ("joint", rates(true))] {
            println!(
                "resnet20 whole {name} training with data loading: {:.0} images/s ({:.0} to {:.0})",
                quantile(&rates, 0.5),
                rates[0],
                rates[rates.len() - 1],
            );
        }
    }
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("training_step");
    group.throughput(Throughput::Elements(BATCH as u64));
    for options in options {
        let mut trainer = Trainer::new(options);
        let name = format!(
            "resnet20/plain/{:?}/{:?}",
            options.memory_format, options.precision
        )
        .to_lowercase();
        group.bench_function(name, |b| b.iter(|| trainer.step()));
    }
    group.finish();
    criterion.final_summary();
}
