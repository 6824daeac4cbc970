package measure

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

const second = time.Second

// steady returns 200 requests a second from one time to another, of which every
// n-th is answered by the revision and the others by "old".
func steady(from, to time.Duration, revision string, n int) []Request {
	var requests []Request
	for at := from; at < to; at += 5 * time.Millisecond {
		q := Request{Start: at, Revision: "old"}
		if n > 0 && len(requests)%n == n-1 {
			q.Revision = revision
		}
		requests = append(requests, q)
	}
	return requests
}

func TestRowsMeasureInsideTheWindowOnly(t *testing.T) {
	splits := []Split{
		{At: 0, Revision: "new", Asked: 0, Verified: true},
		{At: 10 * second, Revision: "new", Asked: 10},
		{At: 11 * second, Revision: "new", Asked: 10, Verified: true},
		{At: 22 * second, Revision: "new", Asked: 50},
		{At: 23 * second, Revision: "new", Asked: 50, Verified: true},
	}
	var requests []Request
	// All of the unverified and settling time goes to the wrong revision.
	requests = append(requests, steady(10*second, 12*second, "new", 1)...)
	requests = append(requests, steady(12*second, 22*second-DefaultBars.Guard, "new", 10)...)
	requests = append(requests, steady(22*second-DefaultBars.Guard, 24*second, "new", 1)...)
	requests = append(requests, steady(24*second, 30*second, "new", 2)...)

	rows := Rows(splits, requests, "new", 30*second, DefaultBars)
	assert.Equal(t, []Row{
		{Asked: 10, Requests: 1980, Hits: 198, Window: 9900 * time.Millisecond},
		{Asked: 50, Requests: 1200, Hits: 600, Window: 6 * second},
	}, rows)
	for _, row := range rows {
		assert.True(t, row.OK(DefaultBars), "%+v", row)
	}
}

func TestRowsKeepAWeightThatIsWrittenAgain(t *testing.T) {
	splits := []Split{
		{At: 0, Revision: "new", Asked: 100, Verified: true},
		{At: 5 * second, Revision: "new", Asked: 100},
		{At: 6 * second, Revision: "new", Asked: 100, Verified: true},
	}
	rows := Rows(splits, steady(0, 10*second, "new", 1), "new", 10*second, DefaultBars)
	require.Len(t, rows, 1)
	assert.Equal(t, 3900*time.Millisecond+3*second, rows[0].Window)
	assert.Equal(t, rows[0].Requests, rows[0].Hits)
}

func TestRowsOfAnotherRevisionDoNotCount(t *testing.T) {
	splits := []Split{
		{At: 0, Revision: "v2", Asked: 100, Verified: true},
		{At: 5 * second, Revision: "v3", Asked: 0, Verified: true},
		{At: 6 * second, Revision: "v3", Asked: 10, Verified: true},
	}
	rows := Rows(splits, nil, "v3", 7*second, DefaultBars)
	require.Len(t, rows, 1)
	assert.InDelta(t, 10, rows[0].Asked, 0)
}

func TestAWeightThatIsNeverVerifiedIsARowThatFails(t *testing.T) {
	rows := Rows([]Split{{At: 0, Revision: "new", Asked: 10}}, steady(0, 60*second, "new", 10), "new", 60*second, DefaultBars)
	require.Len(t, rows, 1)
	assert.Zero(t, rows[0].Requests)
	assert.False(t, rows[0].OK(DefaultBars))
}

func TestAWindowShorterThanItsSettlingIsEmpty(t *testing.T) {
	splits := []Split{
		{At: 0, Revision: "new", Asked: 10, Verified: true},
		{At: second, Revision: "new", Asked: 20, Verified: true},
	}
	rows := Rows(splits, steady(0, 2*second, "new", 10), "new", 2*second, DefaultBars)
	assert.Equal(t, []Row{{Asked: 10}, {Asked: 20}}, rows)
}

func TestRowBars(t *testing.T) {
	cases := map[string]struct {
		row Row
		ok  bool
	}{
		"exact":            {Row{Asked: 10, Requests: 1000, Hits: 100}, true},
		"three points up":  {Row{Asked: 10, Requests: 1000, Hits: 130}, true},
		"more than three":  {Row{Asked: 10, Requests: 1000, Hits: 131}, false},
		"three points low": {Row{Asked: 10, Requests: 1000, Hits: 70}, true},
		"less than three":  {Row{Asked: 10, Requests: 1000, Hits: 69}, false},
		"too few requests": {Row{Asked: 10, Requests: 999, Hits: 100}, false},
		"no requests":      {Row{Asked: 0}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.ok, c.row.OK(DefaultBars)) })
	}
}

func TestCurrentCountsTheOpenWindow(t *testing.T) {
	settling := []Split{{At: 0, Revision: "new", Asked: 10}}
	verified := append(settling, Split{At: second, Revision: "new", Asked: 10, Verified: true})
	requests := steady(0, 10*second, "new", 10)
	assert.Nil(t, Current(nil, requests, 10*second, DefaultBars))
	assert.Nil(t, Current(settling, requests, 10*second, DefaultBars))
	assert.Nil(t, Current(verified, requests, 2*second, DefaultBars), "not open yet")
	assert.Equal(t, map[string]int{"old": 180, "new": 20}, Current(verified, requests, 3*second, DefaultBars))
}

func TestWithdrawal(t *testing.T) {
	raised := Split{At: second, Revision: "new", Asked: 10, Verified: true}
	cases := map[string]struct {
		splits []Split
		at     time.Duration
		ok     bool
	}{
		"never raised":          {[]Split{{Revision: "new", Verified: true}}, 0, false},
		"not taken back":        {[]Split{raised}, 0, false},
		"not verified":          {[]Split{raised, {At: 2 * second, Revision: "new"}}, 0, false},
		"verified":              {[]Split{raised, {At: 2 * second, Revision: "new"}, {At: 3 * second, Revision: "new", Verified: true}}, 3 * second, true},
		"the first time counts": {[]Split{raised, {At: 2 * second, Revision: "new", Verified: true}, {At: 3 * second, Revision: "new", Verified: true}}, 2 * second, true},
		"raised again":          {[]Split{raised, {At: 2 * second, Revision: "new", Verified: true}, {At: 3 * second, Revision: "new", Asked: 5}}, 2 * second, false},
		"of another":            {[]Split{raised, {At: 2 * second, Revision: "other", Verified: true}}, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			at, ok := Withdrawal(c.splits, "new")
			assert.Equal(t, c.ok, ok)
			if ok {
				assert.Equal(t, c.at, at)
			}
		})
	}
}

// healthy is a rollout in which everything held.
func healthy() Rollout {
	r := Rollout{
		Version: "v2", Revision: "new", Weights: []float64{10, 50, 100}, Began: 0, Ended: 30 * second,
		Splits: []Split{
			{At: 0, Revision: "new", Asked: 10, Verified: true},
			{At: 10 * second, Revision: "new", Asked: 50, Verified: true},
			{At: 20 * second, Revision: "new", Asked: 100, Verified: true},
		},
	}
	for i, n := range []int{10, 2, 1} {
		from := time.Duration(i) * 10 * second
		r.Requests = append(r.Requests, steady(from, from+10*second, "new", n)...)
	}
	return r
}

// faulty is one that was taken back in time.
func faulty() Rollout {
	r := Rollout{
		Version: "v3", Revision: "bad", Weights: []float64{10, 0}, Faulty: true, Began: 0, Ended: 20 * second,
		Splits: []Split{
			{At: 0, Revision: "bad", Asked: 10, Verified: true},
			{At: 10 * second, Revision: "bad", Asked: 0, Verified: true},
		},
		Requests: append(steady(0, 10*second, "bad", 10), steady(10*second, 20*second, "bad", 0)...),
	}
	for i := range r.Requests {
		if r.Requests[i].Revision == "bad" && i%20 == 9 {
			r.Requests[i].Problem = "status 500"
		}
	}
	return r
}

func TestReportOfADemoThatHeld(t *testing.T) {
	rollouts := []Rollout{healthy(), faulty()}
	checks := append(rollouts[0].Checks(DefaultBars), rollouts[1].Checks(DefaultBars)...)
	assert.True(t, Passed(checks))
	golden(t, "held.txt", Table(rollouts, DefaultBars)+"\n"+Report(checks))
}

func TestReportOfADemoThatDidNotHold(t *testing.T) {
	wrong := healthy()
	wrong.Weights = []float64{10, 25, 50, 100}
	wrong.Requests[2500].Problem = "status 502"
	for i := range wrong.Requests {
		if at := wrong.Requests[i].Start; at > 10*second && at < 20*second {
			wrong.Requests[i].Revision = "new"
		}
	}
	late := faulty()
	late.Requests[len(late.Requests)-1].Revision = "bad"
	late.Requests[5].Problem = "connection reset"
	rollouts := []Rollout{wrong, late}
	checks := append(wrong.Checks(DefaultBars), late.Checks(DefaultBars)...)
	for _, c := range checks {
		// The one that is left is v3's sequence of weights, and its shares.
		if c.What != "v3: the weights asked for are 10, 0 %" && c.What != "v3: each weight is measured within 3 points over 1000 requests or more" {
			assert.False(t, c.OK, c.What)
		}
	}
	golden(t, "not-held.txt", Table(rollouts, DefaultBars)+"\n"+Report(checks))
}

func TestNothingMeasuredIsNotPassed(t *testing.T) {
	for _, r := range []Rollout{{Version: "v2", Weights: []float64{10}}, {Version: "v3", Faulty: true}} {
		for _, c := range r.Checks(DefaultBars) {
			if r.Faulty && c.Detail == "none" {
				continue // nothing asked for was what was to be asked for
			}
			assert.False(t, c.OK, "%s: %s", c.What, c.Detail)
		}
	}
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
