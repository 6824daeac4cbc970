package view

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

func frame(change ...func(*Frame)) Frame {
	ten := 10.0
	f := Frame{
		Elapsed: 31400 * time.Millisecond, Title: "rolling out v2",
		Phase: "Paused", Message: "CanaryPauseStep",
		Steps: []string{"setWeight 10", "pause 10s", "analysis"}, Step: 1,
		Asked: &ten, Verified: true,
		Shares: []Share{{"v1", 371, 90.05}, {"v2", 41, 9.95}},
		Sets:   []Set{{"v1", 5, 5}, {"v2", 1, 1}},
		Sent:   2143,
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func TestPlainPrintsOneLinePerChange(t *testing.T) {
	var out bytes.Buffer
	v := &View{out: &out}
	v.Note(30*time.Second, "patched the image to %s", "v2")
	v.Show(Frame{Elapsed: 30 * time.Second, Title: "deploying v1"})
	v.Show(frame(func(f *Frame) { f.Asked, f.Shares, f.Message = nil, nil, "" }))
	v.Show(frame())
	// The measurement and the time move; that is no change.
	v.Show(frame(func(f *Frame) { f.Elapsed += time.Second; f.Sent += 200; f.Shares[1].Requests = 60 }))
	v.Show(frame(func(f *Frame) { f.Verified = false }))
	v.Show(frame(func(f *Frame) {
		f.Step, f.Phase = 3, "Degraded"
		f.Message = "RolloutAborted: Rollout aborted update to revision 3: a reason that goes on and on"
		f.Analysis = []Metric{{"error-ratio", "Successful", []string{"0", "0"}}}
	}))
	golden(t, "plain.txt", out.String())
}

func TestScreen(t *testing.T) {
	running := frame(func(f *Frame) {
		f.Analysis = []Metric{{"error-ratio", "Running", []string{"0.01"}}, {"other", "", nil}}
	})
	nothing := Frame{Title: "starting"}
	golden(t, "screen.txt", strings.Join(append(running.screen(), nothing.screen()...), "\n")+"\n")
}

func TestTerminalDrawsOverTheLastFrame(t *testing.T) {
	var out bytes.Buffer
	v := &View{out: &out, width: func() int { return 20 }}
	v.Show(frame())
	lines := strings.Count(out.String(), "\n")
	assert.Equal(t, len(frame().screen()), lines)
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), 20, "a longer line would wrap")
	}
	out.Reset()
	v.Show(frame())
	assert.True(t, strings.HasPrefix(out.String(), "\x1b[9A\r\x1b[J"), "%q", out.String())

	out.Reset()
	v.Print("the end\n")
	v.Note(0, "after it")
	assert.Equal(t, "the end\n   0.0s  after it\n", out.String(), "the last frame stays")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}
