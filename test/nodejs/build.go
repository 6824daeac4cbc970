// Package nodejs builds the plugins of examples/plugin-nodejs for tests.
package nodejs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildTimeout bounds npm, which waits for a registry that does not answer.
const buildTimeout = 5 * time.Minute

// Plugin returns the executable of a plugin, trafficrouter or metricprovider, built from examples/plugin-nodejs with what
// its lock file says, and kept in the cache of foreign programs. It skips the test unless SLUICE_E2E is set, and where
// SLUICE_NODEJS is 0. Without node and npm it skips as well, and says so, unless SLUICE_NODEJS is 1.
func Plugin(t testing.TB, name string) string {
	t.Helper()
	wanted := os.Getenv("SLUICE_NODEJS")
	switch {
	case os.Getenv("SLUICE_E2E") == "":
		t.Skip("the plugins in Node.js are tested with SLUICE_E2E=1")
	case wanted == "0":
		t.Skip("left out by NODEJS=0")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			const text = "%s is missing: install Node.js 18 or newer with npm (Debian: apt-get install nodejs npm)"
			if wanted == "1" {
				t.Fatalf(text, tool)
			}
			t.Skipf("NOT TESTED, plugins in Node.js: "+text, tool)
		}
	}
	dir, err := build(t.Context())
	if err != nil {
		t.Fatalf("building the plugins in Node.js: %v", err)
	}

	return filepath.Join(dir, name)
}

// Fixture returns the path of a plugin's fixture.
func Fixture(name string) string { return filepath.Join(example(), name+".fixture.yaml") }

func root() string {
	_, file, _, _ := runtime.Caller(0)

	return filepath.Join(filepath.Dir(file), "..", "..")
}

func example() string { return filepath.Join(root(), "examples", "plugin-nodejs") }

// build returns the folder with the executables. Packages that are tested at once wait for each other.
func build(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	sum, err := digest(ctx)
	if err != nil {
		return "", err
	}
	done := filepath.Join(cache, sum)
	if _, err := os.Stat(done); err == nil {
		return done, nil
	}
	work := filepath.Join(cache, "work")
	if err := os.RemoveAll(work); err != nil {
		return "", err
	}
	if err := copySources(work); err != nil {
		return "", err
	}
	// Scripts of packages are not run: none is needed, and none was read.
	if err := tool(ctx, work, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return "", err
	}
	out := filepath.Join(work, "out")
	env := []string{"SLUICE_PROTO=" + filepath.Join(root(), "sdk", "proto"), "SLUICE_OUT=" + out}
	if err := tool(ctx, work, env, "npm", "run", "build"); err != nil {
		return "", err
	}

	return done, os.Rename(out, done)
}

func tool(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}

	return nil
}

func cacheDir() (string, error) {
	cache := os.Getenv("SLUICE_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "sluice")
	}
	cache = filepath.Join(cache, "nodejs")

	return cache, os.MkdirAll(cache, 0o755)
}

// sources are the files a build is made of, relative to the example.
func sources() ([]string, error) {
	src, err := filepath.Glob(filepath.Join(example(), "src", "*"))
	if err != nil {
		return nil, err
	}
	files := []string{"package.json", "package-lock.json", "build.mjs"}
	for _, file := range src {
		files = append(files, filepath.Join("src", filepath.Base(file)))
	}

	return files, nil
}

func copySources(to string) error {
	files, err := sources()
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(example(), file))
		if err != nil {
			return err
		}
		target := filepath.Join(to, file)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, raw, 0o600); err != nil {
			return err
		}
	}

	return nil
}

// digest is over everything a build is made of: sources, contract and the version of node.
func digest(ctx context.Context) (string, error) {
	version, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node --version: %w", err)
	}
	files, err := sources()
	if err != nil {
		return "", err
	}
	for i := range files {
		files[i] = filepath.Join(example(), files[i])
	}
	err = filepath.WalkDir(filepath.Join(root(), "sdk", "proto"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".proto") {
			files = append(files, path)
		}

		return err
	})
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write(version)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", filepath.Base(file), len(raw))
		sum.Write(raw)
	}

	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}
