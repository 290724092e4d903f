//! The service templates: folders with a `template.toml` and the starter files of a new repository.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::names::TemplateName;
use crate::problem::{Code, Problem};

/// Why a template can't be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// There is none of this name.
    #[error("there is no template `{0}`")]
    Unknown(TemplateName),
    /// Its folder can't be read.
    #[error("can't read `{path}`")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Its description can't be understood.
    #[error("`{path}` is no template's description")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl TemplateError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unknown(_) => Problem::new(Code::UnknownTemplate, self.to_string())
                .with_hint("`podkeeper templates`, or GET /templates, lists them"),
            _ => Problem::new(Code::Internal, "the templates can't be read"),
        }
    }
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: TemplateName,
    /// What it is, in a few words.
    pub title: String,
    /// What it makes, in a sentence.
    pub description: String,
    /// The port that its program listens on in the container.
    pub port: u16,
    /// The folder of its starter files; none where the first push brings everything.
    pub files: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    title: String,
    description: String,
    port: u16,
}

/// The folder of the templates.
#[derive(Debug, Clone)]
pub struct Templates {
    folder: PathBuf,
}

impl Templates {
    /// The templates below `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// All of them by name.
    pub async fn list(&self) -> Result<Vec<Template>, TemplateError> {
        let failed = |source| TemplateError::Read { path: self.folder.clone(), source };
        let mut templates = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.folder).await.map_err(failed)?;
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                templates.push(self.get(&name).await?);
            }
        }
        templates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(templates)
    }

    /// One of them.
    pub async fn get(&self, name: &TemplateName) -> Result<Template, TemplateError> {
        read(&self.folder.join(name.as_str()), name).await
    }
}

async fn read(folder: &Path, name: &TemplateName) -> Result<Template, TemplateError> {
    let path = folder.join("template.toml");
    let text = match tokio::fs::read_to_string(&path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(TemplateError::Unknown(name.clone())),
        Err(source) => return Err(TemplateError::Read { path, source }),
    };
    let Description { title, description, port } =
        toml::from_str(&text).map_err(|source| TemplateError::Parse { path, source: Box::new(source) })?;
    let files = folder.join("files");
    let has_files =
        tokio::fs::try_exists(&files).await.map_err(|source| TemplateError::Read { path: files.clone(), source })?;
    Ok(Template { name: name.clone(), title, description, port, files: has_files.then_some(files) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_shipped_template_is_whole() {
        let templates = Templates::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/templates"));
        let all = templates.list().await.unwrap();
        let names: Vec<&str> = all.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["containerfile", "empty", "go", "node", "php", "python", "rust", "static"]);
        for template in &all {
            let Some(files) = &template.files else {
                assert_eq!(template.name.as_str(), "empty");
                continue;
            };
            assert!(files.join("README.md").is_file(), "{} has no README.md", template.name);
            let text = std::fs::read_to_string(files.join("Containerfile")).unwrap();
            assert!(text.contains(&format!("EXPOSE {}", template.port)), "{}'s port", template.name);
        }
        let unknown = templates.get(&"nothing".parse().unwrap()).await;
        assert!(matches!(unknown, Err(TemplateError::Unknown(_))));
    }
}
