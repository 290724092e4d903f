//! API tokens and the git password.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::SecretText;
use crate::names::Scope;
use crate::store;

/// What names a new token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// 1 to 64 of letters, digits, `-`, `_`, `.` and `@`.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The one service that it is for; none: all of the host.
    pub service: Option<String>,
    /// When it ends; none: when it is removed.
    #[serde(default, deserialize_with = "super::fields::moment")]
    #[schemars(with = "Option<super::fields::Moment>")]
    pub expires: Option<Timestamp>,
}

/// A new token, shown this once.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct CreatedToken {
    /// Its name.
    pub name: String,
    /// The token.
    pub token: String,
}

/// A token.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The one service that it is for.
    pub service: Option<String>,
    /// When it was made.
    #[schemars(with = "super::fields::Moment")]
    pub created: Timestamp,
    /// When it ends.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub expires: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub last_used: Option<Timestamp>,
}

impl From<store::Token> for Token {
    fn from(token: store::Token) -> Self {
        Self {
            name: token.name.into(),
            scope: token.grant.scope,
            service: token.grant.service.map(Into::into),
            created: token.created,
            expires: token.expires,
            last_used: token.last_used,
        }
    }
}

/// A new git password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// 12 characters or more, and none of the commonest.
    pub password: SecretText,
}

/// All tokens.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Tokens {
    /// By name.
    pub tokens: Vec<Token>,
}
