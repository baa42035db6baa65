use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Int8Array, Int16Array, Int64Array, ListArray, MapArray, NullArray, StringArray, StructArray,
    Time32SecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampSecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{Fields, Int32Type, UnionFields, UnionMode};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn encoded(body: RowGroups) -> Bytes {
    Bytes::from(body.finish().unwrap().take(usize::MAX))
}

fn new(codec: Codec, row_group_size: usize) -> RowGroups {
    RowGroups::new(Arc::new(Parquet::new(codec, row_group_size)), Buffer::new(BytesMut::new()))
}

fn written(values: &ArrayRef) -> Bytes {
    let table = Arc::new(Table::of(values).unwrap());
    let mut body = new(Codec::Snappy, 1 << 20);
    for row in 0..values.len() {
        body.append(&table, row).unwrap();
    }
    encoded(body)
}

fn read(file: &Bytes) -> (String, RecordBatch, usize) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let mut schema = Vec::new();
    ::parquet::schema::printer::print_schema(&mut schema, builder.metadata().file_metadata().schema());
    assert!(builder.metadata().file_metadata().key_value_metadata().is_none());
    let groups = builder.metadata().num_row_groups();
    let reader = builder.build().unwrap();
    let schema_of_rows = arrow::array::RecordBatchReader::schema(&reader);
    let batches: Vec<_> = reader.collect::<std::result::Result<_, _>>().unwrap();
    (String::from_utf8(schema).unwrap(), concat_batches(&schema_of_rows, &batches).unwrap(), groups)
}

fn column(name: &str, array: impl Array + 'static, nullable: bool) -> (FieldRef, ArrayRef) {
    (Arc::new(Field::new(name, array.data_type().clone(), nullable)), Arc::new(array))
}

#[test]
fn types_are_those_that_readers_know() {
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let texts = StringArray::from(vec![Some("x"), None, Some("z")]);
    let list = ListArray::new(item, OffsetBuffer::from_lengths([2, 1]), Arc::new(texts.clone()), None);
    let keys = Arc::new(StringArray::from(vec!["k", "l", "m"])) as ArrayRef;
    let entry = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, true),
    ]);
    let entries = StructArray::new(entry.clone(), vec![keys, Arc::new(texts)], None);
    let entries_field = Arc::new(Field::new("entries", DataType::Struct(entry), false));
    let map = MapArray::new(entries_field, OffsetBuffer::from_lengths([0, 3]), entries, None, false);
    let inner = StructArray::from(vec![column("at", TimestampSecondArray::from(vec![1, 2]), false)]);
    let millis = TimestampMillisecondArray::from(vec![Some(-1), None]).with_timezone("UTC");
    let values: ArrayRef = Arc::new(StructArray::from(vec![
        column("b", BooleanArray::from(vec![true, false]), false),
        column("i8", Int8Array::from(vec![-1, 2]), false),
        column("i16", Int16Array::from(vec![Some(-1), None]), true),
        column("i64", Int64Array::from(vec![i64::MIN, i64::MAX]), false),
        column("bytes", BinaryArray::from_vec(vec![b"\0", b""]), false),
        column(
            "decimal",
            Decimal128Array::from(vec![-150, 1]).with_precision_and_scale(38, 2).unwrap(),
            false,
        ),
        column("date", Date32Array::from(vec![-1, 19_000]), false),
        column("date64", Date64Array::from(vec![86_400_000, 0]), false),
        column("time", Time32SecondArray::from(vec![1, 86_399]), false),
        column("millis", millis, true),
        column("micros", TimestampMicrosecondArray::from(vec![1, 2]), false),
        column("list", list, false),
        column("map", map, false),
        column("inner", inner, false),
        column("nothing", NullArray::new(2), true),
    ]));
    let (schema, rows, _) = read(&written(&values));
    let expected = "\
message arrow_schema {
  REQUIRED BOOLEAN b;
  REQUIRED INT32 i8 (INTEGER(8,true));
  OPTIONAL INT32 i16 (INTEGER(16,true));
  REQUIRED INT64 i64;
  REQUIRED BYTE_ARRAY bytes;
  REQUIRED FIXED_LEN_BYTE_ARRAY (16) decimal (DECIMAL(38,2));
  REQUIRED INT32 date (DATE);
  REQUIRED INT32 date64 (DATE);
  REQUIRED INT32 time (TIME(MILLIS,false));
  OPTIONAL INT64 millis (TIMESTAMP(MILLIS,true));
  REQUIRED INT64 micros (TIMESTAMP(MICROS,false));
  REQUIRED group list (LIST) {
    REPEATED group list {
      OPTIONAL BYTE_ARRAY element (STRING);
    }
  }
  REQUIRED group map (MAP) {
    REPEATED group key_value {
      REQUIRED BYTE_ARRAY key (STRING);
      OPTIONAL BYTE_ARRAY value (STRING);
    }
  }
  REQUIRED group inner {
    REQUIRED INT64 at (TIMESTAMP(MILLIS,false));
  }
  OPTIONAL INT32 nothing (UNKNOWN);
}
";
    assert_eq!(schema, expected);
    assert_eq!(rows["date64"].as_primitive::<arrow::datatypes::Date32Type>().values(), &[1, 0]);
    assert_eq!(
        rows["time"].as_primitive::<arrow::datatypes::Time32MillisecondType>().values(),
        &[1000, 86_399_000]
    );
    assert_eq!(rows["list"].as_list::<i32>().value(0).as_string::<i32>().value(0), "x");
    assert_eq!(rows["map"].as_map().value(1).len(), 3);
    assert_eq!(rows["i16"].null_count(), 1);
}

#[test]
fn what_parquet_has_no_type_for_is_named() {
    let refused = |values: ArrayRef| Table::of(&values).unwrap_err();
    assert_eq!(refused(Arc::new(Int64Array::from(vec![1]))), "the value is of type Int64, not a struct");
    let empty = StructArray::new_empty_fields(1, None);
    assert_eq!(refused(Arc::new(empty.clone())), "the value is a struct without fields");
    let nested =
        StructArray::from(vec![column("a", StructArray::from(vec![column("b", empty, true)]), true)]);
    assert_eq!(refused(Arc::new(nested)), "field `a.b` is a struct without fields");
    let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
    let list = DataType::List(Arc::new(Field::new("item", union, true)));
    let fields = DataType::Struct(vec![Field::new("u", list, true)].into());
    assert!(problem("", &fields).unwrap().starts_with("field `u` is of type Union"));
}

#[test]
fn every_codec_can_be_read_again() {
    for codec in
        [Codec::None, Codec::Snappy, Codec::Gzip, Codec::Zstd, Codec::Lz4, Codec::Lz4Raw, Codec::Brotli]
    {
        let values = rows(0..100);
        let table = Arc::new(Table::of(&values).unwrap());
        let mut body = new(codec, 1 << 20);
        for row in 0..100 {
            body.append(&table, row).unwrap();
        }
        assert_eq!(read(&encoded(body)).1.num_rows(), 100, "{codec:?}");
    }
}

/// Rows with a number and text of growing length.
fn rows(range: std::ops::Range<i64>) -> ArrayRef {
    let texts = range.clone().map(|n| (n % 7 > 0).then(|| format!("{n}").repeat((n % 13) as usize)));
    Arc::new(StructArray::from(vec![
        column("n", Int64Array::from_iter_values(range.clone()), false),
        column("text", StringArray::from_iter(texts), true),
    ]))
}

#[test]
fn row_groups_leave_while_the_file_grows() {
    let mut body = new(Codec::None, 20_000);
    let mut parts = Vec::new();
    let mut appended = 0;
    for start in (0..20_000).step_by(100) {
        let table = Arc::new(Table::of(&rows(start..start + 100)).unwrap());
        for row in 0..100 {
            appended += body.append(&table, row).unwrap();
        }
        body.settle().unwrap();
        assert!(body.waiting_rows < UNIT && body.held() <= appended);
        let buffer = body.buffer().unwrap();
        while buffer.len() > 30_000 {
            parts.push(Bytes::from(buffer.take(30_000)));
        }
    }
    assert!(parts.len() > 10, "{}", parts.len());
    assert!(body.held() < appended / 10, "{} of {appended}", body.held());
    parts.push(encoded(body));
    let (_, read, groups) = read(&Bytes::from(parts.concat()));
    assert!(groups > 10, "{groups}");
    let expected = rows(0..20_000);
    assert_eq!(&read["n"], expected.as_struct().column(0));
    assert_eq!(&read["text"], expected.as_struct().column(1));
}

#[test]
fn a_few_rows_of_a_batch_do_not_keep_it_in_memory() {
    let table = Arc::new(Table::of(&rows(0..10_000)).unwrap());
    let whole = table.rows.get_array_memory_size();
    for (picked, most) in [(vec![5], whole / 100), (vec![1, 5000, 9999], whole / 100)] {
        let mut body = new(Codec::Snappy, 1 << 20);
        for row in picked {
            body.append(&table, row).unwrap();
        }
        body.settle().unwrap();
        let held: usize = body.waiting.iter().map(|w| w.rows.get_array_memory_size()).sum();
        assert!(body.run.is_none() && held < most, "{held} of {whole}");
    }
}

#[test]
fn ten_thousand_open_files_are_small() {
    let table = Arc::new(Table::of(&rows(0..10_000)).unwrap());
    let mut files = Vec::new();
    for row in 0..10_000 {
        let mut body = new(Codec::Snappy, 1 << 20);
        body.append(&table, row).unwrap();
        body.settle().unwrap();
        files.push(body);
    }
    let held: usize = files.iter().flat_map(|f| &f.waiting).map(|w| w.rows.get_array_memory_size()).sum();
    assert!(held < 10_000 * 1000, "{held}");
}

/// Any of the types that make parquet's encodings differ: text of a small dictionary, text that outgrows one, lists.
fn any_rows() -> impl Strategy<Value = ArrayRef> {
    let row = (
        any::<i64>(),
        prop::option::of("[ab]{0,3}"),
        prop::option::of(prop::collection::vec(any::<i32>(), 0..4)),
        ".{0,40}",
    );
    prop::collection::vec(row, 1..3500).prop_map(|rows| {
        let lists = rows.iter().map(|(_, _, l, _)| l.clone().map(|l| l.into_iter().map(Some)));
        Arc::new(StructArray::from(vec![
            column("n", Int64Array::from_iter_values(rows.iter().map(|r| r.0)), false),
            column("few", StringArray::from_iter(rows.iter().map(|r| r.1.as_deref())), true),
            column("list", ListArray::from_iter_primitive::<Int32Type, _, _>(lists), true),
            column("many", StringArray::from_iter_values(rows.iter().map(|r| &r.3)), false),
        ])) as ArrayRef
    })
}

/// The file of every row of `values` that is not skipped, in batches that end at `ends`.
fn file_of(values: &ArrayRef, ends: &[usize], skip: usize, spill: bool) -> Bytes {
    let mut body = new(Codec::Zstd, 9000);
    let mut parts = Vec::new();
    let mut start = 0;
    for end in ends.iter().copied().chain([values.len()]) {
        if end <= start {
            continue;
        }
        let table = Arc::new(Table::of(&values.slice(start, end - start)).unwrap());
        for row in start..end {
            if row % skip != 0 {
                body.append(&table, row - start).unwrap();
            }
        }
        start = end;
        if spill {
            body.settle().unwrap();
            parts.push(Bytes::from(body.buffer().unwrap().take(1000)));
        }
    }
    parts.push(encoded(body));
    Bytes::from(parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 50, ..ProptestConfig::default() })]
    #[test]
    fn the_bytes_do_not_depend_on_the_batches(
        values in any_rows(),
        mut ends in prop::collection::vec(0_usize..3500, 0..12),
        skip in 2_usize..9,
    ) {
        ends.sort_unstable();
        ends.iter_mut().for_each(|end| *end = (*end).min(values.len()));
        let whole = file_of(&values, &[], skip, false);
        let split = file_of(&values, &ends, skip, true);
        prop_assert_eq!(&whole, &split);
        if values.len() > 1 {
            let kept = (0..values.len()).filter(|row| row % skip != 0).count();
            prop_assert_eq!(read(&whole).1.num_rows(), kept);
        }
    }
}
