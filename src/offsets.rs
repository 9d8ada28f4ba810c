//! Knows which offsets of a lane are done, so which may be committed.
