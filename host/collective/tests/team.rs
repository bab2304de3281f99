//! Processes on this machine sum up, share bytes and count together; one that is killed or silent
//! ends the others.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use collective::{CollectiveError, Place, TIMEOUT, Team};
use graphprune_boards::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tch::Tensor;

/// Names the test of a process that is a rank of a team, not the test itself.
const RANK_OF: &str = "GRAPHPRUNE_TEST_RANK_OF";

/// Runs `body` as each of `size` ranks, and returns the results by rank.
fn together<T: Send>(size: usize, body: impl Fn(&Team) -> T + Sync) -> Vec<T> {
    let port = free_port().unwrap();
    std::thread::scope(|scope| {
        let body = &body;
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                scope.spawn(move || {
                    body(&Team::open(&Place::on_loopback(rank, size, port)).unwrap())
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn a_sum_is_the_same_on_all_ranks() {
    for size in [2, 3, 4] {
        let sums = together(size, |team| {
            let rank = team.rank() as f32;
            let tensor = Tensor::from_slice(&[rank + 0.1, 1.0, rank * rank]);
            team.sum(&tensor).unwrap();
            Vec::<f32>::try_from(&tensor).unwrap()
        });
        let n = size as f32;
        let squares: f32 = (0..size).map(|rank| (rank * rank) as f32).sum();
        let expected = [n * (n - 1.0) / 2.0 + 0.1 * n, n, squares];
        for (got, expected) in sums[0].iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
        assert!(sums.iter().all(|sum| sum == &sums[0]), "{sums:?}");
    }
}

#[test]
fn a_gradient_of_a_sum_is_summed_with_the_weights_of_the_losses() {
    // Of all losses, the sum of (r + 1) c_r S with S the sum of the values and c_r = r + 2.
    let size = 3;
    let gradients = together(size, |team| {
        let rank = team.rank() as f64;
        let value = Tensor::from_slice(&[rank, 2.0 * rank]).set_requires_grad(true);
        let weight = rank + 1.0;
        let sum = team.differentiable_sum(&value, weight).unwrap();
        assert_eq!(Vec::<f64>::try_from(&sum.detach()).unwrap(), [3.0, 6.0]);
        (sum * (rank + 2.0)).sum(tch::Kind::Double).backward();
        Vec::<f64>::try_from(value.grad() * weight).unwrap()
    });
    // The derivative of the weighted losses by any value: 1 * 2 + 2 * 3 + 3 * 4.
    assert!(
        gradients.iter().all(|of| of == &[20.0, 20.0]),
        "{gradients:?}"
    );
}

#[test]
fn bytes_and_keys_reach_all_ranks() {
    let long = vec![7u8; 1 << 20];
    let got = together(2, |team| {
        let own: &[u8] = if team.rank() == 1 { &long } else { b"" };
        let bytes = team.share_bytes(own, 1).unwrap();
        let none = team.wait("never", Duration::from_millis(1)).unwrap();
        if team.leads() {
            team.set("greeting", &long[..1000]).unwrap();
        }
        let value = team.wait("greeting", Duration::from_secs(60)).unwrap();
        // No rank leaves with the store before the others have read it.
        team.sum(&Tensor::from_slice(&[0f32])).unwrap();
        (bytes, none, value)
    });
    for got in got {
        assert_eq!(got, (long.clone(), None, Some(long[..1000].to_vec())));
    }
}

#[test]
fn each_item_of_a_queue_goes_to_one_rank() {
    const ITEMS: i64 = 50;
    let taken = together(3, |team| {
        let next = || team.add("next", 1).unwrap();
        let taken: Vec<i64> = std::iter::repeat_with(next)
            .take_while(|&item| item <= ITEMS)
            .collect();
        team.sum(&Tensor::from_slice(&[0f32])).unwrap();
        taken
    });
    let mut all = taken.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=ITEMS).collect::<Vec<_>>());
}

#[test]
fn a_rank_that_never_comes_is_an_error_that_names_the_waiting_one() {
    let mut alone = Place::on_loopback(1, 2, free_port().unwrap());
    alone.timeout = Duration::from_secs(1);
    let error = Team::open(&alone).unwrap_err().to_string();
    assert!(error.starts_with("rank 1 of 2 cannot meet"), "{error}");
}

/// What each rank of the tests below does: sums up until that fails, and prints why.
fn sum_until_it_fails() {
    let place = Place::from_env().unwrap().unwrap();
    let team = Team::open(&place).unwrap();
    let tensor = Tensor::from_slice(&[1f32; 1000]);
    team.sum(&tensor).unwrap();
    println!("STARTED");
    let error = loop {
        if let Err(error) = team.sum(&tensor) {
            break error;
        }
    };
    assert!(matches!(error, CollectiveError::Engine { .. }));
    println!("ENDED {error}");
}

struct Ranks(Vec<Child>);

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The next line with `word` of what a rank prints.
fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) -> String {
    let mut lines = lines.map(Result::unwrap);
    lines.find(|line| line.contains(word)).unwrap()
}

/// Starts ranks that sum up, disturbs the last one by a signal, and returns what the others say.
fn disturbed(test: &str, signal: Signal, seconds: u64) -> Vec<String> {
    const SIZE: usize = 3;
    let port = free_port().unwrap();
    let start = |rank: usize| {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]);
        command.env(RANK_OF, test).stdout(Stdio::piped());
        let numbers = [
            ("RANK", rank),
            ("WORLD_SIZE", SIZE),
            ("MASTER_PORT", port.into()),
        ];
        command.envs(numbers.map(|(name, value)| (name, value.to_string())));
        command.env("MASTER_ADDR", "127.0.0.1");
        command.env("TORCH_CPP_LOG_LEVEL", "FATAL");
        command.env(TIMEOUT, seconds.to_string());
        command.spawn().unwrap()
    };
    let mut ranks = Ranks((0..SIZE).map(start).collect());
    let mut outputs: Vec<_> = ranks
        .0
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().unwrap()).lines())
        .collect();
    for lines in &mut outputs {
        line_with(lines, "STARTED");
    }
    let last = i32::try_from(ranks.0[SIZE - 1].id()).unwrap();
    kill(Pid::from_raw(last), signal).unwrap();
    outputs.truncate(SIZE - 1);
    outputs
        .iter_mut()
        .map(|lines| line_with(lines, "ENDED"))
        .collect()
}

#[test]
fn a_killed_rank_ends_the_others_at_once() {
    const NAME: &str = "a_killed_rank_ends_the_others_at_once";
    if std::env::var_os(RANK_OF).is_some_and(|of| of == NAME) {
        return sum_until_it_fails();
    }
    // By the closed connection: a timeout has another reason.
    for line in disturbed(NAME, Signal::SIGKILL, 600) {
        assert!(line.contains("cannot sum up with"), "{line}");
        assert!(!line.to_lowercase().contains("timed out"), "{line}");
    }
}

#[test]
fn a_stopped_rank_ends_the_others_after_the_timeout() {
    const NAME: &str = "a_stopped_rank_ends_the_others_after_the_timeout";
    if std::env::var_os(RANK_OF).is_some_and(|of| of == NAME) {
        return sum_until_it_fails();
    }
    let lines = disturbed(NAME, Signal::SIGSTOP, 1);
    let timed_out = |line: &String| line.to_lowercase().contains("timed out");
    // The first to give up closes its connections, which ends the other.
    assert!(lines.iter().any(timed_out), "{lines:?}");
}
