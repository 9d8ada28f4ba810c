//! All integration tests, in one binary: one link, one place to look.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod architecture;
mod bad_input;
mod broker;
mod client;
mod detect;
mod models;
mod simulation;
mod sink;
mod source;
mod stream;
