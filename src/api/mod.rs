//! The shapes of the interface: what clients send and get, a file a resource. Nothing else of the crate is serialised
//! for them.

pub mod audit;
pub mod auth;
pub mod deployments;
pub mod env;
pub mod fields;
pub mod health;
pub mod hooks;
pub mod host;
pub mod live;
pub mod logs;
pub mod objects;
pub mod page;
pub mod plans;
pub mod registries;
pub mod repository;
pub mod services;
pub mod settings;
pub mod status;
pub mod templates;
pub mod tokens;
