"""What readers that are not ours see in parquet files, as one JSON text.

    read.py FILE...

Rows as each reader gives them, in the order of the files and of their rows; times are ISO texts in UTC, binary is
hexadecimal, decimals are texts. A reader that cannot read the codec of a file has the error's text instead of its rows.
"""
import datetime, decimal, json, sys

import duckdb
import polars
import pyarrow.parquet


def plain(value):
    match value:
        case datetime.datetime():
            return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return value.hex()
        # Maps: Arrow gives pairs, Polars structs of key and value.
        case [(_, _), *_] if isinstance(value[0], tuple):
            return {key: plain(item) for key, item in value}
        case [{"key": _, "value": _, **rest}, *_] if not rest:
            return {entry["key"]: plain(entry["value"]) for entry in value}
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case _:
            return value


def by_duckdb(path):
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return connection.read_parquet(path).to_arrow_table().to_pylist()


READERS = {
    "pyarrow": lambda path: pyarrow.parquet.ParquetFile(path).read().to_pylist(),
    "duckdb": by_duckdb,
    "polars": lambda path: polars.read_parquet(path, glob=False).to_dicts(),
}


def rows(reader, path):
    try:
        return plain(READERS[reader](path))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


json.dump({path: {reader: rows(reader, path) for reader in READERS} for path in sys.argv[1:]}, sys.stdout)
