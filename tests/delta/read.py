"""What readers that are not ours see of a Delta table, as one JSON text.

    read.py TABLE [VERSION]

`rows` has the rows as each reader gives them, in no particular order; times are ISO texts in UTC, binary is hexadecimal,
decimals are texts. `wrong_statistics` compares the log's statistics of each live file with the file itself.
"""
import datetime, decimal, json, sys, urllib.parse

import duckdb
import polars
import pyarrow
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from deltalake import DeltaTable

# Writers may cut longer texts in statistics.
WHOLE_TEXT = 32


def plain(value):
    match value:
        case datetime.datetime():
            if value.tzinfo is None:
                return value.isoformat(timespec="microseconds")
            return value.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")
        case datetime.date():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return value.hex()
        case [(_, _), *_] if isinstance(value[0], tuple):  # Arrow's form of a map.
            return {key: plain(item) for key, item in value}
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case _:
            return value


def rows(table, path, version):
    arrow = pyarrow.table(table.to_pyarrow_table())
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.register("t", arrow)
    by_duckdb = connection.sql("select * from t").to_arrow_table()
    by_polars = polars.read_delta(path, version=version)
    return {
        "deltalake": plain(arrow.to_pylist()),
        "polars": plain(by_polars.to_dicts()),
        "duckdb": plain(by_duckdb.to_pylist()),
    }


def flat(schema, prefix=""):
    """Names and types of the columns that have minimum and maximum, nested ones by their path."""
    for field in schema:
        name = prefix + field.name
        if pyarrow.types.is_struct(field.type):
            yield from flat(field.type, f"{name}.")
        elif not pyarrow.types.is_nested(field.type):
            yield name, field.type


def column(table, name):
    first, *rest = name.split(".")
    column = table.column(first).combine_chunks()
    for part in rest:
        column = compute.struct_field(column, part)
    return column


def wrong_statistics(path, files):
    wrong = []
    for file in files:
        content = parquet.ParquetFile(f"{path}/{urllib.parse.unquote(file['path'])}").read()
        if file["num_records"] != content.num_rows:
            wrong.append(f"{file['path']}: {file['num_records']} records in the log, {content.num_rows} in the file")
        for name, kind in flat(content.schema):
            values = column(content, name)
            nulls = file.get(f"null_count.{name}")
            if nulls is not None and nulls != values.null_count:
                wrong.append(f"{file['path']} {name}: {nulls} nulls in the log, {values.null_count} in the file")
            low, high = file.get(f"min.{name}"), file.get(f"max.{name}")
            if low is None and high is None:
                continue
            if values.null_count == len(values):
                wrong.append(f"{file['path']} {name}: a minimum or maximum of nothing but nulls")
                continue
            bounds = compute.min_max(values).as_py()
            least, most = plain(bounds["min"]), plain(bounds["max"])
            low, high = plain(low), plain(high)
            exact = True
            if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
                exact = len(least) <= WHOLE_TEXT and len(most) <= WHOLE_TEXT
            if pyarrow.types.is_timestamp(kind):
                # The log keeps milliseconds.
                exact = least[:23] == low[:23] and most[:23] <= high[:23]
                if not exact:
                    wrong.append(f"{file['path']} {name}: {low}..{high} in the log, {least}..{most} in the file")
                continue
            if (exact and (low, high) != (least, most)) or low > least or high < most:
                wrong.append(f"{file['path']} {name}: {low}..{high} in the log, {least}..{most} in the file")
    return wrong


def main(path, version=None):
    version = None if version is None else int(version)
    table = DeltaTable(path, version=version)
    files = pyarrow.table(table.get_add_actions(flatten=True)).to_pylist()
    schema = json.loads(table.schema().to_json())
    checked = sum(1 for file in files for key, value in file.items() if key.startswith("min.") and value is not None)
    json.dump(
        {
            "version": table.version(),
            "types": {field["name"]: field["type"] for field in schema["fields"]},
            "nullable": {field["name"]: field["nullable"] for field in schema["fields"]},
            "partition_columns": table.metadata().partition_columns,
            "files": [plain(file) for file in files],
            "operations": [entry.get("operation") for entry in table.history()],
            "rows": rows(table, path, version),
            "statistics": checked,
            "wrong_statistics": wrong_statistics(path, files),
        },
        sys.stdout,
    )


main(*sys.argv[1:])
