//! `ws policy`.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Subcommand;
use serde::{Deserialize as _, Serialize};
use ws_api::{
    class::WorkspaceClass,
    egress::{Egress, EgressRule},
    names::ClassName,
};
use ws_policy::{
    class::{ClassPolicy, Policy, Rule},
    decide::{Decision, decide},
    expand::expand,
    lint::{Warning, lint},
    request::{Length, Request},
};

use super::Context;
use crate::{
    error::{Error, chain},
    lockfiles,
    project::locate,
};

/// Explain and try what a class lets its workspaces reach
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(Explain),
    Test(Test),
}

/// Show a class's egress rules in full, and what is risky about them
#[derive(Debug, clap::Args)]
struct Explain {
    #[command(flatten)]
    source: Source,
}

/// Show what becomes of a request
///
/// Exits with 0 if it is allowed, with 3 if it is denied, and with 4 if its body decides and is not there. Nothing is sent. For rules
/// that allow the packages of lockfiles, these are the lockfiles in this folder, as with a workspace that is made here.
#[derive(Debug, clap::Args)]
struct Test {
    #[command(flatten)]
    source: Source,
    /// Method, such as GET
    #[arg(value_name = "METHOD")]
    method: String,
    /// URL, such as `https://docs.example/index.html`; a WebSocket's begins with `wss:`
    #[arg(value_name = "URL")]
    url: String,
    /// File with the request's body [default: the body is not looked at]
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Of a workspace that uses only these rules
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    egress: Option<Vec<String>>,
}

#[derive(Debug, clap::Args)]
struct Source {
    /// Name of the class
    #[arg(value_name = "CLASS")]
    class: ClassName,
    /// File with the class, instead of asking the cluster
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The JSON of `ws policy explain`.
#[derive(Serialize)]
struct Explanation {
    class: String,
    #[serde(flatten)]
    egress: Egress,
    warnings: Vec<Warning>,
}

/// What becomes of a request; the JSON of `ws policy test`.
#[derive(Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
enum Verdict {
    Allowed {
        rule: String,
    },
    /// It was not said what its body is.
    DependsOnBody {
        rule: String,
    },
    Denied {
        reason: String,
    },
}

impl Verdict {
    fn allowed_by(rule: &Rule) -> Self {
        Self::Allowed { rule: rule.name.clone() }
    }

    fn denied(reason: &impl ToString) -> Self {
        Self::Denied { reason: reason.to_string() }
    }

    /// None that a failure has: a class that cannot be read denies nothing.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Allowed { .. } => 0,
            Self::Denied { .. } => 3,
            Self::DependsOnBody { .. } => 4,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { rule } => write!(f, "allowed by rule \"{rule}\""),
            Self::DependsOnBody { rule } => {
                write!(
                    f,
                    "allowed by rule \"{rule}\" if its body is as the rule says: `--body FILE` tries one"
                )
            }
            Self::Denied { reason } => f.write_str(reason),
        }
    }
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    match args.command {
        Command::Explain(args) => explain(&args, context).await,
        Command::Test(args) => test(args, context).await,
    }
}

async fn explain(args: &Explain, context: &mut Context) -> Result<u8, Error> {
    let class = args.source.read(context).await?;
    // What cannot be compiled is not explained either.
    compiled(&args.source.class, &class.spec.egress)?;
    let rules = class.spec.egress.rules.iter().map(expand).collect::<Result<Vec<EgressRule>, _>>();
    let rules = rules.map_err(Error::user)?;
    let explanation = Explanation {
        class: args.source.class.to_string(),
        warnings: lint(&rules),
        egress: Egress { rules, ..class.spec.egress },
    };
    let ui = &context.ui;
    if ui.json() {
        ui.json_result(&explanation)?;
        return Ok(0);
    }
    if explanation.egress.rules.is_empty() {
        ui.note(&format!("class `{}` has no egress rules: its workspaces reach nothing", explanation.class));
        return Ok(0);
    }
    let yaml = serde_yaml::to_string(&explanation.egress).map_err(|error| Error::internal(chain(&error)))?;
    ui.result(yaml.trim_end())?;
    for warning in &explanation.warnings {
        ui.warn(&format!("rule `{}`: {}", warning.rule, warning.what));
    }
    Ok(0)
}

async fn test(args: Test, context: &mut Context) -> Result<u8, Error> {
    let Test { source, method, url, body, egress } = args;
    let class = source.read(context).await?;
    let class = compiled(&source.class, &class.spec.egress)?;
    if let Some(unknown) = egress.iter().flatten().find(|pick| !class.rules().any(|rule| rule.name == **pick))
    {
        return Err(Error::user(format!("class `{}` has no egress rule `{unknown}`", source.class))
            .hinted(format!("`ws policy explain {}` shows its rules", source.class)));
    }
    let body = body.map(|file| fs::read(&file).map_err(|error| unreadable(&file, &error))).transpose()?;
    // Where no workspace could be made, there are no lockfiles either.
    let locked = locate(Path::new(".")).map(|project| lockfiles::read(&project)).unwrap_or_default();
    let policy = Policy::of(Arc::new(class), egress.as_deref()).with_locked(Arc::new(locked));
    let verdict = judge(&policy, &method, &url, body.as_deref())?;
    let ui = &context.ui;
    if ui.json() {
        ui.json_result(&verdict)?;
    } else {
        ui.result(&verdict.to_string())?;
    }
    Ok(verdict.exit_code())
}

fn judge(policy: &Policy, method: &str, url: &str, body: Option<&[u8]>) -> Result<Verdict, Error> {
    let method = method.parse().map_err(|_| Error::usage(format!("`{method}` is no method")))?;
    let opens_web_socket = url.starts_with("ws:") || url.starts_with("wss:");
    let url = if opens_web_socket { url.replacen("ws", "http", 1) } else { url.to_owned() };
    let uri = url.parse().map_err(|error| Error::usage(format!("`{url}` is no URL: {error}")))?;
    let length = body.map_or(Length::None, |body| Length::Bytes(body.len() as u64));
    let request = match Request::absolute(method, &uri, length) {
        Ok(request) => Request { opens_web_socket, ..request },
        Err(malformed) => return Ok(Verdict::denied(&malformed)),
    };
    let decided = match (decide(policy, &request), body) {
        (Ok(Decision::NeedsBody(undecided)), Some(body)) => undecided.decide(&request.host, body),
        (Ok(Decision::NeedsBody(undecided)), None) => {
            return Ok(Verdict::DependsOnBody { rule: undecided.rule().name.clone() });
        }
        (Ok(Decision::Allowed(allowed)), _) => Ok(allowed),
        (Err(denied), _) => Err(denied),
    };
    Ok(decided.map_or_else(|denied| Verdict::denied(&denied), |allowed| Verdict::allowed_by(allowed.rule())))
}

fn compiled(class: &ClassName, egress: &Egress) -> Result<ClassPolicy, Error> {
    ClassPolicy::compile(class.clone(), egress).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Error::user(format!("class `{class}` cannot be used: {}", problems.join("; ")))
            .hinted("until it is corrected, its workspaces reach nothing")
    })
}

fn unreadable(file: &Path, error: &io::Error) -> Error {
    Error::user(format!("{} cannot be read: {error}", file.display()))
}

impl Source {
    async fn read(&self, context: &mut Context) -> Result<WorkspaceClass, Error> {
        let Some(file) = &self.file else {
            let cluster = context.cluster().await?;
            return context.interrupts.unless(cluster.class(&self.class)).await;
        };
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
        let mut names = Vec::new();
        // Each document twice: what is a class is read from the text, for of a value no error knows the place.
        let documents = || serde_yaml::Deserializer::from_str(&text);
        for (document, again) in documents().zip(documents()) {
            let value = serde_yaml::Value::deserialize(document)
                .map_err(|error| Error::user(format!("{} is not valid YAML: {error}", file.display())))?;
            if value.get("kind").and_then(serde_yaml::Value::as_str) != Some("WorkspaceClass") {
                continue;
            }
            let name = value.get("metadata").and_then(|metadata| metadata.get("name"));
            let name = name.and_then(serde_yaml::Value::as_str).unwrap_or_default();
            if name == self.class.as_ref() {
                return WorkspaceClass::deserialize(again).map_err(|error| {
                    Error::user(format!("{} holds an invalid WorkspaceClass: {error}", file.display()))
                });
            }
            names.push(name.to_owned());
        }
        let hint = if names.is_empty() {
            "it holds no class at all".to_owned()
        } else {
            format!("it holds {}", names.join(", "))
        };
        Err(Error::user(format!("{} holds no class `{}`", file.display(), self.class)).hinted(hint))
    }
}
