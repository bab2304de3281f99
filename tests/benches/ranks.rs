//! What several processes cost and bring on this machine: the time of a sum of a network's
//! gradients, and images per second of a ResNet-20 on CIFAR's size.
//!
//! `cargo bench -p graphprune-tests --bench ranks [-- PROCESSES]`: two processes by default, each
//! with one thread, beside one process with one thread. Run it on a machine without other work.

use std::ops::ControlFlow;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use collective::{Place, Team};
use datasets::{Dataset, InputSpec, Loader, LoaderConfig};
use graphprune_boards::free_port;
use model_zoo::ZooConfig;
use onnx_graph::Graph;
use torch_exec::{Device, Kind, Tensor};
use train::{Classification, Event, FinetuneConfig, Runtime, TrainJob, initialise, train_plain};

/// Numbers of gradients: those of a ResNet-20 and of a ResNet-50.
const SIZES: [(&str, i64); 2] = [("ResNet-20", 272_474), ("ResNet-50", 25_557_032)];
const SUMS: usize = 50;
const BATCH: usize = 128;
const IMAGES: usize = 128 * 12;
/// Steps before the first that counts.
const WARM: u64 = 4;

fn main() {
    torch_exec::set_threads(1);
    if let Some(place) = Place::from_env().expect("a place") {
        let team = Team::open(&place).expect("the other processes");
        sums(&team);
        rate(Some(&team));
        return;
    }
    let size = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let size: usize = size.unwrap_or(2);
    println!("1 process                 {:>8.0} images/s", rate(None));
    let port = free_port().expect("a port");
    let program = std::env::current_exe().expect("this program");
    let others: Vec<Child> = (1..size)
        .map(|rank| {
            let numbers = [
                ("RANK", rank),
                ("WORLD_SIZE", size),
                ("MASTER_PORT", port.into()),
            ];
            let mut command = Command::new(&program);
            command.envs(numbers.map(|(name, value)| (name, value.to_string())));
            command.env("MASTER_ADDR", "127.0.0.1");
            command.spawn().expect("this program starts")
        })
        .collect();
    let team = Team::open(&Place::on_loopback(0, size, port)).expect("the other processes");
    for ((name, _), mut times) in SIZES.iter().zip(sums(&team)) {
        times.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{size} processes, sum, {name}: median {:.2} ms, least {:.2} ms",
            milliseconds(times[SUMS / 2]),
            milliseconds(times[0])
        );
    }
    println!(
        "{size} processes               {:>8.0} images/s",
        rate(Some(&team))
    );
    for mut other in others {
        let ended = other.wait().expect("the process ends");
        assert!(ended.success());
    }
}

/// The times of sums of each size.
fn sums(team: &Team) -> Vec<Vec<Duration>> {
    let time = |tensor: &Tensor| {
        let clock = Instant::now();
        team.sum(tensor).expect("a sum");
        clock.elapsed()
    };
    let of = |&(_, length): &(&str, i64)| {
        let tensor = Tensor::zeros([length], (Kind::Float, Device::Cpu));
        (0..3).for_each(|_| {
            time(&tensor);
        });
        (0..SUMS).map(|_| time(&tensor)).collect()
    };
    SIZES.iter().map(of).collect()
}

fn network() -> Graph {
    let config = ZooConfig {
        classes: 10,
        input: [3, 32, 32],
        seed: 1,
        ..ZooConfig::default()
    };
    let graph = model_zoo::build("resnet20", &config).expect("a network of the zoo");
    initialise(&graph, 1).expect("weights")
}

/// Images per second of a training, with one thread a process.
fn rate(team: Option<&Team>) -> f64 {
    let spec = format!("shapes:train={IMAGES},test=10,search=10");
    let spec = spec.parse().expect("a data set");
    let input = InputSpec::preset("half", [3, 32, 32]).expect("a preset");
    let splits = datasets::open(&spec, &input).expect("shapes");
    let data: Arc<dyn Dataset> = splits.train;
    let config = LoaderConfig {
        batch: BATCH,
        workers: 1,
        drop_last: true,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(data, config).expect("batches");
    let settings = FinetuneConfig {
        epochs: 2,
        ..FinetuneConfig::default()
    };
    let graph = network();
    let job = TrainJob {
        graph: &graph,
        floats: None,
        task: &Classification,
        loader: &loader,
        config: &settings,
        runtime: Runtime::default(),
        seed: 1,
        team,
        checkpoint: None,
        identity: None,
    };
    let (mut begun, mut last) = (Instant::now(), 0);
    let mut watch = |event: Event| {
        if event.step == WARM {
            begun = Instant::now();
        }
        last = event.step;
        ControlFlow::Continue(())
    };
    train_plain(&job, &mut watch).expect("the training runs");
    ((last - WARM) as usize * BATCH) as f64 / begun.elapsed().as_secs_f64()
}
