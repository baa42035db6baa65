//! Whether Arrow structs from the other side can be read without following a wild pointer.

use std::ffi::{CStr, c_void};

use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};

/// Deepest nesting of types.
const DEPTH: usize = 64;
/// Most rows; far from where sizes in bytes overflow.
const ROWS: i64 = 1 << 40;

/// How an array of a type is laid out.
enum Layout {
    /// Buffers besides the validity; none at all for the null type.
    Null,
    Fixed,
    /// Offsets of so many bytes, then data.
    Variable(usize),
    /// Offsets of so many bytes into one child.
    List(usize),
    FixedList,
    Struct,
}

impl Layout {
    /// By the format text of the C Data Interface; `None` for a type that does not cross.
    fn of(format: &str) -> Option<Self> {
        Some(match format {
            "n" => Self::Null,
            "b" | "c" | "C" | "s" | "S" | "i" | "I" | "l" | "L" | "e" | "f" | "g" => Self::Fixed,
            "u" | "z" => Self::Variable(4),
            "U" | "Z" => Self::Variable(8),
            "+l" | "+m" => Self::List(4),
            "+L" => Self::List(8),
            "+s" => Self::Struct,
            _ if format.starts_with("+w:") => Self::FixedList,
            _ if format.starts_with('t') || format.starts_with("d:") || format.starts_with("w:") => {
                Self::Fixed
            }
            _ => return None,
        })
    }

    fn buffers(&self) -> i64 {
        match self {
            Self::Null => 0,
            Self::FixedList | Self::Struct => 1,
            Self::Fixed | Self::List(_) => 2,
            Self::Variable(_) => 3,
        }
    }
}

/// Checks a batch: a struct at the top, each level laid out as its type says, offsets that never descend.
///
/// # Safety
/// Every pointer that is not null points to as much as the C Data Interface says.
pub(super) unsafe fn layout(schema: &FFI_ArrowSchema, array: &FFI_ArrowArray) -> Result<(), String> {
    if schema.release.is_none() || array.release.is_none() {
        return Err("was released already".to_owned());
    }
    if unsafe { text(schema.format) } != Some("+s") {
        return Err("is not a struct".to_owned());
    }
    unsafe { node(schema, array, 0) }
}

unsafe fn text<'a>(text: *const std::ffi::c_char) -> Option<&'a str> {
    if text.is_null() { None } else { unsafe { CStr::from_ptr(text) }.to_str().ok() }
}

unsafe fn node(schema: &FFI_ArrowSchema, array: &FFI_ArrowArray, depth: usize) -> Result<(), String> {
    let name = match unsafe { text(schema.name) } {
        Some(name) => name,
        None if schema.name.is_null() => "",
        None => return Err("has a column name that is not UTF-8".to_owned()),
    };
    let wrong = |what: String| Err(format!("column `{name}`: {what}"));
    if depth > DEPTH {
        return wrong(format!("nested more than {DEPTH} deep"));
    }
    let Some(format) = (unsafe { text(schema.format) }) else { return wrong("no type".to_owned()) };
    let Some(layout) = Layout::of(format) else {
        return wrong(format!("the type `{format}` does not cross the plugin boundary"));
    };
    let (length, offset) = (array.length, array.offset);
    if !(0..=ROWS).contains(&length) || !(0..=ROWS).contains(&offset) {
        return wrong(format!("{length} rows from row {offset} on cannot be"));
    }
    let nulls = array.null_count;
    if !(-1..=length).contains(&nulls) {
        return wrong(format!("{nulls} nulls in {length} rows cannot be"));
    }
    if array.n_buffers != layout.buffers() {
        return wrong(format!("{} buffers instead of {}", array.n_buffers, layout.buffers()));
    }
    if layout.buffers() > 0 {
        if array.buffers.is_null() {
            return wrong("its buffers are missing".to_owned());
        }
        if nulls > 0 && unsafe { *array.buffers }.is_null() {
            return wrong(format!("{nulls} nulls, but no validity buffer"));
        }
    }
    let end = length + offset;
    let mut child_rows = end;
    match layout {
        Layout::Variable(width) | Layout::List(width) if length > 0 => {
            let offsets = unsafe { *array.buffers.add(1) };
            let last = unsafe { ascending(offsets, width, offset, length) };
            child_rows = match last {
                Ok(last) => last,
                Err(what) => return wrong(what),
            };
        }
        Layout::List(_) => child_rows = 0,
        Layout::FixedList => {
            let per_row = format.trim_start_matches("+w:").parse::<i64>().unwrap_or(-1);
            match end.checked_mul(per_row) {
                Some(rows) if per_row >= 0 => child_rows = rows,
                _ => return wrong(format!("the type `{format}` cannot be")),
            }
        }
        _ => {}
    }
    let children = match layout {
        Layout::List(_) | Layout::FixedList => Some(1),
        Layout::Struct => None,
        _ => Some(0),
    };
    if schema.n_children != array.n_children || children.is_some_and(|n| n != schema.n_children) {
        return wrong(format!("{} children for {} types", array.n_children, schema.n_children));
    }
    let count =
        usize::try_from(schema.n_children).map_err(|_| format!("column `{name}`: negative children"))?;
    if count > 0 && (schema.children.is_null() || array.children.is_null()) {
        return wrong("its children are missing".to_owned());
    }
    for at in 0..count {
        let pair = unsafe { ((*schema.children.add(at)).as_ref(), (*array.children.add(at)).as_ref()) };
        let (Some(schema), Some(child)) = pair else { return wrong("a child is missing".to_owned()) };
        unsafe { node(schema, child, depth + 1) }?;
        if child.length < child_rows {
            return wrong(format!("a child of {} rows is too short for {child_rows}", child.length));
        }
    }
    match unsafe { (schema.dictionary.as_ref(), array.dictionary.as_ref()) } {
        (None, None) => Ok(()),
        (Some(schema), Some(array)) => unsafe { node(schema, array, depth + 1) },
        _ => wrong("half a dictionary".to_owned()),
    }
}

/// The last of `length + 1` offsets, if none is negative and none smaller than the one before it.
unsafe fn ascending(offsets: *const c_void, width: usize, from: i64, length: i64) -> Result<i64, String> {
    if offsets.is_null() || !(offsets as usize).is_multiple_of(width) {
        return Err("its offsets are missing or not aligned".to_owned());
    }
    // Both fit: `ROWS` is far below what overflows.
    let (from, count) = (from as usize, length as usize + 1);
    let at = |row: usize| unsafe {
        match width {
            4 => i64::from(*offsets.cast::<i32>().add(from + row)),
            _ => *offsets.cast::<i64>().add(from + row),
        }
    };
    let mut last = 0;
    for row in 0..count {
        let next = at(row);
        if next < 0 {
            return Err(format!("its offset {next} at row {row} is negative"));
        }
        if next < last {
            return Err(format!("its offsets descend from {last} to {next} at row {row}"));
        }
        last = next;
    }
    Ok(last)
}
