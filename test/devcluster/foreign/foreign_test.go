package foreign

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRootIsFoundFromBelow(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "test", "devcluster", "foreign")); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if _, err := Root(); err == nil || !strings.Contains(err.Error(), "checkout of Sluice") {
		t.Errorf("outside of a checkout: %v, want an error that says so", err)
	}
}

func TestBuildEnvDropsTheCallersModes(t *testing.T) {
	got := buildEnv([]string{"A=1", "GOFLAGS=-mod=vendor -p=2 -race", "GOWORK=/x/go.work", "GOOS=plan9", "CGO_ENABLED=1"})
	want := []string{"A=1", "GOFLAGS=-p=2", "GOWORK=off", "CGO_ENABLED=0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTooOldGoIsNamedWithTheCure(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module x\n\ngo 1.26.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for release, ok := range map[string]bool{"go1.25.9": false, "go1.26.6": false, "go1.26.7": true, "go1.27.0": true} {
		err := goTool{release: release}.check(dir)
		if ok != (err == nil) {
			t.Errorf("%s: %v", release, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "needs Go 1.26.7") || !strings.Contains(err.Error(), "GOTOOLCHAIN=auto")) {
			t.Errorf("%s: error %q does not say what is needed", release, err)
		}
	}
}

func TestKeyFollowsWhatGoesIntoABinary(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("m/go.mod", "module m")
	write("m/go.sum", "")
	write("m/main.go", "package main")
	p := &Program{dir: "m", sources: []string{"m"}, pkg: "."}
	tool := goTool{release: "go1.26.8", target: "linux amd64"}
	key := func() string {
		t.Helper()
		k, err := p.key(root, tool)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}

	first := key()
	write("m/main_test.go", "package main")
	write("m/README.md", "text")
	if key() != first {
		t.Error("a test or a text changes the key")
	}
	changes := map[string]func(){
		"source":  func() { write("m/main.go", "package main // changed") },
		"new":     func() { write("m/other.go", "package main") },
		"go.sum":  func() { write("m/go.sum", "x") },
		"release": func() { tool.release = "go1.26.9" },
		"tags":    func() { p.tags = "a" },
		"stamps":  func() { p.stamps = func(v string) []string { return []string{"v=" + v} } },
	}
	seen := map[string]string{first: "nothing"}
	for what, change := range changes {
		change()
		if before, dup := seen[key()]; dup {
			t.Errorf("the key after changing %s is that after changing %s", what, before)
		}
		seen[key()] = what
	}
}

func TestBuildersOfTheSameProgramTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shelf", "lock")
	unlock, err := lock(t.Context(), path, func() { t.Error("the first one waits") })
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	second := make(chan error)
	go func() {
		unlock, err := lock(t.Context(), path, func() { close(waiting) })
		if err == nil {
			unlock()
		}
		second <- err
	}()
	<-waiting
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lock(ctx, path, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait returns %v", err)
	}
	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestSecondBuildIsALookup(t *testing.T) {
	t.Setenv("SLUICE_CACHE", t.TempDir())
	var log bytes.Buffer
	first, err := Build(t.Context(), &log, Supervisor)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "building cluster supervisor (1 of 1): done") {
		t.Errorf("the build says %q", log.String())
	}
	log.Reset()
	// A caller's flags that do not fit change nothing.
	t.Setenv("GOFLAGS", "-mod=vendor")
	second, err := Build(t.Context(), &log, Supervisor)
	if err != nil || first[0] != second[0] {
		t.Errorf("built %q, then %q (%v)", first, second, err)
	}
	if log.Len() > 0 {
		t.Errorf("a lookup says %q", log.String())
	}
}

func TestFailedBuildLeavesNothingAndSaysWhy(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("SLUICE_CACHE", cache)
	broken := &Program{Name: "broken", file: "broken", dir: ".", pkg: "./test/no-such-package", expected: time.Second}
	_, err := Build(t.Context(), &bytes.Buffer{}, broken)
	if err == nil || !strings.Contains(err.Error(), "building broken") || !strings.Contains(err.Error(), "no-such-package") {
		t.Errorf("got %v", err)
	}
	found, globErr := filepath.Glob(filepath.Join(cache, "broken", "*", "*"))
	if globErr != nil || len(found) > 0 {
		t.Errorf("left behind: %q, %v", found, globErr)
	}
}

func TestPruneKeepsWhatIsUsed(t *testing.T) {
	shelf := t.TempDir()
	long := time.Now().Add(-2 * keepUnused)
	for name, used := range map[string]time.Time{"old": long, "recent": time.Now(), "current": long} {
		dir := filepath.Join(shelf, name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chtimes(dir, used, used)); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(shelf, filepath.Join(shelf, "current")); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(shelf, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "current" || filepath.Base(left[1]) != "recent" {
		t.Errorf("left: %q, %v", left, err)
	}
}
