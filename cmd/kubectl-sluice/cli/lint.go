package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/sluice-rollouts/sluice/core/preview"
)

func (p *program) lint() *cobra.Command {
	var files []string
	var out output
	cmd := &cobra.Command{
		Use: "lint -f FILE", Short: "Find what is wrong with manifests, without a cluster",
		Long: `Find what a controller would refuse and fields that no API server knows. Files
may hold several documents; Services, Ingresses and templates in them are checked
together with the Rollouts that name them. What is not there is listed as not
checked and is no mistake.

Exit codes: 0 nothing is wrong, 1 something is.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if len(files) == 0 {
				return usage("give -f FILE; - is stdin")
			}
			return p.lintFiles(files, out)
		},
	}
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "files or folders with manifests; - is stdin")
	out.bind(cmd)
	return cmd
}

func (p *program) lintFiles(files []string, out output) error {
	files, err := expand(files)
	if err != nil {
		return err
	}
	var all [][]byte
	for _, file := range files {
		docs, err := p.documents(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, docs...)
	}
	findings, wrong := preview.Lint(all), 0
	for _, f := range findings {
		if !f.Unchecked {
			wrong++
		}
	}
	if out.plain() {
		if err := p.encode(out, findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			mark := p.style.paint(red, "✖")
			if f.Unchecked {
				mark = p.style.paint(dim, "-")
			}
			p.printf("%s %s %s: %s\n", mark, f.Kind, f.Name, f.What)
		}
	}
	if wrong > 0 {
		return &exitError{ExitFailed, fmt.Errorf("%d mistakes in %d documents", wrong, len(all))}
	}
	if !out.plain() {
		p.printf("%s %d documents, nothing wrong\n", p.style.paint(green, "✔"), len(all))
	}
	return nil
}

// documents of a file as JSON, with what is wrong with them as YAML: the same key
// twice, for example.
func (p *program) documents(file string) ([][]byte, error) {
	raw, err := p.read(file)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		asJSON, err := sigsyaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		if string(bytes.TrimSpace(asJSON)) != "null" {
			out = append(out, asJSON)
		}
	}
}
