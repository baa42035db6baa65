//! A table that a task writes: opened or made when it is first needed, with columns that grow as records ask for them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use connector_aws::store::{self, Location};
use connector_core::{ConnectError, Metric, Result, TaskInfo};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake::kernel::{StructType, Version};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::checkpoint::Checkpoints;
use crate::config::{Config, Evolution};
use crate::files::Layout;
use crate::keyed::Keyed;
use crate::maintenance::{Maintenance, Settings as MaintenanceSettings};
use crate::partition::can_partition_by;
use crate::schema;
use crate::table::{Head, Table};

/// What all tables of a task have in common.
pub struct Settings {
    pub config: Config,
    pub task: TaskInfo,
    pub layout: Layout,
    /// `delta.schema`.
    pub declared: Option<StructType>,
    /// Topic-partitions that the task writes; they share the memory of open files.
    pub writers: AtomicUsize,
}

/// The table at one address, whether it exists or not.
pub struct Target {
    settings: Arc<Settings>,
    address: String,
    location: OnceCell<Location>,
    open: AsyncMutex<Option<Arc<Open>>>,
    /// This task looks after the table for all that write it.
    pub leads: Arc<AtomicBool>,
}

/// A table that exists.
pub struct Open {
    pub table: Arc<Table>,
    /// For upserts and de-duplication.
    pub keyed: Option<Keyed>,
    pub maintenance: Option<Maintenance>,
    pub checkpoints: Checkpoints,
    pub layout: Layout,
    settings: Arc<Settings>,
    columns: Mutex<Columns>,
}

/// The table's columns, with those that records have asked for and the next commit makes.
struct Columns {
    /// The version that they were last compared with.
    version: Version,
    delta: StructType,
    arrow: SchemaRef,
}

impl Target {
    pub fn new(settings: Arc<Settings>, address: String) -> Self {
        let (location, open, leads) = (OnceCell::new(), AsyncMutex::default(), Arc::default());
        Self { settings, address, location, open, leads }
    }

    /// Where it is or would be.
    pub async fn location(&self) -> Result<&Location> {
        let config = &self.settings.config;
        self.location
            .get_or_try_init(|| async {
                let url = store::parse(&self.address).map_err(|message| {
                    ConnectError::user(
                        "delta.address",
                        format!("`{}`: the table's address {message}", self.address),
                    )
                    .hint("correct `delta.table.path` or `topic.mapping`")
                })?;
                store::open(&url, &config.access()).await
            })
            .await
    }

    /// The same without waiting: `None` also while it is being opened.
    pub fn known(&self) -> Option<Arc<Open>> {
        self.open.try_lock().ok().and_then(|open| open.clone())
    }

    /// The table, if it is known to exist.
    pub async fn get(&self) -> Option<Arc<Open>> {
        self.open.lock().await.clone()
    }

    /// Looks for the table, and makes it if its columns are declared. Refuses one that cannot be written.
    pub async fn open(&self) -> Result<Option<Arc<Open>>> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            open.table.refresh().await?;
            return Ok(Some(Arc::clone(open)));
        }
        let location = self.location().await?;
        let table = match Table::load(location).await? {
            Some(table) => table,
            None => match &self.settings.declared {
                Some(declared) => self.create(declared).await?,
                None => return Ok(None),
            },
        };
        Ok(Some(Arc::clone(open.insert(self.opened(table)?))))
    }

    /// The table and the columns for records that have these; `None` if there is no table and nothing to make one of.
    pub async fn with_columns(&self, incoming: &StructType) -> Result<Option<(Arc<Open>, SchemaRef)>> {
        let mut open = self.open.lock().await;
        let open = match &*open {
            Some(open) => Arc::clone(open),
            None if incoming.fields().len() == 0 => return Ok(None),
            None => {
                let table = match Table::load(self.location().await?).await? {
                    Some(table) => table,
                    None => self.create(incoming).await?,
                };
                Arc::clone(open.insert(self.opened(table)?))
            }
        };
        let schema = open.grow(incoming)?;
        Ok(Some((open, schema)))
    }

    async fn create(&self, columns: &StructType) -> Result<Table> {
        let Settings { config, layout, .. } = &*self.settings;
        let location = self.location().await?;
        // Refused before there is a table without them.
        Keyed::new(config, layout.clone(), &columns.try_into_arrow()?)?;
        for name in &config.partition_columns {
            let fit = match columns.field(name) {
                Some(column) => column.data_type().try_into_arrow().is_ok_and(|t| can_partition_by(&t)),
                None => false,
            };
            if !fit {
                let message =
                    format!("{}: the new table has no plain column `{name}` to partition by", location.url);
                return Err(ConnectError::user("delta.partition_column", message).hint(
                    "declare the table's columns in `delta.schema`, or correct `delta.partition.columns`",
                ));
            }
        }
        let properties = config.create_properties.clone();
        Table::create(location, columns, &config.partition_columns, properties).await
    }

    fn opened(&self, table: Table) -> Result<Arc<Open>> {
        let Settings { config, layout, declared, .. } = &*self.settings;
        let head = table.head();
        if !config.partition_columns.is_empty() && config.partition_columns != head.partition_columns() {
            let message = format!(
                "{}: the table is partitioned by [{}], not as `delta.partition.columns` says",
                table.place(),
                head.partition_columns().join(", ")
            );
            return Err(ConnectError::user("delta.partitions", message)
                .hint("leave the key out for a table that exists, or write to another one"));
        }
        if let Some(declared) = declared {
            same_types(table.place(), &head, declared)?;
        }
        let keyed = Keyed::new(config, layout.clone(), &head.schema)?;
        let table = Arc::new(table);
        let maintenance = MaintenanceSettings::of(config, layout.clone())
            .map(|settings| Maintenance::start(Arc::clone(&table), settings, Arc::clone(&self.leads)));
        let open = Open {
            table,
            keyed,
            maintenance,
            checkpoints: Checkpoints::default(),
            layout: layout.clone(),
            settings: Arc::clone(&self.settings),
            columns: Mutex::new(Columns {
                version: head.version,
                delta: head.delta_schema.clone(),
                arrow: Arc::clone(&head.schema),
            }),
        };
        if let Some(declared) = declared {
            open.grow(declared)?;
        }
        Ok(Arc::new(open))
    }
}

impl Open {
    /// The columns for the next rows.
    pub fn columns(&self) -> (StructType, SchemaRef) {
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.table.head();
        if columns.version != head.version {
            columns.version = head.version;
            // Others may have made columns; what is only wanted here stays.
            match schema::grow(&head.delta_schema, &columns.delta) {
                None if columns.delta == head.delta_schema => {}
                None => {
                    (columns.delta, columns.arrow) = (head.delta_schema.clone(), Arc::clone(&head.schema))
                }
                Some(grown) if grown == columns.delta => {}
                Some(grown) => {
                    if let Ok(arrow) = (&grown).try_into_arrow() {
                        (columns.delta, columns.arrow) = (grown, Arc::new(arrow));
                    }
                }
            }
        }
        (columns.delta.clone(), Arc::clone(&columns.arrow))
    }

    /// Adds the columns that `incoming` has beyond the table, if that is wanted.
    fn grow(&self, incoming: &StructType) -> Result<SchemaRef> {
        let (delta, arrow) = self.columns();
        if self.settings.config.evolution == Evolution::Reject {
            return Ok(arrow);
        }
        let Some(grown) = schema::grow(&delta, incoming) else { return Ok(arrow) };
        let arrow: SchemaRef = Arc::new((&grown).try_into_arrow()?);
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        (columns.delta, columns.arrow) = (grown, Arc::clone(&arrow));
        Ok(arrow)
    }

    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.maintenance.as_ref().map(Maintenance::metrics).unwrap_or_default();
        if let Some(keyed) = &self.keyed {
            let help = "Memory of the keys that are remembered of the table's files.";
            let bytes = keyed.index_bytes() as f64;
            metrics.push(Metric::gauge("sidestream_delta_key_index_bytes", help, bytes));
        }
        metrics.into_iter().map(|metric| metric.label("table", self.table.place())).collect()
    }

    /// Topic-partitions that share the memory of open files.
    pub fn writers(&self) -> usize {
        self.settings.writers.load(Ordering::Relaxed)
    }
}

/// Refuses a table whose columns have other types than declared.
fn same_types(place: &str, head: &Head, declared: &StructType) -> Result<()> {
    for column in declared.fields() {
        let Some(there) = head.delta_schema.field(column.name()) else { continue };
        let grown = schema::grow(
            &StructType::new_unchecked([there.clone()]),
            &StructType::new_unchecked([column.clone()]),
        );
        let same = match &grown {
            Some(grown) => grown.field(column.name()).is_some_and(|g| g.data_type() == column.data_type()),
            None => there.data_type() == column.data_type(),
        };
        if !same {
            let (name, is, wanted) = (column.name(), there.data_type(), column.data_type());
            let message =
                format!("{place}: column `{name}` is {is} in the table and {wanted} in `delta.schema`");
            return Err(ConnectError::user("delta.schema_mismatch", message)
                .hint("correct `delta.schema`, or write to another table"));
        }
    }
    Ok(())
}
