//! Writes an invented history as a page:
//! `cargo run -p report --example sample_history FILE.html`.

use report::history::{Estimate, HistoryData, Run, RunVerdict, Series, render, text};

/// Half a per cent of noise, and 6 % more from the 18th run until it is fixed in the 22nd.
fn series(model: &str, base_ns: f64) -> Series {
    let run = |i: usize| {
        let noise = ((i * 7919) % 11) as f64 / 1000.0 - 0.005;
        let change = noise + if (18..22).contains(&i) { 0.06 } else { 0.0 };
        let latency = base_ns * (1.0 + change + ((i * 31) % 7) as f64 * 0.01);
        let half = 0.004 + ((i * 13) % 5) as f64 / 1000.0;
        let verdict = match i {
            0 => RunVerdict::NoBaseline,
            9 => RunVerdict::Unmeasured,
            13 => RunVerdict::Undecided,
            18..22 => RunVerdict::Regressed,
            27 => RunVerdict::Improved,
            _ => RunVerdict::Fine,
        };
        let change = if verdict == RunVerdict::Improved {
            -0.08
        } else {
            change
        };
        let half = if verdict == RunVerdict::Undecided {
            0.05
        } else {
            half
        };
        let figure = |value: f64, half: f64| Estimate {
            value,
            interval: Some((value - half, value + half)),
        };
        let measured = verdict != RunVerdict::Unmeasured;
        Run {
            unix_s: 1_790_000_000 + i as u64 * 43_000,
            label: format!("{:08x}{:032x}", (i as u32 + 1).wrapping_mul(0x9e37_79b9), i),
            sha256: format!("{:064x}", (i as u128 / 5 + 1) * 0x9e37_79b9_7f4a_7c15),
            runtime: "1.30.0".into(),
            baseline: if i == 0 { String::new() } else { "main".into() },
            latency_ns: measured.then(|| figure(latency, latency * half)),
            change: (measured && i > 0).then(|| figure(change, half)),
            processes: 5 + (i % 3) as u32,
            threshold: 0.03,
            verdict,
            notes: if measured {
                String::new()
            } else {
                "the worker ended with signal 9 while it loaded the model".into()
            },
        }
    };
    Series {
        model: model.into(),
        device: "kitchen".into(),
        device_id: "raspberry-pi-4-0123456789ab".into(),
        setup: "threads=4 spinning=false batch=1 cores=all".into(),
        runs: (0..30).map(run).collect(),
    }
}

fn main() -> std::io::Result<()> {
    let file = std::env::args().nth(1);
    let data = HistoryData {
        series: vec![series("resnet20", 8.2e6), series("mobilenet_v2", 41e6)],
    };
    print!("{}", text(&data));
    std::fs::write(
        file.unwrap_or_else(|| "history.html".to_owned()),
        render(&data),
    )
}
