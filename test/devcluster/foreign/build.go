package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/version"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// progressEvery is how often a running build says that it is still running.
const progressEvery = 10 * time.Second

// Build returns the paths of the programs' binaries, in the order asked for,
// building what is not in the cache yet. A build of minutes says on log what it
// is at; nothing is said when everything is there. Several processes may build
// the same program at once: one does, the others wait.
func Build(ctx context.Context, log io.Writer, programs ...*Program) ([]string, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	var missing []*builder
	paths := make([]string, len(programs))
	for i, p := range programs {
		b, err := newBuilder(ctx, p, root, cache, log)
		if err != nil {
			return nil, fmt.Errorf("building %s: %w", p.Name, err)
		}
		paths[i] = b.path
		if !b.cached() {
			missing = append(missing, b)
		}
	}
	for i, b := range missing {
		b.label = fmt.Sprintf("building %s (%d of %d)", b.program.Name, i+1, len(missing))
		if err := b.run(ctx); err != nil {
			return nil, fmt.Errorf("building %s: %w", b.program.Name, err)
		}
	}
	return paths, nil
}

// builder builds one program into one place of the cache.
type builder struct {
	program *Program
	label   string
	module  string // folder of the program's module
	path    string // where the binary belongs
	goTool  goTool
	log     io.Writer
}

func newBuilder(ctx context.Context, p *Program, root, cache string, log io.Writer) (*builder, error) {
	module := filepath.Join(root, p.dir)
	tool, err := findGo(ctx, module)
	if err != nil {
		return nil, err
	}
	if err := tool.check(module); err != nil {
		return nil, err
	}
	key, err := p.key(root, tool)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cache, p.file, key, p.file)
	return &builder{program: p, module: module, path: path, goTool: tool, log: log}, nil
}

// run builds unless somebody else does so first.
func (b *builder) run(ctx context.Context) error {
	started := time.Now()
	shelf := filepath.Dir(filepath.Dir(b.path))
	unlock, err := lock(ctx, filepath.Join(shelf, "lock"), func() {
		_, _ = fmt.Fprintf(b.log, "%s: waiting for another process that builds it\n", b.label)
	})
	if err != nil {
		return err
	}
	defer unlock()
	if b.cached() {
		return nil
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(b.log, "%s: done in %s\n", b.label, time.Since(started).Round(time.Second))
	return prune(shelf, filepath.Dir(b.path))
}

func (b *builder) build(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(b.path), 0o755); err != nil {
		return err
	}
	args, err := b.args(ctx)
	if err != nil {
		return err
	}
	unfinished := b.path + ".unfinished"
	defer func() { _ = os.Remove(unfinished) }()
	stop := b.showProgress()
	_, err = b.goTool.output(ctx, b.module, append([]string{"build", "-o", unfinished}, args...)...)
	stop()
	if err != nil {
		return err
	}
	return os.Rename(unfinished, b.path)
}

func (b *builder) args(ctx context.Context) ([]string, error) {
	flags := "-s -w"
	if b.program.stamps != nil {
		out, err := b.goTool.output(ctx, b.module, "list", "-m", "-f", "{{.Version}}", b.program.stampOf)
		if err != nil {
			return nil, err
		}
		for _, stamp := range b.program.stamps(strings.TrimSpace(out)) {
			flags += " -X " + stamp
		}
	}
	args := []string{"-buildvcs=false", "-ldflags", flags}
	if b.program.tags != "" {
		args = append(args, "-tags", b.program.tags)
	}
	return append(args, b.program.pkg), nil
}

// showProgress writes a line now and then until the returned function is called.
func (b *builder) showProgress() (stop func()) {
	_, _ = fmt.Fprintf(b.log, "%s; from nothing it takes about %s on two cores\n", b.label, b.program.expected)
	done, finished := make(chan struct{}), make(chan struct{})
	started := time.Now()
	go func() {
		defer close(finished)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_, _ = fmt.Fprintf(b.log, "%s … %s\n", b.label, time.Since(started).Round(time.Second))
			}
		}
	}()
	return func() {
		close(done)
		<-finished
	}
}

// goTool is the go command as it is for one module: which release it is depends
// on the module when toolchains are switched automatically.
type goTool struct {
	path    string
	release string // for example go1.26.8
	target  string // GOOS, GOARCH and instruction set
}

func findGo(ctx context.Context, module string) (goTool, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return goTool{}, errors.New("the go command is not in PATH; install Go (the release is in go.mod)")
	}
	t := goTool{path: path}
	out, err := t.output(ctx, module, "env", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64")
	if err != nil {
		return goTool{}, err
	}
	t.release, t.target, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return t, nil
}

// check reports in plain words when the module wants a newer Go.
func (t goTool) check(module string) error {
	file := filepath.Join(module, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		want, ok := strings.CutPrefix(strings.TrimSpace(line), "go ")
		if ok && version.Compare(t.release, "go"+want) < 0 {
			return fmt.Errorf("%s needs Go %s or newer, this is %s; install it, or set GOTOOLCHAIN=auto to let the go command fetch it", file, want, t.release)
		}
	}
	return nil
}

// output runs the go command in a module and returns what it prints; an error
// carries the end of its messages.
func (t goTool) output(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Dir = dir
	cmd.Env = buildEnv(os.Environ())
	// Interrupted rather than killed, the go command removes its temporary files.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, tail(stderr.String(), 30))
	}
	return stdout.String(), nil
}

// buildEnv makes builds independent of what the caller builds: its GOFLAGS may
// name modes and tags that do not fit these modules. Only a limit of parallel
// jobs (-p=N) is kept.
func buildEnv(env []string) []string {
	var kept []string
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, value, _ := strings.Cut(e, "=")
		if name == "GOFLAGS" {
			for _, flag := range strings.Fields(value) {
				if strings.HasPrefix(flag, "-p=") {
					kept = append(kept, flag)
				}
			}
		}
		return slices.Contains([]string{"GOFLAGS", "GOWORK", "GOOS", "GOARCH", "CGO_ENABLED"}, name)
	})
	return append(env, "GOFLAGS="+strings.Join(kept, " "), "GOWORK=off", "CGO_ENABLED=0")
}

// tail returns the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
