//! What this program prints: results to stdout, complaints to stderr. The macros of the standard library end the program
//! where nobody reads or the disk is full; those of this module, which have their names and stand in for them in the whole
//! program, drop what cannot be written and let the work go on.

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

/// Why something could not be printed to stdout.
static FAILED: Mutex<Option<io::ErrorKind>> = Mutex::new(None);

macro_rules! print {
    ($($text:tt)*) => { $crate::print::out(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::print::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::print::out(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { srnas_telemetry::stderr::write(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints to stdout, or drops it.
pub fn out(text: fmt::Arguments) {
    note(io::stdout().lock().write_fmt(text));
}

/// Keeps in mind that something could not be printed.
fn note(written: io::Result<()>) {
    if let Err(error) = written {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.kind());
    }
}

/// What clap says in place of a command: its help, or what is wrong with the arguments.
pub fn said_by_clap(said: &clap::Error) {
    let printed = said.print();
    if !said.use_stderr() {
        note(printed);
    }
}

/// Writes what still waits, at the end of the program.
///
/// # Errors
/// If something was dropped, other than because its reader has gone: who reads `| head -1` has what she wanted.
pub fn finish() -> Result<(), Incomplete> {
    note(io::stdout().lock().flush());
    match *FAILED.lock().unwrap_or_else(PoisonError::into_inner) {
        None | Some(io::ErrorKind::BrokenPipe) => Ok(()),
        Some(why) => Err(Incomplete(why)),
    }
}

/// Something of what was to be printed is missing.
#[derive(Debug)]
pub struct Incomplete(io::ErrorKind);

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stdout cannot be written ({}): what was printed is incomplete", self.0)
    }
}

impl std::error::Error for Incomplete {}
