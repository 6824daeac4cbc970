// Command helm does what `helm lint` and `helm template` do, out of Helm's own
// packages. It is what the tests of the chart need of Helm, and takes a fraction of
// the time to build.
//
//	helm lint CHART [VALUES]
//	helm template CHART NAMESPACE [VALUES]
//
// VALUES is a YAML file. lint fails on warnings as well.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "lint":
		values, err := read(args[2:])
		if err != nil {
			return err
		}
		return check(args[1], values)
	case len(args) >= 3 && args[0] == "template":
		values, err := read(args[3:])
		if err != nil {
			return err
		}
		return template(args[1], args[2], values)
	}
	return errors.New("usage: helm lint CHART [VALUES], or helm template CHART NAMESPACE [VALUES]")
}

func read(files []string) (common.Values, error) {
	if len(files) == 0 {
		return common.Values{}, nil
	}
	return common.ReadValuesFile(files[0])
}

func check(chart string, values common.Values) error {
	result := lint.RunAll(chart, values, "default")
	for _, message := range result.Messages {
		fmt.Println(message)
	}
	if result.HighestSeverity >= support.WarningSev {
		return fmt.Errorf("%s does not pass", chart)
	}
	return nil
}

func template(dir, namespace string, given common.Values) error {
	chart, err := loader.Load(dir)
	if err != nil {
		return err
	}
	// The chart's own crds/ folder, if it had one, would be left out: this chart
	// renders definitions like everything else.
	values, err := util.ToRenderValues(chart, given, common.ReleaseOptions{
		Name: "sluice", Namespace: namespace, Revision: 1, IsInstall: true,
	}, common.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Engine{Strict: true}.Render(chart, values)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		text := strings.TrimSpace(rendered[name])
		if text != "" && path.Ext(name) == ".yaml" && !strings.HasPrefix(path.Base(name), "_") {
			fmt.Printf("---\n# Source: %s\n%s\n", name, text)
		}
	}
	return nil
}
