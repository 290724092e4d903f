//! Large files, in the words of Git LFS (git-lfs/docs/api/batch.md).

use serde::{Deserialize, Serialize};

/// What those messages are called.
pub const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// How many files are asked for at once.
pub const MOST: usize = 1000;

/// What is to be done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// They are pushed.
    Upload,
    /// They are fetched.
    Download,
}

/// A file, by its SHA-256 and its size in bytes.
#[derive(Debug, Deserialize)]
pub struct AskedObject {
    /// 64 hexadecimal digits.
    pub oid: String,
    /// Bytes.
    pub size: u64,
}

/// What is asked.
#[derive(Debug, Deserialize)]
pub struct Batch {
    /// What is to be done.
    pub operation: Operation,
    /// With which files.
    pub objects: Vec<AskedObject>,
}

/// Where a file is sent to or had from.
#[derive(Debug, Serialize)]
pub struct Action {
    /// The address.
    pub href: String,
}

/// What may be done with a file.
#[derive(Debug, Default, Serialize)]
pub struct Actions {
    /// Where it is sent to, by PUT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<Action>,
    /// Where it is had from, by GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Action>,
}

/// Why nothing may be.
#[derive(Debug, Serialize)]
pub struct ObjectError {
    /// An HTTP status.
    pub code: u16,
    /// A sentence.
    pub message: String,
}

/// What is answered of a file.
#[derive(Debug, Serialize)]
pub struct AnsweredObject {
    /// Its SHA-256.
    pub oid: String,
    /// Its size in bytes.
    pub size: u64,
    /// What may be done; nothing where it is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Actions>,
    /// Why nothing may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ObjectError>,
}

/// What is answered.
#[derive(Debug, Serialize)]
pub struct BatchAnswer {
    /// How files are sent.
    pub transfer: &'static str,
    /// What they are named by.
    pub hash_algo: &'static str,
    /// Each file.
    pub objects: Vec<AnsweredObject>,
}
