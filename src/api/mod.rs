//! The shapes of the interface: what clients send and get, a file a resource. Nothing else of the crate is serialised
//! for them.

pub mod audit;
pub mod auth;
pub mod deployments;
pub mod fields;
pub mod hooks;
pub mod host;
pub mod live;
pub mod logs;
pub mod registries;
pub mod services;
pub mod tokens;
