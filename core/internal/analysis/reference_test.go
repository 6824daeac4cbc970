package analysis

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// reference is a second opinion, written from the inventory (§4.4, §4.5) and
// not from assess.go: the verdict on one metric after each letter of its
// history (S F I E), "" while there is none.
func reference(history string, fails, doubts, errorsInRow, successesInRow, count int) (letter string, used int) {
	n := map[byte]int{}
	streakE, streakS, counted := 0, 0, 0
	for i := range len(history) {
		c := history[i]
		n[c]++
		if c != 'E' {
			counted++
			streakE = 0
		} else {
			streakE++
		}
		if c == 'S' {
			streakS++
		} else {
			streakS = 0
		}
		verdict := ""
		if fails >= 0 && n['F'] > fails {
			verdict = "F"
		}
		if n['I'] > doubts {
			verdict = "I"
		}
		if streakE > errorsInRow {
			verdict = "E"
		}
		if verdict != "" {
			return verdict, i + 1
		}
		if successesInRow > 0 && streakS >= successesInRow {
			return "S", i + 1
		}
		if count > 0 && counted >= count {
			switch {
			case successesInRow > 0 && fails >= 0:
				return "I", i + 1
			case successesInRow > 0:
				return "F", i + 1
			}
			return "S", i + 1
		}
	}
	return "", len(history)
}

// worst is the reference for the run: the worst metric that counts.
func worst(letters []string, dry []bool) string {
	rank := map[string]int{"S": 1, "I": 2, "E": 3, "F": 4}
	w := "S"
	for i, l := range letters {
		if !dry[i] && rank[l] > rank[w] {
			w = l
		}
	}
	return w
}

var phaseOf = map[string]v1alpha1.AnalysisPhase{"S": successful, "F": failed, "I": inconclusive, "E": errored}

// answerOf makes the provider say what the letter stands for.
func answerOf(letter byte) Answer {
	verdicts := map[byte]v1alpha1.AnalysisPhase{'S': successful, 'F': failed, 'I': inconclusive}
	if phase, ok := verdicts[letter]; ok {
		return Answer{Verdict: &Verdict{Phase: phase}}
	}
	return Answer{Err: fmt.Errorf("HTTP 500")}
}

// TestRunsAgreeWithTheReference plays whole runs with random limits, answers,
// missing answers, pending measurements and crashes, and compares with the
// reference. Answers depend on the measurement's number, as a retaken
// measurement sees the same world.
func TestRunsAgreeWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fails := rapid.IntRange(-1, 3).Draw(t, "failureLimit")
		doubts := rapid.IntRange(0, 2).Draw(t, "inconclusiveLimit")
		errs := rapid.IntRange(0, 3).Draw(t, "consecutiveErrorLimit")
		streak := rapid.IntRange(0, 4).Draw(t, "consecutiveSuccessLimit")
		if fails < 0 {
			streak = max(streak, 1)
		}
		least := max(max(fails, 0)+streak, doubts, 1)
		count := rapid.IntRange(least, least+5).Draw(t, "count")
		history := rapid.StringMatching(`[SFIE]{60}`).Draw(t, "history")
		// The reference needs an end: enough errors in a row.
		history += "EEEEEEEE"

		metric := errorRate(every("10s", count), func(m *v1alpha1.Metric) {
			m.FailureLimit, m.InconclusiveLimit = number(fails), number(doubts)
			m.ConsecutiveErrorLimit, m.ConsecutiveSuccessLimit = number(errs), number(streak)
		})
		run := runOf(metric)
		dry := rapid.Bool().Draw(t, "dryRun")
		if dry {
			run.Spec.DryRun = []v1alpha1.DryRun{{MetricName: "error-rate"}}
		}
		trouble := rapid.SliceOfN(rapid.IntRange(0, 5), 200, 200).Draw(t, "trouble")
		step := 0
		next := func() int { step++; return trouble[step%len(trouble)] }
		p := play(t, run, func(_, id string) (Answer, error) {
			var n int
			_, err := fmt.Sscanf(id, "uid-1.error-rate.%d", &n)
			require.NoError(t, err)
			switch next() {
			case 0:
				return noAnswer("", "")
			case 1:
				return Answer{Pending: &Pending{State: []byte(id), ResumeAfter: 3 * time.Second}}, nil
			}
			return answerOf(history[n-1]), nil
		})
		p.crash = func() bool { return next() == 0 }
		p.toEnd()

		letter, used := reference(history, fails, doubts, errs, streak, count)
		r := p.result("error-rate")
		require.Equal(t, phaseOf[letter], r.Phase, "%s", history[:used])
		require.Equal(t, phaseOf[worst([]string{letter}, []bool{dry})], p.run.Status.Phase)
		require.EqualValues(t, used, r.Count+r.Error, "every measurement is counted once")
		require.EqualValues(t, used, r.Successful+r.Failed+r.Inconclusive+r.Error)
		require.Len(t, p.asked, used, "none is asked for that the verdict does not need")
		require.NotNil(t, p.run.Status.CompletedAt)
	})
}

// TestManyMetricsAgreeWithTheReference: metrics of one run that are all
// measured at the same times end it with the worst verdict among those that
// were reached before the first bad one ended the run.
func TestManyMetricsAgreeWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 4).Draw(t, "count")
		histories := rapid.SliceOfN(rapid.StringMatching(fmt.Sprintf(`[SFI]{%d}`, count)), 1, 5).Draw(t, "histories")
		run := runOf()
		dry := make([]bool, len(histories))
		for i := range histories {
			dry[i] = rapid.Bool().Draw(t, "dry")
			name := fmt.Sprintf("m%d", i)
			run.Spec.Metrics = append(run.Spec.Metrics, errorRate(every("10s", count), called(name)))
			if dry[i] {
				run.Spec.DryRun = append(run.Spec.DryRun, v1alpha1.DryRun{MetricName: name})
			}
		}
		p := play(t, run, func(metric, id string) (Answer, error) {
			var m, n int
			_, err := fmt.Sscanf(id, "uid-1.m%d.%d", &m, &n)
			require.NoError(t, err)
			return answerOf(histories[m][n-1]), nil
		}).toEnd()

		end := count // the round in which the first metric that counts goes bad
		for i, h := range histories {
			if letter, used := reference(h, 0, 0, 4, 0, count); !dry[i] && letter != "S" {
				end = min(end, used)
			}
		}
		letters := make([]string, len(histories))
		for i, h := range histories {
			letters[i], _ = reference(h[:end], 0, 0, 4, 0, count)
			if letters[i] == "" {
				letters[i] = "S" // ended by its siblings
			}
		}
		assert.Equal(t, phaseOf[worst(letters, dry)], p.run.Status.Phase, "%v %v", histories, dry)
		bad := p.run.Status.RunSummary
		assert.EqualValues(t, bad.Count, bad.Successful+bad.Failed+bad.Inconclusive+bad.Error, "every metric is in the summary")
	})
}
