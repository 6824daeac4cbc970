package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// wanted is what others than this program say about the image.
type wanted struct {
	user    string   // uid:gid of the Deployment
	plugins []string // paths of executables
	data    []string // paths of all other files
	version string
}

func (w *wanted) executables() []string { return append([]string{entrypoint}, w.plugins...) }

var (
	roleOfPlugin = regexp.MustCompile(`(?m)^  name: sluice-plugin-(\S+)$`)
	atLocation   = regexp.MustCompile(`file://(/\S+)`)
)

// wantedBy reads the Deployment (its user, and where it looks for plugins), the roles
// of plugins, the ConfigMap's file:// locations, and the folders of plugins.
func wantedBy(src source) (*wanted, error) {
	w := &wanted{version: src.version, data: []string{"/etc/group", "/etc/passwd", roots}}
	var d deployment
	if err := readManifest(filepath.Join(src.root, "deploy/base/deployment.yaml"), &d); err != nil {
		return nil, err
	}
	pod := d.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		return nil, fmt.Errorf("deploy/base/deployment.yaml: has %d containers, not one", len(pod.Containers))
	}
	w.user = fmt.Sprintf("%d:%d", pod.SecurityContext.RunAsUser, pod.SecurityContext.RunAsGroup)
	dir := ""
	for _, arg := range pod.Containers[0].Args {
		if at, ok := strings.CutPrefix(arg, "--plugin-dir="); ok {
			dir = at
		}
	}
	if dir == "" {
		return nil, errors.New("deploy/base/deployment.yaml: args has no --plugin-dir")
	}
	if command := pod.Containers[0].Command; len(command) > 0 && command[0] != entrypoint {
		return nil, fmt.Errorf("deploy/base/deployment.yaml: command is %q, the image has %s", command, entrypoint)
	}
	names, err := src.plugins()
	if err != nil {
		return nil, err
	}
	roles, err := os.ReadFile(filepath.Join(src.root, "deploy/roles/plugins.yaml"))
	if err != nil {
		return nil, err
	}
	for _, match := range roleOfPlugin.FindAllSubmatch(roles, -1) {
		names = append(names, string(match[1]))
	}
	for _, name := range names {
		w.plugins = append(w.plugins, filepath.Join(dir, name))
	}
	var config struct{ Data map[string]string }
	if err := readManifest(filepath.Join(src.root, "deploy/base/config.yaml"), &config); err != nil {
		return nil, err
	}
	for _, text := range config.Data {
		for _, match := range atLocation.FindAllStringSubmatch(text, -1) {
			w.plugins = append(w.plugins, match[1])
		}
	}
	slices.Sort(w.plugins)
	w.plugins = slices.Compact(w.plugins)
	return w, nil
}

// deployment is what matters here of one.
type deployment struct {
	Spec struct {
		Template struct {
			Spec struct {
				SecurityContext struct {
					RunAsUser  int `yaml:"runAsUser"`
					RunAsGroup int `yaml:"runAsGroup"`
				} `yaml:"securityContext"`
				Containers []struct {
					Command []string
					Args    []string
				}
			}
		}
	}
}

// readManifest decodes the only document of a file.
func readManifest(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: has more than one document", file)
	}
	return nil
}
