//! Podkeeper: a host agent that makes one Linux server a place where `git push` runs a service.
//!
//! `ARCHITECTURE.md` beside this file is the map.
#![doc = include_str!("ARCHITECTURE.md")]

pub mod config;
pub mod connection;
pub mod decode;
pub mod events;
pub mod exchange;
pub mod names;
pub mod permits;
pub mod problem;
pub mod text;
pub mod tls;
pub mod uptime;
pub mod words;

pub mod git;
pub mod hooks;
pub mod journal;
pub mod podman;
pub mod proxy;
pub mod sandbox;
pub mod store;
pub mod templates;
pub mod units;

pub mod queue;

pub mod builds;
pub mod services;

pub mod auth;
pub mod terminal;

pub mod host;

pub mod deploys;

pub mod api;
pub mod dashboard;
pub mod http;
pub mod socketio;

pub mod agent;
pub mod cli;
