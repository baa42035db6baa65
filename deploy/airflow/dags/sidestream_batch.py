"""The daily batch job: objects of the lake → cleaned, de-duplicated Delta tables, as one command that ends.

Each try goes on where the one before it stopped, so a retry repeats nothing. Settings come from the worker's environment:

SIDESTREAM                 the program; default: `sidestream` on the PATH
SIDESTREAM_JOB             the job's file; default: batch.yaml beside this folder
SIDESTREAM_TIMEOUT         after which a run is given up; default: 2h
SIDESTREAM_RETRY_SECONDS   pause before a failed run is tried again; default: 300
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="sidestream_batch",
    description="Objects of the lake to cleaned tables, new ones only",
    schedule="@daily",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    # A run reads all that is new, whatever its date: two at once would compete for the same objects.
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=int(os.environ.get("SIDESTREAM_RETRY_SECONDS", "300"))),
    },
    doc_md=__doc__,
):
    BashOperator(
        task_id="objects_to_tables",
        # The program takes the shell's place, so that a task that is stopped stops it, and its exit code is the task's.
        bash_command='exec "$SIDESTREAM" run --until caught-up --timeout "$SIDESTREAM_TIMEOUT" "$SIDESTREAM_JOB"',
        env={
            "SIDESTREAM": os.environ.get("SIDESTREAM", "sidestream"),
            "SIDESTREAM_JOB": os.environ.get("SIDESTREAM_JOB", str(Path(__file__).parent.parent / "batch.yaml")),
            "SIDESTREAM_TIMEOUT": os.environ.get("SIDESTREAM_TIMEOUT", "2h"),
        },
        append_env=True,
    )
