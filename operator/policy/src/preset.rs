//! Reviewed lists of requests that ship with ws, one data file each.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};
use ws_api::egress::{Budget, Requests};

/// What a placeholder in a preset's paths stands for: each of the rule's repositories.
pub const REPOSITORY: &str = "{repository}";

/// What all placeholders begin with that stand in a workspace's environment where a credential would be; a colon follows.
pub const PLACEHOLDER: &str = "ws-credential";

const FILES: &[(&str, &str)] = &[
    ("anthropic", include_str!("../presets/anthropic.yaml")),
    ("cargo", include_str!("../presets/cargo.yaml")),
    ("debian", include_str!("../presets/debian.yaml")),
    ("github", include_str!("../presets/github.yaml")),
    ("go", include_str!("../presets/go.yaml")),
    ("google", include_str!("../presets/google.yaml")),
    ("npm", include_str!("../presets/npm.yaml")),
    ("ollama", include_str!("../presets/ollama.yaml")),
    ("openai", include_str!("../presets/openai.yaml")),
    ("openai-compatible", include_str!("../presets/openai-compatible.yaml")),
    ("openrouter", include_str!("../presets/openrouter.yaml")),
    ("pypi", include_str!("../presets/pypi.yaml")),
];

/// Those files, read. A test sees that none is left out.
static PRESETS: LazyLock<BTreeMap<&str, Preset>> = LazyLock::new(|| {
    let read = |(name, file): &(&'static str, &str)| Some((*name, serde_yaml::from_str(file).ok()?));
    FILES.iter().filter_map(read).collect()
});

/// A preset.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preset {
    /// Counts the reviews that changed what is allowed.
    pub version: u32,
    /// One line for people.
    pub summary: String,
    /// Empty: the rule names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    pub allow: Vec<Requests>,
    /// Whether no lockfile names what it fetches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_lockfiles: bool,
    /// Where a request names the model that it asks. Without it, a rule with the preset names no models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelPlace>,
    /// How a credential is put into a request. Without it, a rule with the preset has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Injection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What programs in a workspace find in their environment, so that they start without a credential.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// Where a request names the model that it asks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelPlace {
    /// In `model` of each body that requires it.
    Body,
    /// Where a path has `{model}`.
    Path,
}

/// How a credential is put into a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Injection {
    pub header: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl Preset {
    /// The names of all presets, in order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PRESETS.keys().copied()
    }

    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_preset() {
        for (name, file) in FILES {
            let read = serde_yaml::from_str::<Preset>(file);
            assert_eq!(read.as_ref().ok(), Preset::named(name), "{name}: {read:?}");
            let mut keys =
                read.unwrap().environment.into_iter().filter(|(variable, _)| variable.ends_with("_KEY"));
            assert!(keys.all(|(_, value)| value == format!("{PLACEHOLDER}:{name}")), "{name}");
        }
    }
}
