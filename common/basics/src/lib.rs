//! What every crate needs and none is about: numbers and lists as people read them ([`text`]), the name that was meant
//! ([`names`]), JSON as it was written ([`json`]), files written whole or not at all ([`files`]), what many values say
//! ([`statistics`]), checks of settings ([`check`]), and the name of the machine ([`machine`]).

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod check;
pub mod files;
pub mod json;
pub mod machine;
pub mod names;
pub mod statistics;
pub mod text;
