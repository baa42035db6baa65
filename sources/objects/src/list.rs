//! Finds the objects that a pattern means.

use std::sync::Arc;

use connector_aws::store::Location;
use connector_core::Result;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::explain;
use crate::pattern::{Level, Pattern};

/// Tells `each` of every object that `pattern` means, in the order of the store, with its path behind the base.
///
/// Only folders whose names match are looked into; an error names the folder.
pub async fn list(
    location: &Location,
    store: &str,
    pattern: &Pattern,
    each: &mut (dyn FnMut(ObjectMeta, &str) + Send),
) -> Result<()> {
    let Location { store: objects, path: base, .. } = location;
    let failed = |at: &Path, error| explain(store, "listing", Some(at), &error);
    if pattern.levels.is_empty() && !base.as_ref().is_empty() {
        match objects.head(base).await {
            Ok(object) => {
                each(object, "");
                return Ok(());
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(base, error)),
        }
    }
    let mut folders = vec![base.clone()];
    let mut levels = pattern.levels.iter();
    // The last level is in the names of objects.
    while let Some(level) = levels.next().filter(|_| levels.len() > 0) {
        match level {
            Level::Deep => break,
            Level::Name(name) => {
                folders.iter_mut().for_each(|folder| *folder = folder.clone().join(name.as_str()))
            }
            Level::Matching(glob) => {
                let mut below = Vec::new();
                for folder in &folders {
                    let found = inside(objects, folder).await.map_err(|e| failed(folder, e))?;
                    let is_meant = |path: &Path| {
                        path.filename().is_some_and(|name| glob.is_match(name) && !pattern.is_hidden(name))
                    };
                    below.extend(found.into_iter().filter(is_meant));
                }
                folders = below;
            }
        }
    }
    for folder in &folders {
        let mut found = objects.list(Some(folder).filter(|folder| !folder.as_ref().is_empty()));
        while let Some(object) = found.next().await {
            let object = object.map_err(|e| failed(folder, e))?;
            let path = object.location.clone();
            let below = path.as_ref().strip_prefix(base.as_ref()).unwrap_or_default().trim_start_matches('/');
            if pattern.matches(below) {
                each(object, below);
            }
        }
    }
    Ok(())
}

/// The folders in a folder.
async fn inside(store: &Arc<dyn ObjectStore>, folder: &Path) -> object_store::Result<Vec<Path>> {
    let at = Some(folder).filter(|folder| !folder.as_ref().is_empty());
    Ok(store.list_with_delimiter(at).await?.common_prefixes)
}
