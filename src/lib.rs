//! Finds the strange event in a stream the moment it arrives.
//!
//! ```text
//!  source      decode     render     batch       embed       detect      alert      sink
//!  Record ───▶ Event ───▶ Sample ───▶ [texts] ──▶ Point ────▶ Verdict ──▶ Alert ───▶ topic
//!    bytes      fields     texts,      full or     each text   surprise    grouped,   keyed by
//!               + types    numbers,    due, in     as a unit   by channel  explained, source key
//!                          categories  tokens      vector      and fused   budgeted
//! ```
//!
//! # Invariants
//! - Modules of the first two rows do no I/O, spawn nothing and ask no clock; `pipeline` owns all state that
//!   decides, one lane for each partition, so a verdict is a function of that partition's earlier records, the
//!   model and the configuration. Nothing else.
//! - Only the edges know their library: rdkafka in `source/kafka` and `sink/kafka`, ONNX Runtime in `embed/onnx`.
//! - Every queue has a bound. Bad input is a value, never a panic.

// What flows, and the pure steps, in the order of the stream.
pub mod alert;
pub mod batch;
pub mod decode;
pub mod detect;
pub mod flow;
pub mod offsets;
pub mod pipeline;
pub mod render;

// The edges: the only code that touches the world.
pub mod admin;
pub mod embed;
pub mod metrics;
pub mod sink;
pub mod source;

// The top: what puts the parts together.
pub mod backtest;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod explain;
