//! The coding agents that `ws up --agent` knows: how each is started on a computer that nobody minds losing, and what it
//! finds in its home so that it asks nothing before it works. Any other word is a program that is started as it is.

use std::ffi::OsString;

use crate::{
    error::{Error, chain},
    session::{command_line, quote},
    ssh::Connection,
    subsystem::answer,
};

/// What is known of an agent.
struct Known {
    /// Its program.
    name: &'static str,
    /// Let it work without asking: the workspace is what contains it.
    arguments: &'static [&'static str],
    /// Turn off what it would send to others than its model, where its makers offer that. It would be denied anyway.
    variables: &'static [(&'static str, &'static str)],
    /// Answers to what it asks when it is first started, in the home directory. [`PROJECT`] is the project's folder.
    files: &'static [(&'static str, &'static str)],
}

/// Stands for the project's folder in what is written for an agent.
const PROJECT: &str = "{project}";

const KNOWN: [Known; 3] = [
    Known {
        name: "claude",
        arguments: &["--dangerously-skip-permissions"],
        variables: &[("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")],
        files: &[
            (".claude.json", include_str!("agents/claude.json")),
            (".claude/settings.json", include_str!("agents/claude-settings.json")),
        ],
    },
    Known {
        name: "codex",
        arguments: &["--dangerously-bypass-approvals-and-sandbox"],
        variables: &[],
        files: &[(".codex/config.toml", include_str!("agents/codex.toml"))],
    },
    Known {
        name: "gemini",
        arguments: &["--yolo"],
        variables: &[],
        files: &[(".gemini/settings.json", include_str!("agents/gemini.json"))],
    },
];

/// Exit code of a shell that does not find a program.
const NOT_FOUND: u32 = 127;
/// Longest answer to what is prepared; it should be none.
const ANSWER: usize = 4 << 10;

/// An agent that is to be started.
#[derive(Clone, Debug)]
pub struct Agent {
    name: String,
    /// Lines for the shell: what comes first, and the agent itself.
    preparation: Vec<u8>,
    line: Vec<u8>,
}

impl Agent {
    /// The agent of this name with further `arguments`.
    pub fn new(name: &str, arguments: &[OsString]) -> Self {
        let known = KNOWN.iter().find(|known| known.name == name);
        Self {
            name: name.to_owned(),
            preparation: preparation(name, known),
            line: line(name, known, arguments),
        }
    }

    /// The line that starts it.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Sees that the workspace has the agent, and writes its files. Those that an image brings stay as they are.
    pub async fn prepare(&self, connection: &Connection) -> Result<(), Error> {
        let channel = connection.session().await?;
        let started = channel.exec(true, self.preparation.as_slice()).await;
        started.map_err(|error| Error::lost(&chain(&error)))?;
        // The other half keeps the channel open.
        let (mut reader, _writer) = channel.split();
        let answer = answer(&mut reader, ANSWER).await?;
        match answer.complaint() {
            None => Ok(()),
            Some(_) if answer.code() == Some(NOT_FOUND) => Err(self.missing()),
            Some(complaint) => Err(Error::user(format!("`{}` cannot be prepared: {complaint}", self.name))),
        }
    }

    fn missing(&self) -> Error {
        Error::no_program(format!("the workspace's image has no program `{}`", self.name))
            .hinted("name an image that has it with --image, or ask your admin for a class with one")
    }
}

fn preparation(name: &str, known: Option<&Known>) -> Vec<u8> {
    let mut lines = command_line(&["command".into(), "-v".into(), name.into()]);
    lines.extend_from_slice(format!(" >/dev/null || exit {NOT_FOUND}\nset -e\n").as_bytes());
    for (path, content) in known.map_or(&[][..], |known| known.files) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        lines.extend_from_slice(format!("mkdir -p ~/{folder}\n[ -e ~/{path} ] || printf %s").as_bytes());
        for (index, part) in content.split(PROJECT).enumerate() {
            lines.extend_from_slice(if index == 0 { b" " } else { b" \"$PWD\" " });
            lines.extend(quote(part.as_bytes()));
        }
        lines.extend_from_slice(format!(" >~/{path}\n").as_bytes());
    }
    lines
}

fn line(name: &str, known: Option<&Known>, arguments: &[OsString]) -> Vec<u8> {
    let mut words: Vec<OsString> = vec!["exec".into()];
    if let Some(known) = known {
        words.push("env".into());
        words.extend(known.variables.iter().map(|(name, value)| format!("{name}={value}").into()));
    }
    words.push(name.into());
    words.extend(known.iter().flat_map(|known| known.arguments).map(Into::into));
    words.extend_from_slice(arguments);
    command_line(&words)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;

    /// Runs a line as an agent would in a workspace whose home and project are `home`.
    fn shell(line: &[u8], home: &Path, path: &str) -> std::process::Output {
        let line = str::from_utf8(line).unwrap();
        let mut bash = Command::new("/bin/bash");
        bash.args(["-c", line]).env_clear().env("HOME", home).env("PATH", path).current_dir(home);
        bash.output().unwrap()
    }

    #[test]
    fn an_image_without_the_agent_is_told_from_one_with_it() {
        let home = tempfile::tempdir().unwrap();
        let code = |name: &str| {
            shell(&Agent::new(name, &[]).preparation, home.path(), "/usr/bin:/bin").status.code()
        };
        assert_eq!(
            (code("sh"), code("no-such-agent"), code("it's $(none)")),
            (Some(0), Some(127), Some(127))
        );
    }

    #[test]
    fn arguments_arrive_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let agent = Agent::new("printf", &["%s|".into(), "a b".into(), "it's".into(), "$HOME".into()]);
        assert_eq!(shell(agent.line(), home.path(), "/usr/bin:/bin").stdout, b"a b|it's|$HOME|");
    }

    #[test]
    fn a_known_agent_finds_its_answers_and_what_an_image_brings_stays() {
        for known in &KNOWN {
            let home = tempfile::Builder::new().prefix("it's a ").tempdir().unwrap();
            let bin = home.path().join("bin");
            fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink("/bin/true", bin.join(known.name)).unwrap();
            let path = format!("{}:/usr/bin:/bin", bin.display());
            let brought = home.path().join(known.files[0].0);
            fs::create_dir_all(brought.parent().unwrap()).unwrap();
            for content in [Some("brought"), None] {
                match content {
                    Some(content) => fs::write(&brought, content).unwrap(),
                    None => fs::remove_file(&brought).unwrap(),
                }
                let output = shell(&Agent::new(known.name, &[]).preparation, home.path(), &path);
                assert!(output.status.success(), "{output:?}");
                let written = fs::read_to_string(&brought).unwrap();
                let project = known.files[0].1.replace(PROJECT, home.path().to_str().unwrap());
                assert_eq!(written, content.map_or(project, str::to_owned), "{}", known.name);
            }
        }
    }

    #[test]
    fn agents_are_started_with_leave_to_do_everything() {
        let line =
            |name: &str| String::from_utf8(Agent::new(name, &["-p".into(), "a b".into()]).line).unwrap();
        assert_eq!(
            line("claude"),
            "exec env CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 claude --dangerously-skip-permissions -p 'a b'"
        );
        assert_eq!(line("codex"), "exec env codex --dangerously-bypass-approvals-and-sandbox -p 'a b'");
        assert_eq!(line("gemini"), "exec env gemini --yolo -p 'a b'");
        assert_eq!(line("aider"), "exec aider -p 'a b'");
    }
}
