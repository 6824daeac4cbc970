package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoNginx is returned where nginx with Lua cannot be had.
var ErrNoNginx = errors.New("nginx with Lua cannot be had")

// nginxPackages are what ingress-nginx needs of Debian.
var nginxPackages = []string{
	"nginx-light", "libnginx-mod-http-lua", "libnginx-mod-http-ndk", "libnginx-mod-http-headers-more-filter",
	"libnginx-mod-stream", "lua-resty-core", "lua-resty-lrucache", "lua-cjson",
}

// ErrNoRunc is returned where runc and the CNI plugins cannot be had.
var ErrNoRunc = errors.New("runc and the CNI plugins cannot be had")

// runcPackages are what a real node needs of Debian.
var runcPackages = []string{"runc", "containernetworking-plugins"}

// DebianNginx returns a folder that has, below usr, Debian's nginx with Lua as far as this machine does not have it
// installed. Nothing is installed: packages are unpacked into the cache. An error that is ErrNoNginx names what is missing
// and how to get it.
func DebianNginx(ctx context.Context, log io.Writer) (string, error) {
	return debian(ctx, log, "debian-nginx", "nginx", ErrNoNginx, nginxPackages)
}

// DebianRunc is DebianNginx for runc (usr/sbin) and the CNI plugins (usr/lib/cni); its error is ErrNoRunc.
func DebianRunc(ctx context.Context, log io.Writer) (string, error) {
	return debian(ctx, log, "debian-runc", "runc", ErrNoRunc, runcPackages)
}

// debian unpacks packages into a shelf of the cache, once.
func debian(ctx context.Context, log io.Writer, name, what string, none error, packages []string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	shelf := filepath.Join(cache, name)
	if err := os.MkdirAll(shelf, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(shelf, "lock"), func() {
		_, _ = fmt.Fprintf(log, "waiting for another process that unpacks %s\n", what)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	root := filepath.Join(shelf, "root")
	if _, err := os.Stat(filepath.Join(shelf, "complete")); err == nil {
		return root, nil
	}
	if err := unpack(ctx, shelf, root, packages); err != nil {
		return "", fmt.Errorf("%w: %w: it needs a Debian with the packages %s in its lists (apt-get update), or installed",
			none, err, strings.Join(packages, ", "))
	}

	return root, os.WriteFile(filepath.Join(shelf, "complete"), nil, 0o600)
}

func unpack(ctx context.Context, shelf, root string, packages []string) error {
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(root, "usr", "lib"), 0o755); err != nil {
		return err
	}
	// What an installation would add is what is missing here.
	plan, err := output(ctx, shelf, "apt-get", append([]string{"install", "--simulate", "--no-install-recommends"}, packages...)...)
	if err != nil {
		return err
	}
	var missing []string
	for line := range strings.Lines(plan) {
		if rest, ok := strings.CutPrefix(line, "Inst "); ok {
			missing = append(missing, strings.Fields(rest)[0])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := output(ctx, shelf, "apt-get", append([]string{"download"}, missing...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(shelf, "*.deb"))
	if err != nil {
		return err
	}
	for _, p := range files {
		if _, err := output(ctx, shelf, "dpkg-deb", "-x", p, root); err != nil {
			return err
		}
		if err := os.Remove(p); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(root, "lib")); err != nil {
		return nil
	}
	// /lib is /usr/lib on a Debian that runs, and not yet in every package.
	_, err = output(ctx, root, "cp", "-a", "lib/.", "usr/lib/")

	return err
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}

		return "", fmt.Errorf("%s %s: %w", name, args[0], err)
	}

	return string(out), nil
}
