//! Figures, and the table that they are printed as.

use std::time::Duration;

/// What was measured in several rounds.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn push_ms(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    /// The value below which this part of the samples lies.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few samples"
        )]
        let index = ((sorted.len().saturating_sub(1)) as f64 * part).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Each of these samples less the median of the others.
    pub(crate) fn less(&self, others: &Self) -> Self {
        let median = others.median();
        Self(self.0.iter().map(|value| value - median).collect())
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// All rows, in the order of measuring.
#[derive(Debug, Default)]
pub(crate) struct Report(String);

impl Report {
    /// One comparison. `better` says how the ratio ws / rival is to be read, `bar` is what ws promises of it.
    pub(crate) fn ratio(
        &mut self,
        what: &str,
        unit: &str,
        (rival, theirs): (&str, &Samples),
        ours: &Samples,
        bar: &str,
    ) {
        // The difference of two medians may be less than nothing.
        let ratio = ours.median().max(0.0) / theirs.median();
        let row = format!(
            "| {what} | {} {unit} | {rival}: {} {unit} | **{ratio:.2}** | {bar} |",
            spread(ours),
            spread(theirs),
        );
        progress(&row);
        self.row(&row);
    }

    /// One figure of several rounds without a rival.
    pub(crate) fn samples(&mut self, what: &str, unit: &str, samples: &Samples, bar: &str) {
        self.figure(what, &format!("{} {unit}", spread(samples)), bar);
    }

    /// One figure without a rival.
    pub(crate) fn figure(&mut self, what: &str, value: &str, bar: &str) {
        let row = format!("| {what} | {value} | | | {bar} |");
        progress(&row);
        self.row(&row);
    }

    fn row(&mut self, row: &str) {
        self.0.push_str(row);
        self.0.push('\n');
    }

    #[expect(clippy::print_stdout, reason = "the result of the program")]
    pub(crate) fn print(&self) {
        println!(
            "| what | ws: median (p10–p90) | rival | ws / rival | bar |\n|---|---|---|---|---|\n{}",
            self.0.trim_end()
        );
    }
}

fn spread(samples: &Samples) -> String {
    format!("{:.0} ({:.0}–{:.0})", samples.median(), samples.quantile(0.1), samples.quantile(0.9))
}

/// For whoever waits.
#[expect(clippy::print_stderr, reason = "progress of a long program")]
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}
