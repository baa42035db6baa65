"""Column `n` as readers that are not ours see it, as JSON: numbers by file.

    column.py parquet DIRECTORY    all .parquet files below it
    column.py delta TABLE          a Delta table, as one file without a name
"""
import json, sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable

what, path = sys.argv[1:]
if what == "delta":
    numbers = {"": pyarrow.table(DeltaTable(path).to_pyarrow_table(columns=["n"]))["n"].to_pylist()}
else:
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    numbers = {str(file.relative_to(path)): pyarrow.parquet.ParquetFile(file).read(["n"])["n"].to_pylist() for file in files}
json.dump(numbers, sys.stdout)
