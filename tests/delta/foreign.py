"""Another program that writes to the same table: foreign.py TABLE optimize | vacuum | append ROWS | delete PREDICATE"""
import json, sys

import pyarrow
from deltalake import DeltaTable, write_deltalake

path, command, *arguments = sys.argv[1:]
table = DeltaTable(path)
match command:
    case "optimize":
        table.optimize.compact()
    case "append":
        schema = pyarrow.schema(table.schema().to_arrow())
        write_deltalake(path, pyarrow.Table.from_pylist(json.loads(arguments[0]), schema), mode="append")
    case "delete":
        table.delete(arguments[0])
    case "vacuum":
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    case _:
        sys.exit(f"no command {command}")
