//! One table: where it is, and what its newest known version says.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use connector_aws::parts::Store;
use connector_aws::store::Location;
use connector_core::{ConnectError, Result};
use delta_kernel::Snapshot as KernelSnapshot;
use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Metadata, Protocol, Snapshot, StructType, Version, new_metadata};
use deltalake::logstore::{CommitOrBytes, LogStoreRef, StorageConfig, default_logstore, get_actions};
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{error, protocol};

/// Log entries that are fetched at once when others have written.
const ENTRIES_AT_ONCE: usize = 4;

/// Parts in flight while files grow, over all files of a table.
const PARTS_AT_ONCE: usize = 4;

/// A table that exists. Cheap calls answer from the newest version that is known here; [`Table::refresh`] looks for
/// newer ones.
pub struct Table {
    location: Location,
    /// Paths in it are relative to the table.
    store: Arc<dyn ObjectStore>,
    /// The whole store, for files in parts.
    parts: Store,
    /// Parts under way while files grow.
    uploads: Arc<Semaphore>,
    log: LogStoreRef,
    /// For messages: `s3://bucket/path`.
    place: Arc<str>,
    head: Mutex<Arc<Head>>,
    /// One commit of this process at a time.
    pub(crate) committing: tokio::sync::Mutex<()>,
}

/// A version of a table, without its files.
#[derive(Debug)]
pub struct Head {
    pub version: Version,
    pub protocol: Protocol,
    pub metadata: Metadata,
    pub delta_schema: StructType,
    /// The same as Arrow: `timestamp` is in microseconds UTC. Partition columns are in it.
    pub schema: SchemaRef,
}

impl Head {
    fn new(place: &str, version: Version, protocol: Protocol, metadata: Metadata) -> Result<Self> {
        let unreadable = |cause: DeltaTableError| error::log(place, "reading the schema of", cause);
        let delta_schema = metadata.parse_schema().map_err(|e| unreadable(e.into()))?;
        protocol::check(place, &protocol, &metadata, &delta_schema)?;
        let schema = (&delta_schema).try_into_arrow().map_err(|e| unreadable(e.into()))?;
        Ok(Self { version, protocol, metadata, delta_schema, schema: Arc::new(schema) })
    }

    pub fn partition_columns(&self) -> &[String] {
        self.metadata.partition_columns()
    }

    pub fn property(&self, name: &str) -> Option<&str> {
        self.metadata.configuration().get(name).map(String::as_str)
    }

    pub fn is_append_only(&self) -> bool {
        self.property("delta.appendOnly").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The version that these actions make of this one.
    pub(crate) fn next(self: &Arc<Self>, place: &str, actions: &[Action]) -> Result<Arc<Self>> {
        let (mut protocol, mut metadata) = (None, None);
        for action in actions {
            match action {
                Action::Protocol(found) => protocol = Some(found.clone()),
                Action::Metadata(found) => metadata = Some(found.clone()),
                _ => {}
            }
        }
        let version = self.version + 1;
        if protocol.is_none() && metadata.is_none() {
            return Ok(Arc::new(Self {
                version,
                protocol: self.protocol.clone(),
                metadata: self.metadata.clone(),
                delta_schema: self.delta_schema.clone(),
                schema: Arc::clone(&self.schema),
            }));
        }
        let protocol = protocol.unwrap_or_else(|| self.protocol.clone());
        let metadata = metadata.unwrap_or_else(|| self.metadata.clone());
        Self::new(place, version, protocol, metadata).map(Arc::new)
    }
}

impl Table {
    /// The table there, if there is one.
    pub async fn load(location: &Location) -> Result<Option<Self>> {
        let (store, log) = open(location);
        let place: Arc<str> = location.url.as_str().into();
        let Some(head) = newest(&place, &log).await? else { return Ok(None) };
        Ok(Some(Self {
            location: location.clone(),
            store,
            parts: Store::of(location, error::KEYS),
            uploads: Arc::new(Semaphore::new(PARTS_AT_ONCE)),
            log,
            place,
            head: Mutex::new(Arc::new(head)),
            committing: tokio::sync::Mutex::default(),
        }))
    }

    /// Makes the table; when somebody else is faster, theirs is opened.
    pub async fn create(
        location: &Location,
        schema: &StructType,
        partition_columns: &[String],
        properties: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let (_, log) = open(location);
        let place = location.url.as_str();
        let failed = |cause: DeltaTableError| error::log(place, "creating", cause);
        let metadata = new_metadata(schema, partition_columns, properties).map_err(|e| {
            ConnectError::internal("delta.metadata", "a schema has no text form").caused_by(e)
        })?;
        let protocol: Protocol =
            serde_json::from_value(serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2}))
                .map_err(|e| failed(DeltaTableError::generic(e.to_string())))?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: location.url.clone(),
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        let actions = vec![Action::Protocol(protocol), Action::Metadata(metadata)];
        let entry = CommitData::new(actions, operation, Default::default(), Vec::new());
        let bytes = entry.get_bytes().map_err(|e| failed(e.into()))?;
        match log.write_commit_entry(0, CommitOrBytes::LogBytes(bytes), Uuid::new_v4()).await {
            Ok(()) | Err(TransactionError::VersionAlreadyExists(_)) => {}
            Err(cause) => return Err(failed(cause.into())),
        }
        Self::load(location).await?.ok_or_else(|| {
            ConnectError::external("delta.gone", format!("{place}: the table was removed while it was made"))
        })
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Its paths are relative to the table, as those in the log are.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The whole store, in which the table is at its location's path.
    pub fn parts(&self) -> &Store {
        &self.parts
    }

    pub(crate) fn uploads(&self) -> &Arc<Semaphore> {
        &self.uploads
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// The newest version that is known here.
    pub fn head(&self) -> Arc<Head> {
        Arc::clone(&self.head.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_head(&self, head: Arc<Head>) {
        let mut known = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        if head.version > known.version {
            *known = head;
        }
    }

    /// The actions of a version; `None` when there is no such version (yet, or any more).
    pub async fn entry(&self, version: Version) -> Result<Option<Vec<Action>>> {
        let failed = |cause: DeltaTableError| error::log(&self.place, "reading the log of", cause);
        let Some(bytes) = self.log.read_commit_entry(version).await.map_err(failed)? else { return Ok(None) };
        get_actions(version, &bytes).map(Some).map_err(failed)
    }

    /// Reads the versions after `head` and shows each to `judge`, which may stop it; the newest.
    pub(crate) async fn advance<E: From<ConnectError>>(
        &self,
        mut head: Arc<Head>,
        mut judge: impl FnMut(&Arc<Head>, &[Action]) -> Result<(), E>,
    ) -> Result<Arc<Head>, E> {
        let mut entries = stream::iter(head.version + 1..).map(|v| self.entry(v)).buffered(ENTRIES_AT_ONCE);
        while let Some(actions) = entries.try_next().await?.flatten() {
            head = head.next(&self.place, &actions)?;
            self.set_head(Arc::clone(&head));
            judge(&head, &actions)?;
        }
        Ok(head)
    }

    /// Looks for newer versions.
    pub async fn refresh(&self) -> Result<Arc<Head>> {
        self.advance(self.head(), |_, _| Ok(())).await
    }

    /// The newest `txn` version of each application id at `head`.
    pub async fn txn_versions(&self, head: &Head, app_ids: Vec<String>) -> Result<Vec<Option<i64>>> {
        let (engine, root, version) = (self.log.engine(None), self.root(), head.version);
        // The kernel waits for its I/O, which must not hold up other tasks.
        let found = tokio::task::spawn_blocking(move || {
            let snapshot = KernelSnapshot::builder_for(root).at_version(version).build(&*engine)?;
            app_ids.iter().map(|id| snapshot.get_app_id_version(id, &*engine)).collect::<Result<_, _>>()
        })
        .await
        .map_err(|_| ConnectError::internal("delta.log", "reading the log panicked"))?;
        found.map_err(|cause: delta_kernel::Error| error::log(&self.place, "reading the log of", cause))
    }

    /// The files of `head`, newest first, with statistics.
    pub async fn files(&self, head: &Head) -> Result<Vec<Add>> {
        let failed = |cause: DeltaTableError| error::log(&self.place, "listing the files of", cause);
        let snapshot = Snapshot::try_new(&*self.log, Some(head.version)).await.map_err(failed)?;
        let files = snapshot.file_views(&*self.log, None).map_ok(|file| Add {
            path: file.path().into_owned(),
            partition_values: file.partition_values_map(),
            size: file.size(),
            modification_time: file.modification_time(),
            data_change: true,
            stats: file.stats(),
            deletion_vector: file.deletion_vector_descriptor(),
            ..Add::default()
        });
        files.try_collect().await.map_err(failed)
    }

    pub(crate) fn root(&self) -> String {
        let url = self.log.root_url().as_str();
        if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
    }
}

fn open(location: &Location) -> (Arc<dyn ObjectStore>, LogStoreRef) {
    let root = Arc::clone(&location.store);
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&root), location.path.clone()));
    let log = default_logstore(Arc::clone(&store), root, &location.url, &StorageConfig::default());
    (store, log)
}

async fn newest(place: &str, log: &LogStoreRef) -> Result<Option<Head>> {
    match Snapshot::try_new(&**log, None).await {
        Ok(snapshot) => {
            let (protocol, metadata) = (snapshot.protocol().clone(), snapshot.metadata().clone());
            Head::new(place, snapshot.version(), protocol, metadata).map(Some)
        }
        // The second is what a missing directory is called.
        Err(
            DeltaTableError::NotATable(_)
            | DeltaTableError::KernelError(delta_kernel::Error::InvalidTableLocation(_)),
        ) => Ok(None),
        Err(cause) => Err(error::log(place, "opening", cause)),
    }
}
