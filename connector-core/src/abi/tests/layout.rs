//! The layout of the tables. A change of the snapshot that is not an append needs a new major version.

use std::fmt::Write;
use std::mem::offset_of;

use super::super::{
    Batch, Component, Done, Host, MAGIC, Outcome, Plugin, SinkVtable, SourceVtable, Status, Str,
    TransformVtable, read,
};

fn width<S, F>(_: fn(&S) -> &F) -> (usize, usize) {
    (size_of::<F>(), align_of::<F>())
}

macro_rules! layout {
    ($out:ident $($table:ident { $($field:ident),* $(,)? })*) => { $(
        writeln!($out, "{}: {} bytes, aligned to {}", stringify!($table), size_of::<$table>(), align_of::<$table>())
            .unwrap();
        $(
            let (size, align) = width(|table: &$table| &table.$field);
            writeln!($out, "  {:>3} {:<16} {size} bytes, aligned to {align}",
                offset_of!($table, $field), stringify!($field)).unwrap();
        )*
        // Every field is named above: an unnamed one does not compile.
        let _ = |table: $table| { let $table { $($field: _),* } = table; };
    )* };
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_layout_of_the_tables_only_grows_at_the_end() {
    let mut out = format!("magic {MAGIC:#x}\n");
    layout! { out
        Str { ptr, len }
        Batch { schema, array }
        Done { ctx, call }
        Outcome { size, status, reserved, instance, value, batches, batches_len }
        Plugin {
            size, magic, name, version, sdk_version, build_flags, components, components_len, shutdown,
        }
        Component {
            size, kind, reserved, name, aliases, inert_keys, version, summary, config_schema, vtable, context,
            delivery,
        }
        SinkVtable { size, create, open, write, flush, commit, close, drop, forget, metrics, inventory }
        SourceVtable { size, create, open, poll, commit, close, drop, plan, metrics }
        TransformVtable { size, create, apply, drop }
        Host { size, worker_threads, log_level, log, topic_partitions, topic_names }
    }
    for code in 0..=u32::from(u8::MAX) {
        if let Some(status) = Status::from_code(code) {
            writeln!(out, "status {code} {status:?}").unwrap();
        }
    }
    insta::assert_snapshot!(out);
}

fn transforms(size: usize) -> TransformVtable {
    TransformVtable { size, ..super::super::export::TRANSFORM }
}

#[test]
fn fields_past_the_size_of_a_table_are_absent() {
    let shorter = transforms(offset_of!(TransformVtable, drop));
    let table = unsafe { read(&raw const shorter) }.unwrap();
    assert!(table.create.is_some() && table.apply.is_some() && table.drop.is_none());
}

#[test]
fn a_longer_table_is_read_as_far_as_it_is_known() {
    #[repr(C)]
    struct Longer(TransformVtable, [usize; 4]);
    let longer = Longer(transforms(size_of::<Longer>()), [usize::MAX; 4]);
    let table = unsafe { read((&raw const longer).cast::<TransformVtable>()) }.unwrap();
    assert!(table.apply.is_some() && table.drop.is_some());
}

#[test]
fn an_impossible_size_is_refused() {
    for size in [0, 4, 12, 1 << 40] {
        let table = transforms(size);
        assert!(
            unsafe { read(&raw const table) }.is_err_and(|error| error.contains("TransformVtable")),
            "{size}"
        );
    }
    assert!(unsafe { read(std::ptr::null::<TransformVtable>()) }.is_err());
}
