//! What news mean for a service.

use super::delivery::{Change, DeliveryContent, DeliveryEvent, Reference};
use crate::names::{BranchName, CommitId};

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The service's branch is built, which has this commit now, where that is told.
    Build(Option<CommitId>),
    /// The sender is told that the hook is good.
    Ping,
    /// Nothing, because of this.
    Ignore(String),
}

/// What news mean for a service that deploys `branch`. `skips`: a commit whose message has a mark is not built.
#[must_use]
pub fn decide(told: &DeliveryContent, branch: &BranchName, skips: bool) -> Decision {
    let changes = match &told.news {
        DeliveryEvent::Wanted => return Decision::Build(None),
        DeliveryEvent::Ping => return Decision::Ping,
        DeliveryEvent::Other => return Decision::Ignore(format!("`{}` is not a push", told.event.as_str())),
        DeliveryEvent::Pushed(changes) => changes,
    };
    let own =
        changes.iter().find(|change| matches!(&change.reference, Reference::Branch(name) if name == branch.as_str()));
    match (own, changes.first()) {
        (Some(change), _) if change.gone => Decision::Ignore(format!("the branch `{branch}` was deleted")),
        (Some(Change { skip: Some(mark), .. }), _) if skips => {
            Decision::Ignore(format!("the newest commit's message has `{mark}`"))
        }
        (Some(change), _) => Decision::Build(change.commit.clone()),
        (None, Some(change)) => {
            let moved = match &change.reference {
                Reference::Branch(name) => format!("the branch `{}`", shown(name)),
                Reference::Tag(name) => format!("the tag `{}`", shown(name)),
                Reference::Other(name) => format!("`{}`", shown(name)),
            };
            Decision::Ignore(format!("{moved} was pushed, and `{branch}` is deployed"))
        }
        (None, None) => Decision::Ignore("nothing was pushed".into()),
    }
}

/// The first branch that was pushed: where nobody said which one a service deploys, the push tells that there is one to be
/// looked for.
#[must_use]
pub fn pushed_branch(told: &DeliveryContent) -> Option<BranchName> {
    let DeliveryEvent::Pushed(changes) = &told.news else { return None };
    changes.iter().filter(|change| !change.gone).find_map(|change| match &change.reference {
        Reference::Branch(name) => name.parse().ok(),
        _ => None,
    })
}

/// At most this much of a foreign text is repeated, so that no answer and no row grows with it.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_default).collect()
}
