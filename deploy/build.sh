#!/bin/sh
# Builds what the image holds, into a directory: the Dockerfile runs this, and so can anybody without an engine.
#
#   deploy/build.sh DIRECTORY [PROGRAM]     PROGRAM: a binary that is built already; without it a dist build is made
#
# DIRECTORY becomes a root file system for the program alone, beside what its base image has (glibc, OpenSSL and CA certificates are
# linked in or come with the base). Nothing in it is written to at run time.
set -eu
root=$1
program=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "$program" ]; then
    echo "build: compiling (--profile dist)" >&2
    (cd "$here" && cargo build --profile dist --locked --no-default-features --features "${FEATURES:-plugins}")
    program=${CARGO_TARGET_DIR:-$here/target}/dist/sidestream
fi
mkdir -p "$root/usr/local/bin" "$root/etc/sidestream" "$root/usr/local/lib/sidestream/plugins" "$root/usr/share/doc/sidestream"
install -m 0755 "$program" "$root/usr/local/bin/sidestream"
install -m 0644 "$here/LICENSE" "$root/usr/share/doc/sidestream/LICENSE"
chmod -R a-w,a+rX "$root/usr/local" "$root/usr/share/doc/sidestream"
echo "build: $root" >&2
