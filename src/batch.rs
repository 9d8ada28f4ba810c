//! Gathers texts into batches: when one is full, in padded tokens, or due.
