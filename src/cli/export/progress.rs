//! A bar on the terminal while traces are exported.

use std::cell::OnceCell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::export::Observer;

/// Drawn on stderr if that is a terminal.
#[derive(Default)]
pub struct Bar(OnceCell<ProgressBar>);

impl Observer for Bar {
    fn started(&self, traces: usize) {
        let bar = ProgressBar::with_draw_target(Some(traces as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("exporting [{bar:30}] {pos}/{len}") {
            bar.set_style(style.progress_chars("=> "));
        }
        let _ = self.0.set(bar);
    }

    fn settled(&self) {
        self.0.get().inspect(|bar| bar.inc(1));
    }

    fn finished(&self) {
        self.0.get().inspect(|bar| bar.finish_and_clear());
    }
}
