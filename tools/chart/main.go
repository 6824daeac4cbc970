// Command chart does what `helm lint`, `helm template` and `helm package` do, out of
// Helm's own packages; it is what the build needs of Helm, and is built in a fraction
// of the time:
//
//	chart lint CHART [VALUES]
//	chart template CHART NAMESPACE [VALUES]
//	chart package CHART FOLDER
//
// VALUES is a YAML file. lint fails on warnings as well.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // each symbolic link is told at level info
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) >= 2 && args[0] == "lint":
		values, err := valuesFrom(args[2:])
		if err != nil {
			return err
		}
		return check(args[1], values, out)
	case len(args) >= 3 && args[0] == "template":
		values, err := valuesFrom(args[3:])
		if err != nil {
			return err
		}
		rendered, err := render(args[1], args[2], values)
		if err == nil {
			_, err = io.WriteString(out, rendered.text())
		}
		return err
	case len(args) == 3 && args[0] == "package":
		chart, err := loader.Load(args[1])
		if err != nil {
			return err
		}
		file, err := chartutil.Save(chart, args[2])
		if err == nil {
			fmt.Fprintln(out, file)
		}
		return err
	}
	return errors.New("usage: chart lint CHART [VALUES], chart template CHART NAMESPACE [VALUES], or chart package CHART FOLDER")
}

func valuesFrom(files []string) (common.Values, error) {
	if len(files) == 0 {
		return common.Values{}, nil
	}
	return common.ReadValuesFile(files[0])
}

func check(chart string, values common.Values, out io.Writer) error {
	result := lint.RunAll(chart, values, "default")
	for _, message := range result.Messages {
		fmt.Fprintln(out, message)
	}
	if result.HighestSeverity >= support.WarningSev {
		return fmt.Errorf("%s does not pass", chart)
	}
	return nil
}
