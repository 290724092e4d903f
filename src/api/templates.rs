//! Templates that a service's repository may begin with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::templates;

/// A template.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What it makes.
    pub description: String,
    /// The port that its program listens on in the container.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl From<templates::Template> for Template {
    fn from(template: templates::Template) -> Self {
        Self {
            name: template.name.to_string(),
            title: template.title,
            description: template.description,
            port: template.port,
        }
    }
}

/// The list of templates.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Templates {
    /// By name.
    pub templates: Vec<Template>,
}
