//! The facade of properties that programs for WebDAV give to files and folders.

use std::collections::BTreeMap;

use crate::core::error::Result;
use crate::core::path::FolderPath;
use crate::core::serve::files::{Files, User};
use crate::core::wire::journal::Property;

impl Files {
    /// The properties of what is at a path, sorted by name.
    ///
    /// # Errors
    /// If the catalog cannot be read; [`Error::NotReady`](crate::core::error::Error::NotReady).
    pub fn properties(&self, user: &User, path: &FolderPath) -> Result<Vec<Property>> {
        self.may_read()?;
        self.cluster.catalog.properties(user.sees(path)?, path)
    }

    /// Those of what is in a folder, from one name to another, by these names.
    ///
    /// # Errors
    /// If the catalog cannot be read; [`Error::NotReady`](crate::core::error::Error::NotReady).
    pub fn properties_in(
        &self,
        user: &User,
        folder: &FolderPath,
        span: [&str; 2],
    ) -> Result<BTreeMap<String, Vec<Property>>> {
        self.may_read()?;
        self.cluster.catalog.properties_in(user.sees(folder)?, folder, span)
    }

    /// Sets and removes properties of what is at a path, all or none.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile);
    /// [`Code::NoSpace`](crate::core::error::Code::NoSpace) if it would have too many; those of any change.
    pub fn set_properties(
        &self,
        user: &User,
        path: &FolderPath,
        properties: Vec<Property>,
    ) -> Result<()> {
        let (id, path) = (user.reaches_into(path)?, path.clone());
        self.change(move |draft| draft.set_properties(id, &path, &properties))
    }
}
