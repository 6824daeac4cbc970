#!/bin/sh
# Builds kubectl-sluice for every platform that people sit at, and the sums to check
# downloads with:
#
#   tools/cross.sh VERSION FOLDER
#
# Each file is asked what it was built for, and the one for this machine is run.
set -eu
cd "$(dirname "$0")/.."
version=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"

for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do
	os=${platform%/*} arch=${platform#*/}
	file="$folder/kubectl-sluice_${os}_$arch"
	[ "$os" != windows ] || file="$file.exe"
	echo "building $file"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath \
		-ldflags "-s -w -X github.com/sluice-rollouts/sluice/cmd/kubectl-sluice/cli.Version=$version" \
		-o "$file" ./cmd/kubectl-sluice
	built=$(go version -m "$file")
	for setting in "GOOS=$os" "GOARCH=$arch" CGO_ENABLED=0 -trimpath=true; do
		case "$built" in *"$setting"*) ;; *)
			echo "$file was not built with $setting" >&2
			exit 1
			;;
		esac
	done
	if [ "$os/$arch" = "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" ]; then
		said=$("$file" version --short)
		[ "$said" = "$version" ] || {
			echo "$file says that it is $said, not $version" >&2
			exit 1
		}
	fi
done
cd "$folder"
if command -v sha256sum >/dev/null; then sha256sum kubectl-sluice_*; else shasum -a 256 kubectl-sluice_*; fi >SHA256SUMS
cat SHA256SUMS
