//! All integration tests, in one binary: one link, one place to look.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "what a failed test saw")]

mod architecture;
mod backtest;
mod bad_input;
mod broker;
mod browser;
mod client;
mod command;
mod config;
mod dense;
mod deploy;
mod detect;
mod doctor;
mod explain;
mod infer;
mod late;
mod log;
mod metrics;
mod model_command;
mod models;
mod notify;
mod odd_streams;
mod page;
mod paraphrase;
mod pull;
mod secured;
mod shell;
mod shutdown;
mod simulation;
mod sink;
mod source;
mod stream;
mod systemd;
mod web;
