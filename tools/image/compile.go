package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// platforms that an image is built for.
var platforms = []v1.Platform{
	{OS: "linux", Architecture: "amd64"},
	{OS: "linux", Architecture: "arm64"},
}

// source is what an image is built from.
type source struct {
	root, version, revision string
	// platform is the only one to build for; empty: all.
	platform string
}

// wantedPlatforms are those of platforms that are to be built.
func (s source) wantedPlatforms() ([]v1.Platform, error) {
	if s.platform == "" {
		return platforms, nil
	}
	for _, one := range platforms {
		if one.String() == s.platform {
			return []v1.Platform{one}, nil
		}
	}
	return nil, fmt.Errorf("there is no image for platform %q; there is one for each of %v", s.platform, platforms)
}

// plugins are the names of the bundled plugins.
func (s source) plugins() ([]string, error) {
	mains, err := filepath.Glob(filepath.Join(s.root, "plugins/*/main.go"))
	if err != nil || len(mains) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s has no plugins/*/main.go: name the root of the repository", s.root))
	}
	names := make([]string, len(mains))
	for i, main := range mains {
		names[i] = filepath.Base(filepath.Dir(main))
	}
	return names, nil
}

// compile builds the controller and the plugins as static binaries into dir, each
// named like its folder. Neither the directory of the source nor the state of the
// repository gets into them.
func (s source) compile(ctx context.Context, platform v1.Platform, dir string) error {
	plugins, err := s.plugins()
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version=" + s.version,
		"-o", dir + string(filepath.Separator), "./cmd/controller"}
	for _, name := range plugins {
		args = append(args, "./plugins/"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, os.Stderr, os.Stderr
	// GOFLAGS and the like of whoever builds must not get in.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GODEBUG=",
		"GOOS="+platform.OS, "GOARCH="+platform.Architecture, "GOAMD64=v1", "GOARM64=v8.0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compiling for %s: %w", platform, err)
	}
	return nil
}
