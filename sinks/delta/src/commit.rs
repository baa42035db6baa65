//! One commit: files, schema and offsets become a version of the table together, whatever others write meanwhile.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use connector_core::ConnectError;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Metadata, Remove, Transaction, Version};
use deltalake::logstore::{CommitOrBytes, commit_uri_from_version};
use deltalake::protocol::DeltaOperation;
use object_store::ObjectStoreExt as _;
use serde_json::Value;
use uuid::Uuid;

use crate::error;
use crate::table::{Head, Table};

/// Times that others may be faster before the commit is given back to be tried later.
const ATTEMPTS: usize = 1000;

/// Key of a commit's own name in its info; Spark uses the same.
pub(crate) const NAME: &str = "txnId";

/// What a commit's correctness rests on, beside its own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Rows are added, whatever the table holds.
    Nothing,
    /// The files that it removes are still there: the same rows in other files (compaction).
    Removed,
    /// No row has come or gone since `base`: upserts and de-duplication.
    Table,
}

/// A version to be.
#[derive(Clone, Debug)]
pub struct Change {
    /// Tells this commit from any other; also when it is tried again after an answer was lost.
    pub id: Uuid,
    /// The version that its files and schema were made for.
    pub base: Arc<Head>,
    /// After this version, maybe before `base`, it may be in the log already, or somebody else may have moved one of its
    /// `txns`.
    pub first: Version,
    /// Up to which version it is known that nobody else moved one of `txns`, by application id; `first` for the others.
    pub seen: HashMap<String, Version>,
    pub reads: Reads,
    pub adds: Vec<Add>,
    pub removes: Vec<Remove>,
    /// New columns or properties.
    pub metadata: Option<Metadata>,
    /// What was consumed: application id and version.
    pub txns: Vec<Transaction>,
    pub operation: DeltaOperation,
    /// More for the commit's info.
    pub info: HashMap<String, Value>,
}

impl Change {
    pub fn new(base: Arc<Head>, operation: DeltaOperation, reads: Reads) -> Self {
        Self {
            id: Uuid::new_v4(),
            first: base.version,
            seen: HashMap::new(),
            base,
            reads,
            adds: Vec::new(),
            removes: Vec::new(),
            metadata: None,
            txns: Vec::new(),
            operation,
            info: HashMap::new(),
        }
    }

    fn actions(&self) -> Vec<Action> {
        let metadata = self.metadata.iter().cloned().map(Action::Metadata);
        let removes = self.removes.iter().cloned().map(Action::Remove);
        let adds = self.adds.iter().cloned().map(Action::Add);
        metadata.chain(removes).chain(adds).collect()
    }

    fn bytes(&self) -> Result<bytes::Bytes, TransactionError> {
        let mut info = self.info.clone();
        info.insert(NAME.to_owned(), self.id.to_string().into());
        info.insert("readVersion".to_owned(), self.base.version.into());
        info.insert("isBlindAppend".to_owned(), (self.reads == Reads::Nothing).into());
        CommitData::new(self.actions(), self.operation.clone(), info, self.txns.clone()).get_bytes()
    }
}

/// Why a change did not become a version.
#[derive(Debug)]
pub enum Refused {
    /// Others changed what it rests on: it has to be made again for the newest version.
    Conflict(String),
    Failed(ConnectError),
}

impl From<ConnectError> for Refused {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error)
    }
}

impl Refused {
    /// For a change that cannot be made again.
    pub fn into_error(self, place: &str) -> ConnectError {
        match self {
            Self::Failed(error) => error,
            Self::Conflict(what) => ConnectError::external("delta.conflict", format!("{place}: {what}"))
                .hint("another writer was faster; it is tried again"),
        }
    }
}

/// Ends the look at other commits early: the change is there already.
enum Stop {
    Refused(Refused),
    Done(Version),
}

impl From<ConnectError> for Stop {
    fn from(error: ConnectError) -> Self {
        Self::Refused(Refused::Failed(error))
    }
}

impl Table {
    /// Makes `change` the next version. Commits of others in between are looked at first: what they do not touch is
    /// put behind them. The same change again finds that it is done.
    pub async fn commit(&self, change: &Change) -> Result<Version, Refused> {
        let _one = self.committing.lock().await;
        match self.try_commit(change).await {
            Ok(version) | Err(Stop::Done(version)) => Ok(version),
            Err(Stop::Refused(refused)) => Err(refused),
        }
    }

    async fn try_commit(&self, change: &Change) -> Result<Version, Stop> {
        if !change.removes.is_empty() && change.removes.iter().any(|r| r.data_change) {
            self.refuse_removal(&change.base)?;
        }
        let bytes = change.bytes().map_err(|e| error::log(self.place(), "writing the log of", e))?;
        let mut head = self.head();
        self.review(change, change.first + 1..=head.version).await?;
        self.is_there(&head).await?;
        for _ in 0..ATTEMPTS {
            let version = head.version + 1;
            let entry = CommitOrBytes::LogBytes(bytes.clone());
            match self.log().write_commit_entry(version, entry, change.id).await {
                Ok(()) => {
                    let head = head.next(self.place(), &change.actions())?;
                    self.set_head(head);
                    return Ok(version);
                }
                Err(TransactionError::VersionAlreadyExists(_)) => {
                    let newer = self
                        .advance(Arc::clone(&head), |head, actions| self.judge(change, head.version, actions))
                        .await?;
                    if newer.version == head.version {
                        return Err(self.gap(version).into());
                    }
                    head = newer;
                }
                Err(cause) => return Err(error::log(self.place(), "writing the log of", cause).into()),
            }
        }
        let message = format!("{}: others committed {ATTEMPTS} times in a row before this one", self.place());
        Err(ConnectError::external("delta.busy", message).into())
    }

    /// Judges versions that are known already.
    async fn review(&self, change: &Change, versions: RangeInclusive<Version>) -> Result<(), Stop> {
        for version in versions {
            let actions = self.entry(version).await?.ok_or_else(|| self.gap(version))?;
            self.judge(change, version, &actions)?;
        }
        Ok(())
    }

    /// Refuses to write behind a version that is gone: in a table that was made anew, it would tear the log.
    async fn is_there(&self, head: &Head) -> Result<(), ConnectError> {
        let path = commit_uri_from_version(Some(head.version));
        match self.store().head(&path).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => {
                let message = format!("{}: version {} is gone from the log", self.place(), head.version);
                Err(ConnectError::user("delta.table_gone", message).hint(
                    "the table was deleted, moved or made anew while this task wrote it; restart the task",
                ))
            }
            Err(cause) => Err(error::store(self.place(), "looking at", Some(&path), &cause)),
        }
    }

    fn gap(&self, version: Version) -> ConnectError {
        let message = format!("{}: version {version} of the log is there and cannot be read", self.place());
        ConnectError::user("delta.log_gap", message)
            .hint("the log was cleaned up or the table made anew meanwhile; restart the task")
    }

    fn refuse_removal(&self, head: &Head) -> Result<(), ConnectError> {
        if !head.is_append_only() {
            return Ok(());
        }
        let message = format!("{}: the table is append-only (`delta.appendOnly`)", self.place());
        Err(ConnectError::user("delta.append_only", message).hint("use `delta.mode: append`"))
    }

    /// Whether `change` can come after `version` with these actions.
    fn judge(&self, change: &Change, version: Version, actions: &[Action]) -> Result<(), Stop> {
        let ours = actions.iter().any(|action| match action {
            Action::CommitInfo(info) => {
                info.info.get(NAME).and_then(Value::as_str).is_some_and(|id| change.id.to_string() == id)
            }
            _ => false,
        });
        if ours {
            return Err(Stop::Done(version));
        }
        for action in actions {
            if let Action::Txn(txn) = action
                && change.txns.iter().any(|own| own.app_id == txn.app_id)
                && version > change.seen.get(&txn.app_id).copied().unwrap_or(change.first)
            {
                return Err(fenced(self.place(), version, &txn.app_id, Some(txn.version)).into());
            }
        }
        if version <= change.base.version {
            return Ok(());
        }
        let conflict =
            |what: &str| Err(Stop::Refused(Refused::Conflict(format!("version {version} {what}"))));
        let removes: HashSet<&str> = change.removes.iter().map(|r| r.path.as_str()).collect();
        let mut lost = 0;
        for action in actions {
            match action {
                Action::Metadata(metadata) if change.metadata.is_some() || !fits(&change.base, metadata) => {
                    return conflict("changed the schema");
                }
                Action::Remove(remove) if removes.contains(remove.path.as_str()) => {
                    return conflict("removed a file that this commit replaces");
                }
                Action::Remove(remove) if remove.data_change => {
                    if change.reads == Reads::Table {
                        return conflict("removed rows");
                    }
                    lost += 1;
                }
                Action::Add(add) if add.data_change && change.reads == Reads::Table => {
                    return conflict("added rows");
                }
                _ => {}
            }
        }
        if lost > 0 {
            tracing::warn!(
                table = self.place(),
                version,
                files = lost,
                "another writer removed rows of the table"
            );
        }
        Ok(())
    }
}

/// Somebody else wrote a partition of this task.
pub fn fenced(place: &str, version: Version, app_id: &str, to: Option<i64>) -> ConnectError {
    let to = to.map_or_else(|| "nowhere".to_owned(), |offset| format!("offset {offset}"));
    let message = format!("{place}: at version {version} `{app_id}` is at {to}, and it was not this task");
    ConnectError::user("delta.fenced", message).hint(
        "another task or worker writes the same partition; stop one of them, or give the connectors names of their own",
    )
}

/// Whether files that were written for `base` are right under `metadata` too: columns may only have been added.
fn fits(base: &Head, metadata: &Metadata) -> bool {
    let Ok(schema) = metadata.parse_schema() else { return false };
    let kept = base.delta_schema.fields().all(|field| {
        schema.field(field.name()).is_some_and(|now| {
            now.data_type() == field.data_type() && (now.is_nullable() || !field.is_nullable())
        })
    });
    let added_nullable =
        schema.fields().all(|f| f.is_nullable() || base.delta_schema.field(f.name()).is_some());
    kept && added_nullable && metadata.partition_columns() == base.partition_columns()
}
