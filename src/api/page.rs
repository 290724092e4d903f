//! The pages of lists.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which page is wanted of a list whose pages have at most `MOST` of it, and `USUAL` where nobody says how many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page<const MOST: u64, const USUAL: u64> {
    /// How many at most.
    #[serde(default, deserialize_with = "super::fields::number")]
    #[schemars(range(min = 1, max = MOST), extend("default" = USUAL))]
    pub limit: Option<u64>,
    /// What the page before said.
    pub cursor: Option<String>,
}
