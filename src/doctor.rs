//! Looks at everything that the daemon needs, says what is there and what is wrong, and what to do about it.
//!
//! It starts nothing and leaves nothing: no group is joined, no record written, and a file made to see whether a folder
//! can be written to is gone again. What only doing would show is said to be not tried, never to be well. Each
//! question has a time limit, those to the broker together stay under 20 s; only a model takes as long as it takes to
//! load.

mod kafka;
mod machine;
mod model;
mod places;

use serde::Serialize;

use crate::config::Config;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It may do, or may not.
    Warn,
    /// The daemon cannot work like this.
    Fail,
    /// Not looked at, and why.
    Skipped,
}

/// One question and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub status: Status,
    /// What is there.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status: Status::Ok, found: found.into(), remedy: None }
    }

    /// Not looked at.
    pub fn skipped(name: &str, why: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status: Status::Skipped, found: why.into(), remedy: None }
    }

    /// Perhaps wrong.
    pub fn warn(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status: Status::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// Wrong.
    pub fn fail(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(name, found, remedy) }
    }
}

/// All answers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing that is needed fails.
    pub healthy: bool,
    /// Version of the program.
    pub version: &'static str,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// A report of these checks.
    pub fn of(checks: Vec<Check>) -> Self {
        let healthy = checks.iter().all(|check| check.status != Status::Fail);
        Self { healthy, version: env!("CARGO_PKG_VERSION"), checks }
    }

    /// The report for a person: a line for each check, what to do below it.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let status = match check.status {
                Status::Ok => "ok",
                Status::Warn => "WARN",
                Status::Fail => "FAIL",
                Status::Skipped => "-",
            };
            add(&mut text, &format!("{status:<5} {:<26} {}\n", check.name, indented(&check.found)));
            if let Some(remedy) = &check.remedy {
                add(&mut text, &format!("{:<33}do: {}\n", "", indented(remedy)));
            }
        }
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        let (failed, warned) = (count(Status::Fail), count(Status::Warn));
        text.push_str(&match (failed, warned) {
            (0, 0) => "all is well\n".to_owned(),
            (0, warned) => format!("it can run; {warned} to look at\n"),
            (failed, warned) => format!("it cannot run: {failed} failed, {warned} to look at\n"),
        });
        text
    }
}

/// Looks at everything that this configuration needs.
pub fn examine(config: &Config) -> Report {
    let mut checks = vec![Check::ok(
        "configuration",
        format!("valid, digest {}; {} for each partition", config.digest, config.budget),
    )];
    checks.extend(places::checks(config));
    checks.extend(model::checks(&config.model));
    let cluster = kafka::look(config);
    checks.extend(cluster.checks);
    checks.extend(machine::checks(config, cluster.partitions, cluster.newest));
    Report::of(checks)
}

/// Further lines below the first.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{:<33}", ""))
}

fn add(text: &mut String, more: &str) {
    text.push_str(more);
}
