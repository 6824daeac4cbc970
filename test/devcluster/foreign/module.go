package foreign

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// ModuleDir returns the folder with the sources of a module that Sluice's own
// module requires, in the version it requires, downloading it if need be. It is
// how tests read upstream's manifests without copies of them in the repository.
func ModuleDir(ctx context.Context, module string) (string, error) {
	return moduleDir(ctx, ".", module)
}

// ModuleDirOf is ModuleDir for a module that a program is built from, in the
// version it is built from.
func ModuleDirOf(ctx context.Context, p *Program, module string) (string, error) {
	return moduleDir(ctx, p.dir, module)
}

func moduleDir(ctx context.Context, dir, module string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	root = filepath.Join(root, dir)
	tool, err := findGo(ctx, root)
	if err != nil {
		return "", err
	}
	if _, err := tool.output(ctx, root, "mod", "download", module); err != nil {
		return "", fmt.Errorf("fetching module %s: %w", module, err)
	}
	out, err := tool.output(ctx, root, "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", fmt.Errorf("finding module %s: %w", module, err)
	}
	return strings.TrimSpace(out), nil
}
