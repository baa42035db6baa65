//! The host's side: [`crate::Component`]s over the table of a library. It opens no file; the runtime does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::instance::{Instance, Reply};
use super::{
    Component, Create, DropInstance, MAGIC, PANIC_UNWIND, Plugin, SinkVtable, SourceVtable, Str,
    TransformVtable, data, export, read, wire,
};
use crate::component::{Factory, TaskInfo};
use crate::config::ConfigProblem;
use crate::envelope::{Form, Needs};
use crate::error::ConnectError;

mod host;
mod instance;
mod sink;
mod source;
mod tickets;
mod transform;

pub use host::host;
pub use instance::abandoned_total;

/// How a library is treated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it comes from, for messages.
    pub place: String,
    /// Leave the content of its batches unchecked; their layout is always checked.
    pub trusted: bool,
    /// Longest wait for an answer, except for `poll`, which may wait for records.
    pub timeout: Duration,
    /// Accept a library whose panics end the process.
    pub allow_abort: bool,
}

impl Options {
    /// Five minutes is Kafka's `max.poll.interval.ms`: later, the group has given the partitions to another.
    pub fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), trusted: false, timeout: Duration::from_secs(300), allow_abort: false }
    }
}

/// A library and what it offers.
#[derive(Clone, Debug)]
pub struct Library {
    pub name: String,
    pub version: String,
    /// Version of connector-core that it was built with.
    pub sdk_version: String,
    pub components: Vec<crate::Component>,
}

/// Whom a message is about.
struct About {
    /// ``plugin `name` (place)``
    plugin: Arc<str>,
    options: Options,
}

/// Reads the table of a library.
///
/// # Safety
/// `table` is what the library's exported function returned, and the library is never unloaded.
pub unsafe fn library(table: *const Plugin, options: &Options) -> Result<Library, ConnectError> {
    let refuse = |what: String, hint: &str| {
        ConnectError::user("plugin.table", format!("{}: {what}", options.place)).hint(hint)
    };
    const REBUILD: &str = "rebuild the plugin with connector-core 1.x and `export_plugin!`";
    let broken = |what: String| refuse(what, REBUILD);
    let plugin = unsafe { read(table) }.map_err(broken)?;
    if plugin.magic != MAGIC {
        return Err(broken("its table does not begin with Sidestream's magic number".to_owned()));
    }
    if plugin.build_flags & PANIC_UNWIND == 0 && !options.allow_abort {
        return Err(refuse(
            "it was built with `panic = \"abort\"`, so a panic in it would end this worker".to_owned(),
            "remove `panic = \"abort\"` from the plugin's profile",
        ));
    }
    let text = |text: Str, what: &str| unsafe { owned(text, what) }.map_err(broken);
    let (name, version) = (text(plugin.name, "name")?, text(plugin.version, "version")?);
    let sdk_version = text(plugin.sdk_version, "sdk_version")?;
    if plugin.components.is_null() && plugin.components_len > 0 || plugin.components_len > 1024 {
        return Err(broken(format!("it claims {} plugins", plugin.components_len)));
    }
    let components = (0..plugin.components_len).map(|at| {
        let table = unsafe { *plugin.components.add(at) };
        unsafe { component(table, options) }
            .map_err(|what| refuse(format!("plugin {} of `{name}`: {what}", at + 1), REBUILD))
    });
    let components = components.collect::<Result<_, _>>()?;
    Ok(Library { name, version, sdk_version, components })
}

unsafe fn owned(text: Str, what: &str) -> Result<String, String> {
    unsafe { text.text() }.map(str::to_owned).ok_or_else(|| format!("`{what}` is not UTF-8"))
}

unsafe fn component(at: *const Component, options: &Options) -> Result<crate::Component, String> {
    let table = unsafe { read(at) }?;
    let text = |text: Str, what: &str| unsafe { owned(text, what) };
    let list = |list: Str, what: &str| -> Result<Vec<String>, String> {
        match text(list, what)?.as_str() {
            "" => Ok(Vec::new()),
            json => wire::parse(json).map_err(|error| format!("`{what}` {error}")),
        }
    };
    let name = text(table.name, "name")?;
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    let plugin = format!("plugin `{name}` ({})", options.place).into();
    let about = Arc::new(About { plugin, options: options.clone() });
    let origin = Origin { at: at as usize, about };
    let factory = match table.kind {
        1 => {
            let table = unsafe { read(table.vtable.cast::<SourceVtable>()) }?;
            required(&[
                ("create", table.create.is_some()),
                ("open", table.open.is_some()),
                ("poll", table.poll.is_some()),
            ])?;
            Factory::Source(Arc::new(move |config, task| source::create(&origin, table, config, task)))
        }
        2 => {
            let table = unsafe { read(table.vtable.cast::<TransformVtable>()) }?;
            required(&[("create", table.create.is_some()), ("apply", table.apply.is_some())])?;
            Factory::Transform(Arc::new(move |config, task| transform::create(&origin, table, config, task)))
        }
        3 => {
            let table = unsafe { read(table.vtable.cast::<SinkVtable>()) }?;
            required(&[
                ("create", table.create.is_some()),
                ("open", table.open.is_some()),
                ("write", table.write.is_some()),
                ("flush", table.flush.is_some()),
            ])?;
            Factory::Sink(Arc::new(move |config, task| sink::create(&origin, table, config, task)))
        }
        kind => return Err(format!("`{name}` is of kind {kind}, which this version does not know")),
    };
    Ok(crate::Component {
        aliases: list(table.aliases, "aliases")?,
        inert_keys: list(table.inert_keys, "inert_keys")?,
        version: text(table.version, "version")?,
        summary: text(table.summary, "summary")?,
        delivery: text(table.delivery, "delivery")?,
        schema: wire::parse::<serde_json::Value>(&text(table.config_schema, "config_schema")?)
            .map_err(|error| format!("`config_schema` {error}"))?
            .into(),
        name,
        factory,
    })
}

fn required(entries: &[(&str, bool)]) -> Result<(), String> {
    let missing: Vec<_> =
        entries.iter().filter(|(_, there)| !there).map(|(entry, _)| format!("`{entry}`")).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("its table lacks {}", missing.join(", "))) }
}

/// A component's table in the library, and whom to name when it misbehaves.
struct Origin {
    /// The address of the component's table, which is never freed.
    at: usize,
    about: Arc<About>,
}

impl Origin {
    /// Makes an instance and hears what it declares.
    fn create(
        &self,
        create: Option<Create>,
        drop: Option<DropInstance>,
        config: &Value,
        task: &TaskInfo,
    ) -> Result<(Instance, wire::Declared, Reply), Vec<ConfigProblem>> {
        const ENTRY: &str = "create";
        let failed = |error: ConnectError| vec![ConfigProblem::new("", error.message, error.hint)];
        let (config, task) = (wire::text(config), wire::text(task));
        let blank = Instance::new(self.about.clone(), std::ptr::null_mut(), None);
        let reply = blank
            .call_now(ENTRY, |_, done| {
                if let Some(create) = create {
                    unsafe { create(self.at as *const Component, Str::new(&config), Str::new(&task), done) };
                }
            })
            .map_err(failed)?;
        if let Some(problems) = reply.problems() {
            let problems = problems.map_err(|what| failed(blank.misdeed(ENTRY, what)))?;
            return Err(problems);
        }
        let reply = blank.accept(ENTRY, reply).map_err(failed)?;
        let declared = blank.value::<wire::Declared>(ENTRY, &reply).map_err(failed)?;
        if reply.instance == 0 {
            return Err(failed(blank.misdeed(ENTRY, "answered without an instance")));
        }
        Ok((Instance::new(self.about.clone(), reply.instance as *mut _, drop), declared, reply))
    }
}

/// The needs of what was created: the form, and for columns their schema.
fn needs(instance: &Instance, declared: &wire::Declared, reply: Reply) -> Result<Needs, Vec<ConfigProblem>> {
    let misdeed = |what: String| {
        let error = instance.misdeed("create", what);
        vec![ConfigProblem::new("", error.message, error.hint)]
    };
    match declared.needs {
        Some(Form::Bytes) | None => Ok(Needs::Bytes),
        Some(Form::Document) => Ok(Needs::Document),
        Some(Form::Columns) => {
            let Some(batch) = reply.batches.into_iter().next() else {
                return Err(misdeed("needs columns, but does not say which".to_owned()));
            };
            let records =
                data::import(batch, false).map_err(|what| misdeed(format!("its columns: {what}")))?;
            Ok(Needs::Columns(records.schema_ref().fields().clone()))
        }
    }
}

/// The same component behind the boundary: exported and imported again within this process, so that tests can run
/// anything that is linked in as if it came from a library.
///
/// # Panics
/// When the component cannot be exported, which is a defect of this crate.
pub fn loopback(component: crate::Component) -> crate::Component {
    let about = export::About { name: "loopback", version: env!("CARGO_PKG_VERSION"), unwinds: true };
    let table = export::table(*host(), about, vec![component]);
    let library = unsafe { library(table, &Options::new("loopback")) };
    match library.map(|library| library.components.into_iter().next()) {
        Ok(Some(component)) => component,
        Ok(None) => unreachable!("one component was exported"),
        Err(error) => panic!("the loopback does not import what it exported: {error}"),
    }
}
