//! The ids of user namespaces.

use serde::{Deserialize, Serialize};

/// The 65,536 ids of the user namespace that belong to one service for its life, so that each of its releases can read
/// the volumes of the one before. Counted in the service user's own mapping, where 0 is that user itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id.
    pub base: u32,
}

impl IdRange {
    /// How many ids a range has.
    pub const SIZE: u32 = 65_536;

    /// How many ranges there are for services.
    pub const SERVICES: u32 = 1023;

    /// The range of the shells, behind those of all services. Each shell is in a user namespace of its own, and they
    /// share the ids, so that each can read the home.
    pub const SHELLS: Self = Self::of_slot(Self::SERVICES);

    /// The range of the slot `slot`, counted from 0.
    #[must_use]
    pub const fn of_slot(slot: u32) -> Self {
        Self { base: 1 + slot * Self::SIZE }
    }
}
