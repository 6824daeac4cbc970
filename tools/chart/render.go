package main

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

// manifests are the rendered templates by their paths, NOTES.txt among them.
type manifests map[string]string

// render is what `helm template --namespace` renders, with the values checked against
// the chart's schema.
func render(chart, namespace string, given common.Values) (manifests, error) {
	loaded, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	values, err := util.ToRenderValues(loaded, given, common.ReleaseOptions{
		Name: "sluice", Namespace: namespace, Revision: 1, IsInstall: true,
	}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.RenderWithContext(context.Background(), loaded, values)
}

// text is one stream of YAML documents, without what is no manifest.
func (m manifests) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		text := strings.TrimSpace(m[name])
		if text != "" && path.Ext(name) == ".yaml" {
			fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", name, text)
		}
	}
	return b.String()
}

// notes is what an installation prints.
func (m manifests) notes() string {
	for name, text := range m {
		if path.Base(name) == "NOTES.txt" {
			return text
		}
	}
	return ""
}
