#!/usr/bin/env bash
# Builds the program and runs `sidestream demo`: see src/demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
if [ ! -d "${CARGO_TARGET_DIR:-target}/debug/deps" ]; then
    echo "demo: compiling Sidestream and its libraries for the first time: about 6 minutes on two cores"
fi
cargo build --bin sidestream
echo "demo: compiled in $((SECONDS - started)) s"
exec "${CARGO_TARGET_DIR:-target}/debug/sidestream" demo --dir demo "$@"
