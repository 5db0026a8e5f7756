//! Ginkgo's report in, a summary for people out.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What came of the tests of one suite in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tests {
    pub passed: Vec<String>,
    pub failed: Vec<String>,
    pub skipped: Vec<String>,
}

/// Why tests were left out.
#[derive(Debug, Clone, Copy)]
pub struct Skipped {
    /// The label in their names.
    pub label: &'static str,
    pub because: &'static str,
}

/// What was tested, in pairs of name and version.
#[derive(Debug, Clone)]
pub struct Versions(pub Vec<(String, String)>);

/// Both runs.
#[derive(Debug, Clone)]
pub struct Summary {
    pub versions: Versions,
    pub enforced: Tests,
    pub control: Tests,
    pub skipped: Skipped,
}

/// The parts of Ginkgo's JSON report that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    spec_reports: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    #[serde(default)]
    leaf_node_text: String,
    state: String,
}

impl Tests {
    /// Reads a report, of which only the tests with `suite` in their names count.
    ///
    /// Ginkgo reports every test that it knows, and `skipped` for one that it was not asked to run.
    pub fn read(report: &[u8], suite: &str) -> Result<Self> {
        let reports: Vec<Report> = serde_json::from_slice(report).context("reading Ginkgo's report")?;
        let specs = reports.into_iter().flat_map(|report| report.spec_reports.unwrap_or_default());
        let mut tests = Self::default();
        for spec in specs.filter(|spec| spec.leaf_node_type == "It") {
            let mut words = spec.container_hierarchy_texts.unwrap_or_default();
            words.push(spec.leaf_node_text);
            let name = words.join(" ");
            if name.contains(suite) {
                match spec.state.as_str() {
                    "passed" => tests.passed.push(name),
                    "skipped" | "pending" => tests.skipped.push(name),
                    _ => tests.failed.push(name),
                }
            }
        }
        for names in [&mut tests.passed, &mut tests.failed, &mut tests.skipped] {
            names.sort();
        }
        Ok(tests)
    }

    /// How many were not skipped.
    pub fn run(&self) -> usize {
        self.passed.len() + self.failed.len()
    }
}

impl Summary {
    /// Whether all tests passed with the enforcer, and none without one.
    pub fn is_proof(&self) -> bool {
        let with = self.enforced.failed.is_empty() && !self.enforced.passed.is_empty();
        let without = self.control.passed.is_empty() && !self.control.failed.is_empty();
        with && without
    }

    /// One line.
    pub fn verdict(&self) -> String {
        let (with, without) = (&self.enforced, &self.control);
        format!(
            "{} of {} tests passed with the enforcer, {} of {} without one",
            with.passed.len(),
            with.run(),
            without.passed.len(),
            without.run(),
        )
    }

    /// The file that is committed.
    pub fn markdown(&self) -> String {
        let versions = self.versions.0.iter().map(|(name, version)| format!("{name} {version}"));
        let row = |name: &str, tests: &Tests, skipped: usize| {
            format!(
                "| {name} | {} | {} | {} | {skipped} |",
                tests.run(),
                tests.passed.len(),
                tests.failed.len()
            )
        };
        let Skipped { label, because } = self.skipped;
        let lines = [
            "# NetworkPolicy, by Kubernetes' own tests".to_owned(),
            String::new(),
            "Written by `make conformance`: the `Netpol` tests of Kubernetes' end-to-end suite against the lab.".to_owned(),
            "The control runs some of the same tests in a lab without an enforcer, where they have to fail.".to_owned(),
            String::new(),
            format!("Versions: {}.", versions.collect::<Vec<_>>().join(", ")),
            String::new(),
            "| lab | run | passed | failed | skipped |".to_owned(),
            "| --- | --- | --- | --- | --- |".to_owned(),
            row("with the enforcer", &self.enforced, self.enforced.skipped.len()),
            // The control is a choice: what it leaves out means nothing.
            row("without (control)", &self.control, 0),
            String::new(),
            format!("Skipped are the tests labelled `{label}`: {because}."),
        ];
        let lists = [
            ("Failed with the enforcer", &self.enforced.failed),
            ("Passed without one", &self.control.passed),
            ("Passed with the enforcer", &self.enforced.passed),
            ("Failed without one", &self.control.failed),
            ("Skipped", &self.enforced.skipped),
        ];
        let lists = lists.into_iter().map(|(title, names)| list(title, names));
        lines.join("\n") + "\n" + &lists.collect::<String>()
    }
}

/// Nothing for no names.
fn list(title: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<String> = names.iter().map(|name| format!("- {name}")).collect();
    format!("\n## {title}\n\n{}\n", names.join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tests(states: &[(&str, &str)]) -> Tests {
        let spec = |(name, state): &(&str, &str)| {
            json!({
                "ContainerHierarchyTexts": ["[sig-network] Netpol", "between server and client"],
                "LeafNodeType": "It", "LeafNodeText": name, "State": state,
            })
        };
        let mut specs: Vec<_> = states.iter().map(spec).collect();
        specs.push(json!({"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"}));
        specs.push(json!({"LeafNodeType": "It", "LeafNodeText": "of another suite", "State": "skipped"}));
        let report = json!([{"SuitePath": "e2e", "SpecReports": specs}]);
        Tests::read(report.to_string().as_bytes(), "Netpol").unwrap()
    }

    fn summary(enforced: Tests, control: Tests) -> Summary {
        let versions = [("kubernetes", "v1.36.2"), ("kernel", "6.18")];
        Summary {
            versions: Versions(versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into()),
            enforced,
            control,
            skipped: Skipped { label: "SCTPConnectivity", because: "the kernel has none" },
        }
    }

    #[test]
    fn a_summary_of_a_good_run() {
        let enforced =
            tests(&[("should deny", "passed"), ("should allow", "passed"), ("SCTPConnectivity", "skipped")]);
        let control = tests(&[("should deny", "failed"), ("should allow", "skipped")]);
        insta::assert_snapshot!(summary(enforced, control).markdown());
    }

    #[test]
    fn only_both_halves_together_are_a_proof() {
        let good = tests(&[("a", "passed")]);
        let bad = tests(&[("a", "failed")]);
        let stuck = tests(&[("a", "passed"), ("b", "timedout")]);
        let none = Tests::default();
        for (enforced, control, expected) in [
            (&good, &bad, true),
            (&bad, &bad, false),
            (&good, &good, false),
            (&stuck, &bad, false),
            (&none, &bad, false),
            (&good, &none, false),
        ] {
            assert_eq!(summary(enforced.clone(), control.clone()).is_proof(), expected);
        }
    }

    #[test]
    fn a_report_that_is_none_is_an_error() {
        Tests::read(b"{}", "Netpol").unwrap_err();
    }
}
