#!/bin/sh
# Runs the pinned golangci-lint, built on first use into $SLUICE_CACHE/tools, over
# the root module and over the modules that have code of their own besides it.
# test/cluster is left to go vet: it takes minutes to load all of Kubernetes.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
bin="${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/tools"
mkdir -p "$bin"
go -C tools/golangci-lint build -o "$bin/" tool
for module in . tools/image tools/chart test/components/xdsclient; do
	(cd "$module" && "$bin/golangci-lint" run -c "$root/.golangci.yml" "$@" ./...)
done
