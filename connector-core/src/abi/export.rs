//! The plugin's side: a table over any [`crate::Component`]. Authors use only [`crate::export_plugin!`].

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;

use self::answer::{Answer, Completion, panic_failure};
use super::{Batch, Component, DEBUG_BUILD, Done, Host, MAGIC, PANIC_UNWIND, Plugin, Str, data, wire};
use crate::batch::TopicPartition;
use crate::component::{Kind, TaskInfo};
use crate::config::ConfigProblem;
use crate::envelope::{Form, Needs};
use crate::error::{ConnectError, Result};

mod actor;
mod answer;
mod forward;
mod sink;
mod source;
mod transform;

#[cfg(test)]
pub(super) use self::{sink::VTABLE as SINK, transform::VTABLE as TRANSFORM};

/// The library that is exported.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub name: &'static str,
    pub version: &'static str,
    /// Whether panics unwind.
    pub unwinds: bool,
}

/// What the functions of a table need: the component behind it and the host. Lives as long as the process.
pub(super) struct Exported {
    component: crate::Component,
    host: Host,
    library: &'static str,
}

/// The body of the exported function: installs the forwarding of logs and panics once, and makes the table once.
///
/// # Safety
/// `host` points to a table that is never freed.
pub unsafe fn entry(
    host: *const Host,
    about: About,
    components: impl FnOnce() -> Vec<crate::Component>,
) -> *const Plugin {
    static TABLE: OnceLock<usize> = OnceLock::new();
    let make = || {
        let Ok(host) = (unsafe { super::read(host) }) else { return std::ptr::null::<Plugin>() as usize };
        forward::install(host, about.name);
        catch_unwind(AssertUnwindSafe(|| std::ptr::from_ref(table(host, about, components())) as usize))
            .unwrap_or(0)
    };
    *TABLE.get_or_init(make) as *const Plugin
}

/// A table over `components`; it is never freed.
pub fn table(host: Host, about: About, components: Vec<crate::Component>) -> &'static Plugin {
    let components: Vec<*const Component> =
        components.into_iter().filter_map(|component| component_table(host, about.name, component)).collect();
    let components: &'static [*const Component] = Box::leak(components.into_boxed_slice());
    let mut build_flags = if about.unwinds { PANIC_UNWIND } else { 0 };
    if cfg!(debug_assertions) {
        build_flags |= DEBUG_BUILD;
    }
    Box::leak(Box::new(Plugin {
        size: size_of::<Plugin>(),
        magic: MAGIC,
        name: Str::new(about.name),
        version: Str::new(about.version),
        sdk_version: Str::new(env!("CARGO_PKG_VERSION")),
        build_flags,
        components: components.as_ptr(),
        components_len: components.len(),
        shutdown: Some(shutdown),
    }))
}

/// `None` for a predicate, which the boundary does not have.
fn component_table(
    host: Host,
    library: &'static str,
    component: crate::Component,
) -> Option<*const Component> {
    let forever = |text: String| Str::new(Box::leak(text.into_boxed_str()));
    let (kind, vtable) = match component.kind() {
        Kind::Source => (1, std::ptr::from_ref(&source::VTABLE).cast::<c_void>()),
        Kind::Transform => (2, std::ptr::from_ref(&transform::VTABLE).cast()),
        Kind::Sink => (3, std::ptr::from_ref(&sink::VTABLE).cast()),
        Kind::Predicate => return None,
    };
    Some(Box::leak(Box::new(Component {
        size: size_of::<Component>(),
        kind,
        reserved: 0,
        name: forever(component.name.clone()),
        aliases: forever(wire::text(&component.aliases)),
        inert_keys: forever(wire::text(&component.inert_keys)),
        version: forever(component.version.clone()),
        summary: forever(component.summary.clone()),
        delivery: forever(component.delivery.clone()),
        config_schema: forever(wire::text(&*component.schema)),
        vtable,
        context: std::ptr::from_ref(Box::leak(Box::new(Exported { component, host, library }))).cast(),
    })))
}

unsafe extern "C" fn shutdown(timeout_ms: u64) {
    quietly(|| actor::shutdown(Duration::from_millis(timeout_ms)));
}

/// Runs what cannot be answered; its panic has been logged by the hook.
fn quietly(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        std::mem::forget(payload);
    }
}

/// Runs a call that answers before it returns.
fn answer_now(done: Done, work: impl FnOnce() -> Answer) {
    let completion = Completion::new(done);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(answer) => completion.answer(answer),
        Err(payload) => completion.answer(Answer::panicked(panic_failure(payload))),
    }
}

/// The body of each `create`: `make` turns the factory's product into an instance and what it declares.
unsafe fn create(
    component: *const Component,
    config: Str,
    task: Str,
    done: Done,
    make: impl FnOnce(&'static Exported, &serde_json::Value, &TaskInfo) -> Result<Answer, Vec<ConfigProblem>>,
) {
    let exported: &'static Exported = unsafe { &*(*component).context.cast::<Exported>() };
    let arguments = argument(config).and_then(|config| Ok((config, argument::<TaskInfo>(task)?)));
    answer_now(done, || match arguments {
        Ok((config, task)) => make(exported, &config, &task).unwrap_or_else(|p| Answer::invalid(&p)),
        Err(error) => Answer::failed(error),
    });
}

/// What `create` answers for `needs`: the form, and for columns their schema as an empty batch.
fn with_needs(answer: Answer, mut declared: wire::Declared, needs: &Needs) -> Answer {
    let form = match needs {
        // Across the boundary there is no such freedom.
        Needs::Any | Needs::Bytes => Form::Bytes,
        Needs::Document => Form::Document,
        Needs::Columns(_) => Form::Columns,
    };
    declared.needs = Some(form);
    let answer = answer.value(&declared);
    let Needs::Columns(fields) = needs else { return answer };
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.clone()));
    match data::export(&arrow::array::RecordBatch::new_empty(schema)) {
        Ok(batch) => answer.batches(vec![batch]),
        Err(error) => Answer::failed(error),
    }
}

/// The value of a JSON argument.
fn argument<T: DeserializeOwned>(text: Str) -> Result<T> {
    let text = unsafe { text.text() }.ok_or_else(|| "is not UTF-8".to_owned());
    text.and_then(wire::parse).map_err(|what| {
        ConnectError::internal("plugin.argument", format!("an argument from the host {what}"))
            .hint("rebuild the plugin with the connector-core of this version")
    })
}

/// The records that a call brings, moved out of the host's struct before the call returns.
unsafe fn records(partition: Str, batch: *mut Batch) -> Result<(TopicPartition, Batch)> {
    let batch = unsafe { Batch::take(batch) };
    Ok((argument(partition)?, batch))
}

/// The records of a batch from the host, whose layout is right.
fn open_batch(batch: Batch) -> Result<arrow::array::RecordBatch> {
    data::import(batch, true)
        .map_err(|what| ConnectError::internal("plugin.argument", format!("a batch from the host {what}")))
}

/// Exports a plugin library: each type has a [`crate::Plugin`] and the trait of its list.
///
/// ```ignore
/// connector_core::export_plugin! { sources: [MySource], transforms: [MyTransform], sinks: [MySink] }
/// ```
///
/// Each list may be left out. `version: "1.2.3",` in front replaces the crate's version.
#[macro_export]
macro_rules! export_plugin {
    (@sources $plugin:ty, $version:expr) => { $crate::Component::source::<$plugin>($version) };
    (@transforms $plugin:ty, $version:expr) => { $crate::Component::transform::<$plugin>($version) };
    (@sinks $plugin:ty, $version:expr) => { $crate::Component::sink::<$plugin>($version) };
    (version: $version:expr, $($kind:ident: [$($plugin:ty),* $(,)?]),* $(,)?) => {
        #[allow(unsafe_code)]
        const _: () = {
            /// The one symbol of a plugin library.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn connector_plugin_v1(
                host: *const $crate::abi::Host,
            ) -> *const $crate::abi::Plugin {
                let about = $crate::abi::export::About {
                    name: ::core::env!("CARGO_PKG_NAME"),
                    version: $version,
                    unwinds: ::core::cfg!(panic = "unwind"),
                };
                let components = || {
                    ::std::vec![$($($crate::export_plugin!(@$kind $plugin, $version),)*)*]
                };
                unsafe { $crate::abi::export::entry(host, about, components) }
            }
        };
    };
    ($($kind:ident: [$($plugin:ty),* $(,)?]),* $(,)?) => {
        $crate::export_plugin! { version: ::core::env!("CARGO_PKG_VERSION"), $($kind: [$($plugin),*]),* }
    };
}
