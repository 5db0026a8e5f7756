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

/// What is promised of the figure that a row is about: of a comparison the ratio, otherwise the median.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Bar {
    /// The promise, and whether it is kept by this figure.
    fn judge(self, figure: f64, unit: &str) -> String {
        let (sign, bar, holds) = match self {
            Self::AtLeast(bar) => ('≥', bar, figure >= bar),
            Self::AtMost(bar) => ('≤', bar, figure <= bar),
            Self::Below(bar) => ('<', bar, figure < bar),
        };
        format!("{sign} {}{}", of(&bar.to_string(), unit), if holds { "" } else { ", **missed**" })
    }
}

/// All rows, in the order of measuring.
#[derive(Debug, Default)]
pub(crate) struct Report(String);

impl Report {
    /// One comparison. The bar is that of the ratio, ws / rival.
    pub(crate) fn ratio(
        &mut self,
        what: &str,
        unit: &str,
        (rival, theirs): (&str, &Samples),
        ours: &Samples,
        bar: Option<Bar>,
    ) {
        let ratio = ours.median() / theirs.median();
        // The difference of two medians may be less than nothing: then it is too little to be told.
        let shown = if ratio < 0.0 { "within noise".to_owned() } else { format!("**{ratio:.2}**") };
        let rival = format!("{rival}: {}", of(&spread(theirs), unit));
        self.row([what, &of(&spread(ours), unit), &rival, &shown, &judged(bar, ratio, "")]);
    }

    /// One figure of several rounds without a rival.
    pub(crate) fn samples(&mut self, what: &str, unit: &str, samples: &Samples, bar: Option<Bar>) {
        self.row([what, &of(&spread(samples), unit), "", "", &judged(bar, samples.median(), unit)]);
    }

    /// One figure without a rival, with so many digits after its point.
    pub(crate) fn figure(
        &mut self,
        what: &str,
        unit: &str,
        (figure, digits): (f64, usize),
        bar: Option<Bar>,
    ) {
        let shown = of(&format!("{figure:.digits$}"), unit);
        self.row([what, &shown, "", "", &judged(bar, figure, unit)]);
    }

    fn row(&mut self, cells: [&str; 5]) {
        let row =
            cells.map(|cell| if cell.is_empty() { "| ".to_owned() } else { format!("| {cell} ") }).concat();
        progress(&format!("{row}|"));
        self.0.push_str(&row);
        self.0.push_str("|\n");
    }

    #[expect(clippy::print_stdout, reason = "the result of the program")]
    pub(crate) fn print(&self) {
        println!(
            "| what | ws: median (p10–p90) | rival | ws / rival | bar |\n|---|---|---|---|---|\n{}",
            self.0.trim_end()
        );
    }
}

fn judged(bar: Option<Bar>, figure: f64, unit: &str) -> String {
    bar.map(|bar| bar.judge(figure, unit)).unwrap_or_default()
}

fn spread(samples: &Samples) -> String {
    format!("{:.0} ({:.0}–{:.0})", samples.median(), samples.quantile(0.1), samples.quantile(0.9))
}

/// A figure of a unit; some have none.
fn of(figure: &str, unit: &str) -> String {
    if unit.is_empty() { figure.to_owned() } else { format!("{figure} {unit}") }
}

/// For whoever waits.
#[expect(clippy::print_stderr, reason = "progress of a long program")]
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.to_vec())
    }

    #[test]
    fn a_bar_that_is_missed_is_marked() {
        for (bar, figure, expected) in [
            (Bar::AtLeast(1.5), 1.5, "≥ 1.5 ms"),
            (Bar::AtLeast(1.5), 1.49, "≥ 1.5 ms, **missed**"),
            (Bar::AtMost(2_000.0), 2_000.0, "≤ 2000 ms"),
            (Bar::AtMost(2_000.0), 2_000.1, "≤ 2000 ms, **missed**"),
            (Bar::Below(1.0), 0.99, "< 1 ms"),
            (Bar::Below(1.0), 1.0, "< 1 ms, **missed**"),
            (Bar::AtMost(1.0), f64::NAN, "≤ 1 ms, **missed**"),
        ] {
            assert_eq!(bar.judge(figure, "ms"), expected, "{figure}");
        }
    }

    #[test]
    fn rows_hold_what_was_measured_and_a_difference_below_nothing_is_noise() {
        let mut report = Report::default();
        let theirs = samples(&[100.0, 200.0, 300.0]);
        report.ratio("copy", "ms", ("cp", &theirs), &samples(&[300.0]), Some(Bar::Below(1.0)));
        report.ratio("copy", "ms", ("cp", &theirs), &samples(&[-22.0]), Some(Bar::Below(1.0)));
        report.samples("decision", "ns", &theirs, None);
        report.figure("writes", "", (10.0, 0), Some(Bar::AtMost(10.0)));
        assert_eq!(
            report.0,
            "| copy | 300 (300–300) ms | cp: 200 (100–300) ms | **1.50** | < 1, **missed** |\n\
             | copy | -22 (-22–-22) ms | cp: 200 (100–300) ms | within noise | < 1 |\n\
             | decision | 200 (100–300) ns | | | |\n\
             | writes | 10 | | | ≤ 10 |\n"
        );
    }
}
