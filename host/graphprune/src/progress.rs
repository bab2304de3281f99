//! Progress on the terminal: a bar with the time left, or plain lines when standard error is not
//! a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::output::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pipeline::Reporter;

/// Shows a run's progress on standard error.
pub struct Terminal {
    bar: ProgressBar,
    interactive: bool,
    quiet: bool,
}

impl Terminal {
    /// `quiet` shows warnings only.
    pub fn new(quiet: bool) -> Self {
        let interactive = std::io::stderr().is_terminal() && !quiet;
        Self {
            bar: ProgressBar::hidden(),
            interactive,
            quiet,
        }
    }

    fn line(&self, text: &str) {
        if self.interactive {
            self.bar.suspend(|| note!("{text}"));
        } else {
            note!("{text}");
        }
    }
}

impl Reporter for Terminal {
    fn begin(&mut self, stage: &str, done: u64, total: u64) {
        if self.interactive {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(
                "{prefix} [{bar:24}] {pos}/{len} {eta_precise} left  {wide_msg}",
            );
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(stage.to_owned());
            bar.enable_steady_tick(Duration::from_millis(500));
            self.bar = bar.with_position(done);
            self.bar.reset_eta();
        } else if !self.quiet {
            let from = if done > 0 {
                format!(", from {done}")
            } else {
                String::new()
            };
            note!("{stage}: {total} steps{from}");
        }
    }

    fn step(&mut self, done: u64, detail: &str) {
        self.bar.set_position(done);
        self.bar.set_message(detail.to_owned());
    }

    fn end(&mut self, summary: &str) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
        if !self.quiet {
            note!("{summary}");
        }
    }

    fn note(&mut self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    fn warn(&mut self, line: &str) {
        self.line(&format!("warning: {line}"));
    }
}
