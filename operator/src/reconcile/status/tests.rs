//! What the status says.
