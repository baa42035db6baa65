#!/usr/bin/env bash
# Installs Spark with Delta Lake for `make test-spark`, beside what setup.sh has installed (Java, Maven, Python): half a gigabyte under
# .work/spark. Quick when it is there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
work=${SIDESTREAM_WORK:-$repo/.work}
spark=$work/spark
mkdir -p "$spark"

say() { printf 'setup-spark: %s\n' "$*"; }
die() { printf 'setup-spark: %s\n' "$*" >&2; exit 1; }

# One setup at a time in a work folder; the lock goes with this process.
exec 9>"$work/setup.lock"
flock 9

wanted=$(cat "$here/spark.requirements.txt" "$here/spark.pom.xml" | sha256sum)
if [ "$(cat "$spark/.installed" 2>/dev/null)" = "$wanted" ]; then
    say "Spark with Delta Lake: up to date"
    exit 0
fi

say "Spark with Delta Lake: installing into $spark (about a minute)"
rm -rf "$spark/venv" "$spark/jars"
python3 -m venv "$spark/venv"
"$spark/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/spark.requirements.txt"
# Only what Delta adds: the rest of its dependencies is Spark itself.
mvn -B -q -f "$here/spark.pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DincludeGroupIds=io.delta,io.unitycatalog \
    -DoutputDirectory="$spark/jars" </dev/null >"$spark/mvn.log" 2>&1 ||
    { tail -n 20 "$spark/mvn.log" >&2; die "Maven failed; its whole output: $spark/mvn.log"; }
printf '%s\n' "$wanted" >"$spark/.installed"
