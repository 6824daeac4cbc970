package sim_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/internal/sim"
)

var update = flag.Bool("update", false, "write the golden stories anew")

// TestStories plays every story once and compares it, line by line, with what
// is in testdata; then once for each write of the controller with a restart
// right before that write, and compares where it ends.
func TestStories(t *testing.T) {
	for _, s := range everyStory() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := s.run(0, 0)
			golden(t, s.name, s.about+"\n\n"+w.Story())
			require.NoError(t, w.Err, w.Story())
			for write := 1; write <= w.Writes; write++ {
				again := s.run(write, 0)
				require.NoError(t, again.Err, "restart before write %d of %d\n%s", write, w.Writes, again.Story())
				require.Equal(t, w.EndState(), again.EndState(), "restart before write %d of %d\n%s", write, w.Writes, again.Story())
			}
			for order := int64(1); order <= orders; order++ {
				again := s.run(0, order)
				require.NoError(t, again.Err, "order %d\n%s", order, again.Story())
				require.Equal(t, w.EndState(), again.EndState(), "order %d\n%s", order, again.Story())
			}
		})
	}
}

// orders is how many random orders each story is played in.
const orders = 5

// run plays a story until nothing is left to happen.
func (s story) run(crashBefore int, order int64) *sim.World {
	o := s.options
	o.CrashBefore, o.Order = crashBefore, order
	w := sim.New(o)
	w.Prepare()
	s.play(w)
	w.Rest()
	w.CheckRest()
	return w
}

func golden(t *testing.T, name, have string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(have), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run with -update to write it")
	if string(want) != have {
		t.Errorf("story %s differs from %s:\n%s", name, path, diff(string(want), have))
	}
}

// diff shows the lines that are only on one side, with what is around the first.
func diff(want, have string) string {
	a, b := strings.Split(want, "\n"), strings.Split(have, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			from := max(0, i-3)
			return fmt.Sprintf("line %d\n--- want\n%s\n--- have\n%s", i+1,
				strings.Join(a[from:min(len(a), i+6)], "\n"), strings.Join(b[from:min(len(b), i+6)], "\n"))
		}
	}
	return ""
}
