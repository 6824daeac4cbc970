// Package measure compares what a rollout asked of a gateway with what a client
// of the gateway saw. It is pure: times are durations since the demo's clock
// began, taken from one monotonic clock for requests and for what was asked.
package measure

import "time"

// Bars are what a measurement has to clear.
type Bars struct {
	// Settle is how long after a split was verified its window opens.
	Settle time.Duration
	// Guard is how long before the next write was seen the window closes: the
	// write itself came before the news of it.
	Guard time.Duration
	// Requests is the least number of requests in a window.
	Requests int
	// Tolerance is how far a measured share may be off, in points of a percent.
	Tolerance float64
}

// DefaultBars are those of the demo.
var DefaultBars = Bars{Settle: time.Second, Guard: 100 * time.Millisecond, Requests: 1000, Tolerance: 3}

// Request is one request as its client saw it.
type Request struct {
	// Start is when it was sent.
	Start time.Duration
	// Revision is the pod hash of who answered; empty when nobody did.
	Revision string
	// Problem says why the request failed; empty when it did not.
	Problem string
}

// Split is what the gateway is asked for, from At until the next split. There is
// a new one for every write that was seen, also when the share stays.
type Split struct {
	At time.Duration
	// Revision is the pod hash of the revision being rolled out.
	Revision string
	// Asked is the percentage of requests that revision is to get.
	Asked float64
	// Verified says that the data plane follows.
	Verified bool
}

// Row is one weight of a rollout: asked for and measured.
type Row struct {
	Asked float64
	// Requests were sent in the windows of this weight; Hits of them were
	// answered by the revision being rolled out.
	Requests, Hits int
	// Window is how long the windows were open.
	Window time.Duration
}

// Measured is the percentage of requests the revision got; 0 without requests.
func (r Row) Measured() float64 {
	if r.Requests == 0 {
		return 0
	}
	return 100 * float64(r.Hits) / float64(r.Requests)
}

// OK reports whether the row clears the bars.
func (r Row) OK(bars Bars) bool {
	off := r.Measured() - r.Asked
	return r.Requests >= bars.Requests && off <= bars.Tolerance && -off <= bars.Tolerance
}

// Rows returns a row per weight that was asked for a revision, in order, from
// the first one above 0. A weight that was written again without changing stays
// one row, whose windows leave out the time around the writes. The last split
// lasts until end.
func Rows(splits []Split, requests []Request, revision string, end time.Duration, bars Bars) []Row {
	var rows []Row
	for i, s := range splits {
		if s.Revision != revision || len(rows) == 0 && s.Asked == 0 {
			continue
		}
		if len(rows) == 0 || rows[len(rows)-1].Asked != s.Asked {
			rows = append(rows, Row{Asked: s.Asked})
		}
		if !s.Verified {
			continue
		}
		until := end
		if i+1 < len(splits) {
			until = splits[i+1].At - bars.Guard
		}
		rows[len(rows)-1].add(requests, revision, s.At+bars.Settle, until)
	}
	return rows
}

// add counts the requests of one window.
func (r *Row) add(requests []Request, revision string, opens, closes time.Duration) {
	if closes <= opens {
		return
	}
	r.Window += closes - opens
	for _, q := range requests {
		if q.Start < opens || q.Start >= closes {
			continue
		}
		r.Requests++
		if q.Revision == revision {
			r.Hits++
		}
	}
}

// Current counts, by revision, the requests in the window that is open now. It
// is nil while none is.
func Current(splits []Split, requests []Request, now time.Duration, bars Bars) map[string]int {
	if len(splits) == 0 {
		return nil
	}
	last := splits[len(splits)-1]
	opens := last.At + bars.Settle
	if !last.Verified || now <= opens {
		return nil
	}
	counts := map[string]int{}
	for _, q := range requests {
		if q.Start >= opens && q.Start < now {
			counts[q.Revision]++
		}
	}
	return counts
}

// Failed returns the requests sent from began to ended that failed.
func Failed(requests []Request, began, ended time.Duration) []Request {
	var failed []Request
	for _, q := range requests {
		if q.Problem != "" && q.Start >= began && q.Start < ended {
			failed = append(failed, q)
		}
	}
	return failed
}

// Withdrawal is when a revision got its last weight taken away and the data
// plane followed. It reports false when that did not happen.
func Withdrawal(splits []Split, revision string) (at time.Duration, ok bool) {
	raised := false
	for _, s := range splits {
		if s.Revision != revision {
			continue
		}
		switch {
		case s.Asked > 0:
			raised, ok = true, false
		case raised && s.Verified && !ok:
			at, ok = s.At, true
		}
	}
	return at, ok
}

// Late counts the requests sent after a time that a revision answered.
func Late(requests []Request, revision string, after time.Duration) int {
	late := 0
	for _, q := range requests {
		if q.Revision == revision && q.Start > after {
			late++
		}
	}
	return late
}
