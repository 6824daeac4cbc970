package sim_test

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

// docs/safety.md says which test checks which promise. Every test, story and
// exhibit that it names exists, and every promise has one.
func TestThePageAboutSafetyIsTrue(t *testing.T) {
	const root = "../../.."
	raw, err := os.ReadFile(filepath.Join(root, "docs", "safety.md"))
	require.NoError(t, err)
	page := string(raw)

	found := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"core", "plugins", "test"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range function.FindAllStringSubmatch(string(source), -1) {
				found[m[1]] = true
			}
			return err
		}))
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(page, -1) {
		assert.True(t, found[m[1]], "docs/safety.md names the test %s, which does not exist", m[1])
	}
	for _, m := range regexp.MustCompile(`\*story:([\w-]+)\*`).FindAllStringSubmatch(page, -1) {
		assert.FileExists(t, filepath.Join("testdata", m[1]+".golden"))
	}
	exhibits := map[string]bool{}
	for _, e := range museum {
		exhibits[e.issue] = true
	}
	for _, m := range regexp.MustCompile(`AR#\d+( subsets)?`).FindAllString(page, -1) {
		assert.True(t, exhibits[m], "docs/safety.md names the mutant %s, which does not exist", m)
	}

	rows := 0
	for _, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(line, "| V") {
			rows++
			assert.Regexp(t, "`Test", line, "a promise without a test")
		}
	}
	assert.Equal(t, 15, rows)
}
