package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// TestAnExperimentSurvivesACrashAtEveryWrite plays one experiment as often as it
// writes: each time another write is the last thing the controller does, carried
// out or not, and a new process goes on from what is stored. What a person sees
// in the end is always the same, nothing is there twice, and no finished run is
// made again.
func TestAnExperimentSurvivesACrashAtEveryWrite(t *testing.T) {
	story := func(l *lab) {
		l.recover()
		l.verdictOnce("compare-check", v1alpha1.AnalysisPhaseRunning)
		l.recover()
		l.now = l.now.Add(time.Minute)
		l.recover()
		l.verdictOnce("compare-check", v1alpha1.AnalysisPhaseSuccessful)
		l.recover()
		l.now = l.now.Add(31 * time.Second)
		l.recover()
	}
	manifests := []string{errorsTemplate, compare("duration: 60s" + analysed)}
	clean := newLab(t, manifests...)
	story(clean)
	want, writes := clean.picture(), clean.writes
	require.Greater(t, writes, 15)
	crashes := 0
	for _, kind := range []error{errLost, errRefused} {
		for at := 1 + 2; at <= writes; at++ { // the first two are the lab's own
			l := newLab(t, manifests...)
			struck := false
			l.fault = func(n int) error {
				if n == at && !struck {
					struck = true
					return kind
				}
				return nil
			}
			story(l)
			require.True(t, struck, "write %d", at)
			crashes++
			name := fmt.Sprintf("%v at write %d of %d", kind, at, writes)
			assert.Equal(t, want, l.picture(), name)
			assert.Len(t, l.runs(), 1, name)
			assert.Len(t, l.sets(), 2, name)
		}
	}
	t.Logf("%d crashes", crashes)
}

// recover goes on until there is rest, with a new process after each fault.
func (l *lab) recover() {
	l.t.Helper()
	for range 60 {
		before := l.writes
		armed := l.fault
		struck := false
		if armed != nil {
			l.fault = func(n int) error {
				err := armed(n)
				if struck {
					return errRefused // nothing is written after the crash
				}
				struck = err != nil
				return err
			}
		}
		l.pass()
		l.fault = armed
		if struck {
			l.restart()
			continue
		}
		if moved := l.pods(); l.writes == before && !moved {
			return
		}
	}
	require.FailNow(l.t, "no rest", "%+v", l.experiment().Status)
}

// verdictOnce is the AnalysisRun controller.
func (l *lab) verdictOnce(name string, phase v1alpha1.AnalysisPhase) {
	l.t.Helper()
	fault := l.fault
	l.fault = nil
	l.verdict(name, phase, "")
	l.fault = fault
}
