//! `graphprune measurements`: the content of a store, as text and as files.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::{note, say};
use anyhow::Context as _;
use latency::stats::Interval;
use latency::{
    DamagedEntry, Filter, Format, Record, STORE_FILE, Selection, Store, Verdict, format_moment,
    parse_moment, user_store,
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
    /// The store, and what is selected in it. Damaged entries are named on standard error.
    fn select(&self) -> anyhow::Result<(Store, Selection)> {
        let store = self.store.open()?;
        let since = self.since.as_deref().map(parse_moment);
        let filter = Filter {
            model: self.model.clone(),
            device: self.device.clone(),
            since_unix_ns: since.transpose()?,
            valid: self.valid.then_some(true),
            id: None,
        };
        let selection = store.select(&filter)?;
        for DamagedEntry { id, reason } in &selection.damaged {
            note!(
                "entry {id} of {} is damaged and left out: {reason}",
                store.path().display()
            );
        }
        Ok((store, selection))
    }
}

/// Runs the action.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List(choice) => {
            let (store, Selection { records, damaged }) = choice.select()?;
            for record in &records {
                say!("{}", line(record));
            }
            say!(
                "{} measurements in {}",
                records.len(),
                store.path().display()
            );
            return Ok(complete(&damaged));
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
            let (_, Selection { records, damaged }) = choice.select()?;
            latency::export(&records, *format, *samples, out)?;
            say!(
                "{} measurements written to {}",
                records.len(),
                out.display()
            );
            return Ok(complete(&damaged));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Success if no entry is damaged.
fn complete(damaged: &[DamagedEntry]) -> ExitCode {
    if damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
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
    let origin = if m.is_simulated() {
        "simulated"
    } else {
        "measured"
    };
    format!(
        "{:>6}  {}  {origin:9}  {:.12}  {} on {device}: {:.3} ms{ratio}{verdict}",
        record.id,
        format_moment(m.taken_unix_ns),
        m.model_sha256.to_string(),
        m.name,
        m.median_ns / 1e6,
    )
}
