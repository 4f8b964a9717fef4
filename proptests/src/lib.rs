//! Placeholder of this commit; the harness is written next.
