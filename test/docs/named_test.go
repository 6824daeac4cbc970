package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	named    = regexp.MustCompile(`\b((?:Test|Benchmark|Fuzz)[A-Z]\w+|\w+_test\.go)\b`)
)

// What the pages promise is shown by tests that they name: none of them has been renamed or removed since.
func TestEveryTestThatIsNamedExists(t *testing.T) {
	root := Root()
	exists := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		exists[entry.Name()] = true
		for _, match := range declared.FindAllSubmatch(source, -1) {
			exists[string(match[1])] = true
		}
		return nil
	}))
	names := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" || filepath.Base(path) == "write-a-plugin.md" {
			return err // That page has the reader write tests.
		}
		page, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range named.FindAllSubmatch(page, -1) {
			names++
			assert.True(t, exists[string(match[1])], "%s names %s, which does not exist: name the test that shows it now", path, match[1])
		}
		return nil
	}))
	assert.Greater(t, names, 50, "the pages were not read")
}
