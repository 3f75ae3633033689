//! The gateway over real HTTP, with a real daemon behind it.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod openai;
mod page;
mod safety;
mod support;
