//! Looks at everything that the daemon needs, says what is there and what is wrong, and what to do about it.
//!
//! It starts nothing and leaves nothing: no group is joined, no record written, and a file made to see whether a folder
//! can be written to is gone again. What could not be looked at is said in the end, and never to be well. Each
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
    /// Not looked at: these settings do without it.
    Unneeded,
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

    /// Not needed.
    pub fn unneeded(name: &str, why: impl Into<String>) -> Self {
        Self { status: Status::Unneeded, ..Self::skipped(name, why) }
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
                Status::Skipped => "?",
                Status::Unneeded => "-",
            };
            add(&mut text, &format!("{status:<5} {:<26} {}\n", check.name, indented(&check.found)));
            if let Some(remedy) = &check.remedy {
                add(&mut text, &format!("{:<33}do: {}\n", "", indented(remedy)));
            }
        }
        text + &self.end()
    }

    /// What it comes to, in a line or two.
    fn end(&self) -> String {
        let named = |status| self.checks.iter().filter(move |check| check.status == status);
        let (failed, warned) = (named(Status::Fail).count(), named(Status::Warn).count());
        let skipped: Vec<&str> = named(Status::Skipped).map(|check| check.name.as_str()).collect();
        let end = match (failed, warned, skipped.is_empty()) {
            (0, 0, true) => "all is well",
            (0, 0, false) => "what was looked at is well",
            (0, warned, _) => &format!("it can run; {warned} to look at"),
            (failed, warned, _) => &format!("it cannot run: {failed} failed, {warned} to look at"),
        };
        if skipped.is_empty() {
            format!("{end}\n")
        } else {
            format!("{end}; not looked at: {}\n", skipped.join(", "))
        }
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
