//! Why a name was refused.

use thiserror::Error;

use crate::problem::{Code, Problem};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// A service name that isn't a DNS label in our alphabet.
    #[error(
        "`{0}` is not a service name: it takes 1 to 40 of a-z, 0-9 and -, starting with a letter and not ending with -"
    )]
    Service(String),
    /// A service name that the agent keeps for itself.
    #[error("the name `{0}` is reserved: it would be read as something of the agent's or of the host's")]
    Reserved(String),
    /// A commit id that isn't 40 or 64 lower-case hexadecimal digits.
    #[error("`{0}` is not a commit id: it takes 40 or 64 hexadecimal digits")]
    Commit(String),
    /// A branch name that git would not take, or that could be read as an option.
    #[error("`{0}` is not a branch name")]
    Branch(String),
    /// A template name.
    #[error("`{0}` is not a template name: it takes 1 to 40 of a-z, 0-9 and -")]
    Template(String),
    /// An environment variable's key.
    #[error(
        "`{0}` is not a variable name: it takes up to 200 bytes without blanks and without = , \" ' \\ % and $, which a \
         release's unit could not carry, and begins with no -"
    )]
    EnvKey(String),
    /// A host name.
    #[error("`{0}` is not a host name: it takes a-z, 0-9, - and ., at most 253 characters, and is no address")]
    Host(String),
    /// An image registry.
    #[error(
        "`{0}` is not a registry: it takes a host name and, if need be, a port, such as `registry.example.org:5000`"
    )]
    Registry(String),
    /// An image's id.
    #[error("this is no id of an image: it takes 64 hexadecimal digits")]
    ImageId,
    /// A container's id.
    #[error("this is no id of a container: it takes 64 hexadecimal digits")]
    ContainerId,
    /// A volume as Podman knows it.
    #[error("`{0}` is not a volume: it takes letters, digits and ._-, starting with a letter or a digit")]
    HostVolume(String),
    /// A volume's name.
    #[error(
        "`{0}` is not a volume name: it takes 1 to 40 of a-z, 0-9 and -, and is not `volume`, which Podman keeps for itself"
    )]
    Volume(String),
    /// A secret's name.
    #[error("`{0}` is not a secret of Podkeeper's")]
    Secret(String),
    /// A scope.
    #[error("`{0}` is not a scope: it is `read`, `deploy` or `admin`")]
    Scope(String),
    /// A hook's key; it isn't repeated.
    #[error("this is no key for a hook: it takes 24 to 200 printable ASCII characters")]
    HookKey,
    /// A terminal session.
    #[error("`{0}` is not a session: it is eight of a-z and 2-7, as `podkeeper shell --list` shows")]
    SessionId(String),
    /// A terminal session's name.
    #[error("`{0}` is not a session name: it takes 1 to 40 of a-z, 0-9 and -, starting with a letter")]
    Session(String),
    /// A token's name.
    #[error("`{0}` is not a token's name: a token's name takes 1 to 64 of letters, digits, - _ . and @")]
    Token(String),
    /// A passkey's name.
    #[error("`{0}` is not a passkey's name: it takes 1 to 64 characters that are shown as they are")]
    Passkey(String),
    /// A kind of forge.
    #[error("`{0}` is not a kind of forge")]
    Sender(String),
    /// A delivery's number; it isn't repeated.
    #[error("the delivery's number is not 1 to 200 printable ASCII characters")]
    DeliveryId,
    /// A path that health is asked for at.
    #[error("`{0}` is not a path: it begins with / and takes at most 500 printable ASCII characters, without ..")]
    HealthPath(String),
    /// A path inside a repository.
    #[error("`{0}` is not a path inside the repository: it takes a relative one, without `..`, at most 500 bytes")]
    RepoPath(String),
    /// A pattern of files.
    #[error(
        "`{0}` is not a pattern of files: it takes a relative path in which * ? ** [a-z] and {{a,b}} stand for others, \
         without `..`, at most 200 bytes"
    )]
    WatchPattern(String),
    /// The name of a build's argument or secret.
    #[error(
        "`{0}` is not the name of a build's argument or secret: it takes 1 to 200 of letters, digits and _, and begins \
         with no digit"
    )]
    BuildName(String),
    /// The name of an argument that each build has.
    #[error("`{0}` is given to each build by itself")]
    OwnBuildName(String),
    /// An argument's text; it isn't repeated.
    #[error("the text of a build's argument is one line of at most 4096 bytes, without control characters")]
    BuildText,
    /// More than there may be.
    #[error("there are more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A large file's name.
    #[error("`{0}` is no large file's name: it takes 64 hexadecimal digits")]
    LfsId(String),
    /// An ssh key's fingerprint.
    #[error(
        "`{0}` is no fingerprint of an ssh key: it takes `SHA256:` and 43 characters, as `ssh-keygen -l` prints it"
    )]
    Fingerprint(String),
    /// A number (deployment, release) that isn't one.
    #[error("`{0}` is not a number from 1 on")]
    Number(String),
}

impl NameError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Reserved(_) => Problem::new(Code::NameReserved, self.to_string())
                .with_hint("choose another name for the service, such as `my-app`"),
            _ => Problem::new(Code::InvalidName, self.to_string()),
        }
    }
}
