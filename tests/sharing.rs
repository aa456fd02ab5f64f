//! Searches that share what they measure, by a real PostgreSQL server.

mod harness;

#[path = "sharing/ledger.rs"]
mod ledger;
#[path = "sharing/searches.rs"]
mod searches;
#[path = "sharing/server.rs"]
mod server;
