package foreign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// rootModule is the first line of the go.mod in the repository's root.
	rootModule = "module github.com/sluice-rollouts/sluice"
	// lockRetry is how often a lock held by another process is tried again.
	lockRetry = 200 * time.Millisecond
	// keepUnused is how long a binary that nobody asks for stays in the cache.
	keepUnused = 14 * 24 * time.Hour
)

// Root returns the folder of Sluice's own module, found by walking up from the
// working directory, which for a test is its package's folder.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			for line := range strings.Lines(string(data)) {
				if strings.TrimSpace(line) == rootModule {
					return dir, nil
				}
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod with %q in %s or a folder above; run inside a checkout of Sluice", rootModule, start)
		}
	}
}

// cacheDir returns $SLUICE_CACHE or its default.
func cacheDir() (string, error) {
	if dir := os.Getenv("SLUICE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for built programs: %w; set SLUICE_CACHE", err)
	}
	return filepath.Join(base, "sluice"), nil
}

// key is a digest of all that makes a binary what it is: module files, our own
// sources, the Go release, the target and the flags.
func (p *Program) key(root string, tool goTool) (string, error) {
	files := []string{filepath.Join(p.dir, "go.mod"), filepath.Join(p.dir, "go.sum")}
	for _, dir := range p.sources {
		found, err := goFiles(root, dir)
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	sum := sha256.New()
	stamps := ""
	if p.stamps != nil {
		stamps = strings.Join(p.stamps("?"), " ")
	}
	_, _ = fmt.Fprintf(sum, "%s\n%s\n%s\n%s\n%s\n", tool.release, tool.target, p.pkg, p.tags, stamps)
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n", filepath.ToSlash(file), len(data))
		_, _ = sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// goFiles lists the Go files of a folder that are no tests, relative to root.
// Folders below are packages of their own and are listed by themselves.
func goFiles(root, dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if e.Type().IsRegular() && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found, nil
}

// cached reports whether the binary is there, and marks it as used.
func (b *builder) cached() bool {
	if _, err := os.Stat(b.path); err != nil {
		return false
	}
	now := time.Now()
	// Only pruning looks at the time; a cache that is not ours to write is fine.
	_ = os.Chtimes(filepath.Dir(b.path), now, now)
	return true
}

// prune deletes binaries of the same program that nobody has asked for lately.
func prune(shelf, keep string) error {
	entries, err := os.ReadDir(shelf)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(shelf, e.Name())
		info, err := e.Info()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || !e.IsDir() || dir == keep || time.Since(info.ModTime()) < keepUnused {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// lock takes an exclusive lock that the kernel releases with the process; waiting
// is called once when another process has it.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !told {
			waiting()
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(lockRetry):
		}
	}
}
