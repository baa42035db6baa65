#!/usr/bin/env bash
# Installs Airflow for `make test-airflow`, beside what setup.sh has installed (Python): 300 MB under .work/airflow. Quick when it is
# there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
work=${SIDESTREAM_WORK:-$repo/.work}
airflow=$work/airflow
mkdir -p "$airflow"

say() { printf 'setup-airflow: %s\n' "$*"; }

# One setup at a time in a work folder; the lock goes with this process.
exec 9>"$work/setup.lock"
flock 9

wanted=$(sha256sum <"$here/airflow.requirements.txt")
if [ "$(cat "$airflow/.installed" 2>/dev/null)" = "$wanted" ]; then
    say "Airflow: up to date"
    exit 0
fi

say "Airflow: installing into $airflow (about a minute)"
rm -rf "$airflow/venv"
python3 -m venv "$airflow/venv"
"$airflow/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/airflow.requirements.txt"
printf '%s\n' "$wanted" >"$airflow/.installed"
