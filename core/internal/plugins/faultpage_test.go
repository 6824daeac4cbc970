package plugins

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "play every fault in the host's own time and write docs/faults.md anew; takes minutes")

const faultPagePath = "../../../docs/faults.md"

// inWords says what a fault of the evil plugin is.
var inWords = map[string]string{
	"exit":            "the process exits with an error",
	"exit-well":       "the process exits without one",
	"panic":           "another goroutine panics",
	"panic-here":      "the call panics",
	"segv":            "a segmentation fault",
	"abort":           "SIGABRT",
	"kill":            "SIGKILL",
	"stop":            "SIGSTOP: the process stands still",
	"stop-group":      "SIGSTOP for its whole process group",
	"hang":            "the call never returns",
	"deadlock":        "the call waits for itself",
	"spin":            "a loop without end",
	"spin-everywhere": "loops without end on more threads than there are cores",
	"stack":           "endless recursion",
	"memory":          "2 GiB at once",
	"memory-slowly":   "all the memory there is, 64 MiB at a time",
	"files":           "every file descriptor it can get",
	"goroutines":      "100,000 goroutines that never end",
	"stderr":          "stderr without end",
	"stdout":          "stdout without end",
	"stderr-bytes":    "64 MB on stderr without a newline",
	"bad-log":         "log lines of the wrong types",
	"forged-log":      "log lines that look like the controller's",
	"terminal-log":    "control characters and bytes that are no text in the log",
	"close-stderr":    "closes stderr",
	"close-stdout":    "closes stdout",
	"children":        "children that hold its output open",
	"child-session":   "a child in a session of its own",
	"zombies":         "children nobody waits for",
	"close-sockets":   "closes its sockets and hangs",
	"unlink-socket":   "deletes its socket's file",
	"unlink-all":      "deletes everything in its folder",
	"squat":           "puts another socket in place of its own",
	"fill-directory":  "1,000 files in its folder",
	"deaf-to-signals": "ignores every signal it can",
	"limits":          "lets itself open no more files",
	"own-group":       "joins the controller's process group and stands still",
	"traced":          "asks the controller to be its debugger and stands still",
	"nice":            "asks for the highest priority",
	"parent":          "signals the controller",
	"trace-parent":    "attaches to the controller as a debugger",
}

// faultPage collects what docs/faults.md tells.
type faultPage struct {
	mu       sync.Mutex
	outcomes map[string]outcome
}

func at(fault string, kind kindOfCall, m moment) string {
	return fault + "/" + kind.name + "/" + m.name
}

func (f *faultPage) add(fault string, kind kindOfCall, m moment, o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcomes[at(fault, kind, m)] = o
}

func (f *faultPage) page(faults []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What a misbehaving plugin costs

A test plugin does %d things no plugin should, each in a process of its own beside a healthy neighbour: in a call, while
nobody asks it, in Configure and in Close, ordered through each kind of plugin. In every case the controller went on, the
neighbour answered all along, from the same process, and no plugin process, zombie, open file or folder was left.

- **A process that ends** costs the call that was running. Another one answers a second later.
- **A process that stands still** is noticed when a call to it runs into its deadline, or else by the health check, and is
  killed and replaced.
- **A call that never returns** costs that call alone: the process answers others. After five such calls in a row the
  plugin is left alone for a moment, and then replaced. A loop without end takes processor time until that.
- **What is only rude** (floods of output, forged logs, files, signals, children) changes nothing.

| slowest of all | noticed | killed after that | answers again after that |
|---|---|---|---|
`, len(faults))
	for _, m := range moments[:3] {
		o := f.slowest(faults, m)
		fmt.Fprintf(&b, "| %s | %s s | %s s | %s s |\n", m.name, seconds(o.noticed), seconds(o.killed), seconds(o.back))
	}
	fmt.Fprint(&b, `
The host ran with the durations it has in production: a call to a traffic router has 5 s, to a metric provider 60 s, to a
step 10 s; Configure has 15 s; a health check comes every 9 s and has 2 s. The run fails when a fault is noticed later than
the deadline of the call (12 s while idle), a process is killed more than 2 s after that, or the plugin is not back 10 s
after that or after its settings are corrected; a second is added for the machine.

Measured and written by `+"`SLUICE_E2E=1 go test -count=1 -run EveryFault -parallel 12 ./core/internal/plugins -args -update`"+`
in four minutes, twelve faults at once on two cores. `+"`make e2e`"+` plays all of it with shorter deadlines, `+"`make test`"+` some of it.

How to read a cell, in seconds:
- **noticed / killed / back**: when the caller or the health check knew; how much later the process was gone; how much later
  than noticed another process answered.
- **noticed, stays**: the call failed, and the same process answered the next one.
- **harmless**: the call was answered, or two health checks were, and so was the next call.
- while configuring, **refused / back**: when the start was given up; how long after the correction it answered.
- at shutdown: when the controller was done with it.
`)
	for _, kind := range kinds {
		fmt.Fprintf(&b, "\n## Ordered by a call to a %s\n\n| fault | what it does | in a call | idle | while configuring | at shutdown |\n|---|---|---|---|---|---|\n", kind.name)
		for _, fault := range faults {
			fmt.Fprintf(&b, "| %s | %s |", fault, inWords[fault])
			for _, m := range moments {
				fmt.Fprintf(&b, " %s |", cell(m, f.outcomes[at(fault, kind, m)]))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// slowest is the longest of everything at a moment.
func (f *faultPage) slowest(faults []string, m moment) (most outcome) {
	for _, fault := range faults {
		for _, kind := range kinds {
			o := f.outcomes[at(fault, kind, m)]
			most.noticed, most.killed, most.back = max(most.noticed, o.noticed), max(most.killed, o.killed), max(most.back, o.back)
		}
	}
	return most
}

func cell(m moment, o outcome) string {
	switch {
	case m.name == "at shutdown":
		return seconds(o.noticed)
	case m.name == "while configuring" && o.failed:
		return seconds(o.noticed) + " / " + seconds(o.back)
	case o.replaced:
		return seconds(o.noticed) + " / " + seconds(o.killed) + " / " + seconds(o.back)
	case o.failed:
		return seconds(o.noticed) + ", stays"
	}
	return "harmless"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }

// The page has what the plugin can do, all of it and nothing else, at every moment.
func TestThePageHasEveryFault(t *testing.T) {
	if *update {
		t.Skip("the page is written by this run")
	}
	page, err := os.ReadFile(faultPagePath)
	require.NoError(t, err)
	faults := everyFault(t)
	assert.Contains(t, string(page), fmt.Sprintf("does %d things", len(faults)))
	figure := regexp.MustCompile(`^(harmless|\d+\.\d(, stays| / \d+\.\d( / \d+\.\d)?)?)$`)
	sections := strings.Split(string(page), "\n## ")[1:]
	require.Len(t, sections, len(kinds))
	for i, section := range sections {
		assert.True(t, strings.HasPrefix(section, "Ordered by a call to a "+kinds[i].name+"\n"), "%.40s", section)
		var rows []string
		for line := range strings.Lines(section) {
			cells := strings.Split(strings.TrimSpace(line), " | ")
			if !strings.HasPrefix(line, "| ") || cells[0] == "| fault" {
				continue
			}
			fault := strings.TrimPrefix(cells[0], "| ")
			rows = append(rows, fault)
			require.Len(t, cells, 2+len(moments), line)
			assert.Equal(t, inWords[fault], cells[1], fault)
			assert.NotEmpty(t, cells[1], fault)
			for j, c := range cells[2:] {
				assert.Regexp(t, figure, strings.TrimSuffix(c, " |"), "%s %s", fault, moments[j].name)
			}
		}
		assert.Equal(t, faults, rows, "rows of %s: play them with -update", kinds[i].name)
	}
}
