// Package compat holds the tests of what other programs rely on: the schema and
// the JSON of the objects users write. It has no code of its own.
//
// testdata/argo-schema-paths.tsv lists every field path of the published
// argoproj.io/v1alpha1 schema. testdata/manifests holds this project's own
// manifests; when SLUICE_UPSTREAM_EXAMPLES names a folder, its manifests are
// read as well.
package compat
