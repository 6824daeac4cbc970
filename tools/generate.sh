#!/bin/sh
# Generates all generated code, CRDs and roles from the protos, the API types and the
# plugins.
#
#   tools/generate.sh          writes them into the checkout
#   tools/generate.sh --check  fails if the checkout's are stale
#
# The tools are built from their pinned modules beside this script, into
# $SLUICE_CACHE/tools. Nothing remote is asked but the Go module proxy.
set -eu
cd "$(dirname "$0")/.."

bin="${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/tools"
mkdir -p "$bin"
for tool in buf protoc-gen controller-gen crd-ref-docs; do
	go -C "tools/$tool" build -o "$bin/" tool
done
PATH="$bin:$PATH"

# generate writes everything below the folder $1.
generate() {
	buf generate -o "$1"
	controller-gen paths=./core/api/... \
		object output:object:dir="$1/core/api/v1alpha1" \
		crd:maxDescLen=0,generateEmbeddedObjectMeta=true output:crd:dir="$1/deploy/crds"
	crd-ref-docs --log-level=ERROR --source-path=core/api/v1alpha1 --config=tools/crd-ref-docs.yaml \
		--renderer=markdown --max-depth=20 --output-path="$1/docs/reference.md"
	go run ./tools/pluginroles "$1"
}

# generated lists what is generated below the folder $1, and only that.
generated() {
	(cd "$1" && find core deploy/crds deploy/roles docs sdk/proto -name '*.pb.go' -o -name 'zz_generated.*.go' -o -name '*_generated.go' -o -name 'argoproj.io_*.yaml' -o -path docs/reference.md -o -path deploy/roles/plugins.yaml) | sort
}

if [ "${1:-}" != --check ]; then
	generate .
	exit
fi

fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh/core/api/v1alpha1" "$fresh/deploy/crds" "$fresh/deploy/roles" "$fresh/docs" "$fresh/sdk/proto"
generate "$fresh"
stale=0
for file in $( (generated . && generated "$fresh") | sort -u); do
	if ! cmp -s "$file" "$fresh/$file"; then
		echo "stale: $file" >&2
		stale=1
	fi
done
[ "$stale" = 0 ] || echo "run 'make generate' and commit the result" >&2
exit "$stale"
