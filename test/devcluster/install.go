package devcluster

import (
	"context"
	"path/filepath"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// Permissions are the files of deploy/ that say what the controller may do, from
// the repository's root: everywhere, Secrets included. They make its namespace and
// account, sluice and sluice-controller.
var Permissions = []string{
	"deploy/namespace", "deploy/roles", "deploy/bindings", "deploy/base/rbac.yaml", "deploy/components/secrets/binding.yaml",
}

// ApplyPermissions applies the definitions of our kinds and Permissions.
func (c *Cluster) ApplyPermissions(ctx context.Context) error {
	root, err := foreign.Root()
	if err != nil {
		return err
	}
	files := []string{filepath.Join(root, "deploy/crds")}
	for _, file := range Permissions {
		files = append(files, filepath.Join(root, filepath.FromSlash(file)))
	}
	return c.ApplyFiles(ctx, files...)
}
