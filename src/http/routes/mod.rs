//! The handlers, a file a resource: unpack, one call, map.

pub mod audit;
pub mod credentials;
pub mod dashboard;
pub mod deployments;
pub mod env;
pub mod git;
pub mod health;
pub mod hooks;
pub mod host;
pub mod logs;
pub mod metrics;
pub mod objects;
pub mod openapi;
mod outcome;
pub mod password;
pub mod push;
pub mod registries;
pub mod services;
pub mod sessions;
pub mod tokens;
