//! What forges say when somebody has pushed: headers and bytes in; whether the service's key authorises them, and what
//! they tell, out. It does no I/O. A file a family of senders.
//!
//! [`authorises`] comes first and works on the bytes as they came; only then does [`read`] parse them.

mod authentic;
mod azure;
mod bitbucket;
mod decide;
mod delivery;
mod generic;
mod github;
mod gitlab;
mod skip;

#[cfg(test)]
mod tests;

pub use authentic::{authorises, authorises_whole, is_signed};
pub use decide::{Decision, decide, pushed_branch};
pub use delivery::{
    Change, Delivery, DeliveryContent, DeliveryEvent, Headers, HookError, KEYED_BODY, Reference, Sender,
};
pub use skip::skip_mark;

/// What an authorised delivery tells.
pub fn read(sender: Sender, delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    match sender {
        Sender::GitHub | Sender::Gitea | Sender::Forgejo | Sender::Gogs => github::read(sender, delivery),
        Sender::GitLab => gitlab::read(delivery),
        Sender::BitbucketCloud => bitbucket::read_cloud(delivery),
        Sender::BitbucketServer => bitbucket::read_server(delivery),
        Sender::Azure => azure::read(delivery),
        Sender::Generic => generic::read(delivery),
    }
}
