package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// aliases are foreign names bundled plugins answer to as well, so that
// manifests written for Argo Rollouts work unchanged.
var aliases = map[string]string{
	"argoproj-labs/gatewayAPI": "gatewayapi",
}

// retired are routers of Argo Rollouts that no plugin stands in for, with what
// to use instead.
var retired = map[string]string{
	"ambassador": "Use a gateway that serves Gateway API, with trafficRouting.plugins and argoproj-labs/gatewayAPI",
	"appMesh":    "AWS ends App Mesh: use a mesh or gateway that serves Gateway API, with trafficRouting.plugins and argoproj-labs/gatewayAPI, or istio, or alb",
}

// canonical is the name under which the catalog keeps a plugin.
func canonical(name string) string {
	if to, ok := aliases[name]; ok {
		return to
	}
	return name
}

// scanBundled lists the executable files of the directory by name. A directory
// that does not exist holds none.
func scanBundled(dir string) (map[string]string, error) {
	files := map[string]string{}
	if dir == "" {
		return files, nil
	}
	listed, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return files, fmt.Errorf("listing bundled plugins: %w", err)
	}
	for _, f := range listed {
		if strings.HasPrefix(f.Name(), ".") || strings.Contains(f.Name(), "/") || !validName.MatchString(f.Name()) {
			continue
		}
		path, err := filepath.Abs(filepath.Join(dir, f.Name()))
		if err != nil {
			return files, fmt.Errorf("listing bundled plugins: %w", err)
		}
		// Stat follows links: images often link plugins into place.
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			files[f.Name()] = path
		}
	}
	return files, nil
}
