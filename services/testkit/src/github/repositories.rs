//! What happens to whole repositories.

use super::shapes::RepoRef;
use super::{Simulator, World};

impl Simulator {
    /// Makes a repository public or private, with the id that GitHub has for it, for recorded payloads that name it.
    ///
    /// # Errors
    /// If the state file can not be written.
    pub async fn put_repository(&self, full_name: &str, id: u64, private: bool) -> anyhow::Result<()> {
        let about = RepoRef {
            id,
            full_name: full_name.to_owned(),
            private,
            has_issues: true,
        };
        let put = |world: &mut World| {
            if world.main.full_name.eq_ignore_ascii_case(full_name) {
                world.main = about.clone();
            }
            world.state.insert(about);
            Ok(vec![])
        };
        self.change(put).await.map(drop)
    }

    /// Switches the issues of the main repository on or off: off, everything about them is a 410.
    ///
    /// # Errors
    /// If the state file can not be written.
    pub async fn set_issues_enabled(&self, enabled: bool) -> anyhow::Result<()> {
        self.change_main(|about| about.has_issues = enabled).await
    }

    /// Makes the main repository private or public: a token that does not see private ones finds a 404.
    ///
    /// # Errors
    /// If the state file can not be written.
    pub async fn set_private(&self, private: bool) -> anyhow::Result<()> {
        self.change_main(|about| about.private = private).await
    }

    /// Renames the main repository: the old name answers 301 with its id from now on.
    ///
    /// # Errors
    /// If the state file can not be written.
    pub async fn rename_repository(&self, full_name: &str) -> anyhow::Result<()> {
        self.change_main(|about| full_name.clone_into(&mut about.full_name))
            .await
    }

    /// Hides a repository from everybody, as if it were deleted: 404 for it and all that is in it; or shows it again.
    /// A restart of the simulator shows it.
    pub fn hide_repository(&self, full_name: &str, hidden: bool) {
        let mut world = self.inner.world();
        let Some(id) = world.state.by_name(full_name).map(|repository| repository.about.id) else {
            return;
        };
        if hidden {
            world.hidden.insert(id);
        } else {
            world.hidden.remove(&id);
        }
    }

    async fn change_main(&self, edit: impl FnOnce(&mut RepoRef)) -> anyhow::Result<()> {
        let change = |world: &mut World| {
            edit(&mut world.main);
            world.state.insert(world.main.clone());
            Ok(vec![])
        };
        self.change(change).await.map(drop)
    }
}
