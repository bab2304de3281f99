//! `graphprune measurements`: the content of a store, as text and as files.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::say;
use anyhow::Context as _;
use latency::stats::Interval;
use latency::{
    Filter, Format, Record, STORE_FILE, Store, Verdict, format_moment, parse_moment, user_store,
};

/// List, show or export stored measurements.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune measurements list --store runs/a --valid\n  graphprune measurements show 17 --store runs/a\n  graphprune measurements export --format parquet --samples --out all.parquet --since 7d"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List measurements, one per line
    List(Choice),
    /// Print one measurement as JSON
    Show {
        /// Its number in the output of `list`
        id: i64,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Write measurements to a CSV, JSON or Parquet file, with units in the column names
    Export {
        #[command(flatten)]
        choice: Choice,
        /// Format of the file: csv, json or parquet
        #[arg(long, default_value = "csv")]
        format: Format,
        /// Output file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Include every timed run
        #[arg(long)]
        samples: bool,
    },
}

#[derive(Debug, clap::Args)]
struct StoreArg {
    /// Store: a file or a run's folder [default: the user's store]
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
}

impl StoreArg {
    fn open(&self) -> anyhow::Result<Store> {
        let path = match &self.store {
            Some(path) if path.is_dir() => path.join(STORE_FILE),
            Some(path) => path.clone(),
            None => user_store().context("the system names no home folder; give --store")?,
        };
        Ok(Store::open_existing(&path)?)
    }
}

#[derive(Debug, clap::Args)]
struct Choice {
    #[command(flatten)]
    store: StoreArg,
    /// Filter by model: the beginning of its SHA-256, or a part of its name
    #[arg(long)]
    model: Option<String>,
    /// Filter by device: its name, host name, identity or profile
    #[arg(long)]
    device: Option<String>,
    /// Only measurements since a date (2026-11-26, \"2026-11-26 14:30\" in UTC) or within a time
    /// (90m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only valid measurements
    #[arg(long)]
    valid: bool,
}

impl Choice {
    fn select(&self) -> anyhow::Result<(Store, Vec<Record>)> {
        let store = self.store.open()?;
        let since = self.since.as_deref().map(parse_moment);
        let filter = Filter {
            model: self.model.clone(),
            device: self.device.clone(),
            since_unix_ns: since.transpose()?,
            valid: self.valid.then_some(true),
            id: None,
        };
        let records = store.select(&filter)?;
        Ok((store, records))
    }
}

/// Runs the action.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List(choice) => {
            let (store, records) = choice.select()?;
            for record in &records {
                say!("{}", line(record));
            }
            say!(
                "{} measurements in {}",
                records.len(),
                store.path().display()
            );
        }
        Action::Show { id, store } => {
            let store = store.open()?;
            let record = store
                .get(*id)?
                .with_context(|| format!("{} holds no measurement {id}", store.path().display()))?;
            say!("{}", serde_json::to_string_pretty(&record)?);
        }
        Action::Export {
            choice,
            format,
            out,
            samples,
        } => {
            let (_, records) = choice.select()?;
            latency::export(&records, *format, *samples, out)?;
            say!(
                "{} measurements written to {}",
                records.len(),
                out.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(record: &Record) -> String {
    let m = &record.measurement;
    let ratio = m.ratio.map_or_else(String::new, |ratio| {
        let Interval { value, low, high } = ratio.interval;
        format!(", {value:.4}x ({low:.4} to {high:.4})")
    });
    let verdict = match &m.verdict {
        Verdict::Valid => String::new(),
        Verdict::Invalid { reason } => format!(", NOT VALID: {reason}"),
    };
    let device = match record.origin.device_name.as_str() {
        "" => &record.device,
        name => name,
    };
    format!(
        "{:>6}  {}  {:.12}  {} on {device}: {:.3} ms{ratio}{verdict}",
        record.id,
        format_moment(m.taken_unix_ns),
        m.model_sha256.to_string(),
        m.name,
        m.median_ns / 1e6,
    )
}
