package dataplane

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what was measured into docs/measured.md")

// tolerance is by how many points of 100 a share may differ from its weight.
const tolerance = 3.0

// table is what one data plane was asked for and what clients saw.
type table struct {
	t     testing.TB
	root  string
	name  string // of the section, such as "Gateway API on Traefik"
	rows  []string
	notes []string
}

// share records the share of a version among the requests of a step, and fails
// the test if it is not the weight that was asked for.
func (m *table) share(step string, asked float64, version string, by map[string]int) {
	m.t.Helper()
	var all int
	for _, n := range by {
		all += n
	}
	measured := 100 * float64(by[version]) / float64(all)
	m.rows = append(m.rows, fmt.Sprintf("| %s | %.0f %% | %.1f %% | %d |", step, asked, measured, all))
	assert.LessOrEqual(m.t, math.Abs(measured-asked), tolerance, "%s: %v of %v", step, by, version)
}

// calm records a load that no request of may have failed.
func (m *table) calm(through string, l *load, least float64) {
	m.t.Helper()
	sent, rate, failed := l.end()
	m.notes = append(m.notes, fmt.Sprintf("- %s: %d requests, %.0f a second, **%d failed**.", through, sent, rate, len(failed)))
	assert.Empty(m.t, failed[:min(len(failed), 5)], "%d of %d requests failed", len(failed), sent)
	assert.GreaterOrEqual(m.t, rate, least, "requests a second")
}

// publish logs the table and, with -update, writes it into the docs.
func (m *table) publish() {
	m.t.Helper()
	text := fmt.Sprintf("## %s\n\n| step | asked for | measured | requests |\n|---|---|---|---|\n%s\n", m.name, strings.Join(m.rows, "\n"))
	if len(m.notes) > 0 {
		text += "\n" + strings.Join(m.notes, "\n") + "\n"
	}
	m.t.Log("\n" + text)
	if !*update || m.t.Failed() {
		return
	}
	path := filepath.Join(m.root, "docs", "measured.md")
	raw, err := os.ReadFile(path)
	require.NoError(m.t, err)
	section := regexp.MustCompile(`(?s)## ` + regexp.QuoteMeta(m.name) + `\n.*?(\n## |\z)`)
	old := string(raw)
	if at := section.FindStringIndex(old); at != nil {
		rest := strings.TrimPrefix(old[at[0]:], "## "+m.name)
		if next := strings.Index(rest, "\n## "); next >= 0 {
			text += rest[next:]
		}
		old = old[:at[0]]
	} else if !strings.HasSuffix(old, "\n\n") {
		old += "\n"
	}
	require.NoError(m.t, os.WriteFile(path, []byte(old+text), 0o600))
}
