package stage

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// PeakMemory is the most the controller's process has held so far, in bytes
// (VmHWM), without its plugins.
func (c *Controller) PeakMemory(t testing.TB) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.PID()))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	require.FailNow(t, "the process does not say how much it holds")
	return 0
}
