//! Podkeeper: a host agent that makes one Linux server a place where `git push` runs a service.
//!
//! The modules in reading order, from the ground up; each may use those above it in this list and none below.

pub mod config;
pub mod events;
pub mod names;
pub mod problem;
pub mod store;
