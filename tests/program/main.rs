//! The program as people start it: from a shell, and in a terminal of its own.
#![expect(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod attach;
mod dashboard;
mod digits;
mod drawing;
mod faults;
mod home;
mod picture;
mod readme;
mod repl;
mod screens;
mod serve;
mod shell;
mod studio;
mod terminal;
mod tune;
