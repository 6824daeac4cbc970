package docs

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "put the template's files into the page")

const (
	routerPage = "write-a-plugin.md"
	template   = "examples/plugin-template/trafficrouter"
)

// The page holds the template's files, so that there is one truth.
func TestThePageShowsTheTemplate(t *testing.T) {
	path := filepath.Join(Root(), "docs", routerPage)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	text := fence.ReplaceAllStringFunc(string(raw), func(block string) string {
		parts := fence.FindStringSubmatch(block)
		file, err := os.ReadFile(filepath.Join(Root(), template, parts[2]))
		if parts[1] != "file" || err != nil {
			return block
		}

		return "<!-- file: " + parts[2] + " -->\n```" + parts[3] + "\n" + string(file) + "```"
	})
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	assert.Equal(t, text, string(raw), "go test ./test/docs -update renews it")
}

// Parts of files that the pages show are in the files.
func TestPartsAreWhatTheyAreTakenFrom(t *testing.T) {
	for _, page := range []string{"write-a-metric-provider.md", "write-a-step.md"} {
		blocks, err := Read(page)
		require.NoError(t, err)
		require.NotEmpty(t, blocks)
		for _, b := range blocks {
			require.Equal(t, "from", b.Kind, "%s:%d", page, b.Line)
			file, err := os.ReadFile(filepath.Join(Root(), b.Name))
			require.NoError(t, err, "%s:%d", page, b.Line)
			assert.Contains(t, string(file), b.Text, "%s:%d: %s has changed", page, b.Line, b.Name)
		}
	}
}

// The page is followed from an empty folder to a plugin that conforms: every file saved, every command run, and what it
// prints compared.
func TestThePageWorks(t *testing.T) {
	blocks, err := Read(routerPage)
	require.NoError(t, err)
	dir := t.TempDir()
	var printed string
	began := time.Now()
	for _, b := range blocks {
		switch b.Kind {
		case "file":
			require.NoError(t, os.WriteFile(filepath.Join(dir, b.Name), []byte(b.Text), 0o600))
		case "run":
			at := time.Now()
			printed = runBlock(t, dir, b)
			t.Logf("line %d: %v", b.Line, time.Since(at).Round(100*time.Millisecond))
		case "prints":
			requirePrinted(t, b, printed)
		default:
			t.Fatalf("%s:%d: %s", routerPage, b.Line, b.Kind)
		}
	}
	t.Logf("all commands: %v", time.Since(began).Round(100*time.Millisecond))
	config, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	require.NoError(t, err)
	assert.NotContains(t, string(config), strings.Repeat("0", 64), "the digest is filled in")
}

func runBlock(t *testing.T, dir string, b Block) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", b.Text)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SLUICE="+Root(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if b.Name == "fails" {
		require.Error(t, err, "line %d:\n%s", b.Line, out)
	} else {
		require.NoError(t, err, "line %d:\n%s", b.Line, out)
	}

	return string(out)
}

// requirePrinted wants the block's lines in what was printed, one after the other but where … is.
func requirePrinted(t *testing.T, b Block, printed string) {
	t.Helper()
	for part := range strings.SplitSeq(b.Text, "…\n") {
		_, rest, found := strings.Cut(printed, part)
		require.True(t, found, "line %d: it does not print\n%s\nbut\n%s", b.Line, part, printed)
		printed = rest
	}
}
