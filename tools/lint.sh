#!/bin/sh
# Runs the pinned golangci-lint over the root module, building it on first use
# into $SLUICE_CACHE/tools.
set -eu
cd "$(dirname "$0")/.."
bin="${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/tools"
mkdir -p "$bin"
go -C tools/golangci-lint build -o "$bin/" tool
exec "$bin/golangci-lint" run "$@" ./...
