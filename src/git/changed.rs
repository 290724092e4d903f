//! What has changed between two commits.

use super::Repositories;
use super::command::{OUTPUT, run};
use super::repositories::LOCAL;
use crate::names::{CommitId, ServiceName};

impl Repositories {
    /// The paths of what is not the same in both commits, as git writes them; none where that can't be told, because one of
    /// them isn't there any more, or they are too many.
    pub async fn changed(&self, service: &ServiceName, old: &CommitId, new: &CommitId) -> Option<Vec<Vec<u8>>> {
        let mut diff = self.git();
        diff.env("GIT_DIR", self.folder(service));
        diff.args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-commit-id", "--end-of-options"]);
        diff.arg(old.as_str()).arg(new.as_str());
        let output = run(diff, "compare the commits", LOCAL).await.ok()?;
        // What is longer was cut off.
        let whole = u64::try_from(output.len()).is_ok_and(|length| length < OUTPUT);
        whole.then(|| output.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }
}
