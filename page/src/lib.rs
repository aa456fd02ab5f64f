//! The page on which people watch searches and runs: one file, drawn from a [`View`], live by a stream of events or frozen
//! as a report.
//!
//! Whatever is watched is a [`Source`]: a thread looks at it while somebody watches ([`Pages`]), and each reader is sent what
//! it has not seen. Names of choices, metrics and reasons come from users: the page writes them as text only, and its
//! content security policy lets no script run but its own.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod deed;
mod html;
mod pages;
mod routes;
mod view;

pub use deed::{Added, Deed};
pub use html::frozen;
pub use pages::{Pages, Source};
pub use routes::routes;
pub use view::{Rows, View};
