package measure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rollout is all that was seen of one rollout.
type Rollout struct {
	// Version is what users call it, Revision its pod hash.
	Version, Revision string
	// Weights are those the rollout was to ask for, in order.
	Weights []float64
	// Began and Ended bound the requests that count.
	Began, Ended time.Duration
	Splits       []Split
	Requests     []Request
	// Faulty says that the version answers with errors on purpose, and is to be
	// taken back.
	Faulty bool
}

// Rows are the rollout's rows.
func (r Rollout) Rows(bars Bars) []Row {
	return Rows(r.Splits, r.Requests, r.Revision, r.Ended, bars)
}

// Check is one thing that has to hold.
type Check struct {
	What string
	OK   bool
	// Detail is what was found.
	Detail string
}

// Checks judges a rollout by its requests.
func (r Rollout) Checks(bars Bars) []Check {
	checks := []Check{r.checkWeights(bars), r.checkShares(bars), r.checkFailures()}
	if r.Faulty {
		checks = append(checks, r.checkWithdrawal(bars))
	}
	return checks
}

func (r Rollout) checkWeights(bars Bars) Check {
	var asked []float64
	for _, row := range r.Rows(bars) {
		asked = append(asked, row.Asked)
	}
	return Check{
		What:   fmt.Sprintf("%s: the weights asked for are %s", r.Version, percents(r.Weights)),
		OK:     slices.Equal(asked, r.Weights),
		Detail: percents(asked),
	}
}

func (r Rollout) checkShares(bars Bars) Check {
	rows := r.Rows(bars)
	good, worst, fewest := 0, 0.0, 0
	for i, row := range rows {
		if row.OK(bars) {
			good++
		}
		worst = max(worst, row.Measured()-row.Asked, row.Asked-row.Measured())
		if i == 0 || row.Requests < fewest {
			fewest = row.Requests
		}
	}
	return Check{
		What:   fmt.Sprintf("%s: each weight is measured within %s points over %d requests or more", r.Version, number(bars.Tolerance), bars.Requests),
		OK:     len(rows) > 0 && good == len(rows),
		Detail: fmt.Sprintf("%d of %d, at most %.1f points off, at least %d requests", good, len(rows), worst, fewest),
	}
}

// checkFailures lets a faulty version fail; nobody else may.
func (r Rollout) checkFailures() Check {
	failed := Failed(r.Requests, r.Began, r.Ended)
	total := 0
	for _, q := range r.Requests {
		if q.Start >= r.Began && q.Start < r.Ended {
			total++
		}
	}
	what := fmt.Sprintf("%s: no request failed", r.Version)
	if r.Faulty {
		what = fmt.Sprintf("%s: no request failed but those it answered", r.Version)
		failed = slices.DeleteFunc(failed, func(q Request) bool { return q.Revision == r.Revision })
	}
	detail := fmt.Sprintf("%d of %d", len(failed), total)
	if len(failed) > 0 {
		detail += fmt.Sprintf(", the first at %s: %s", seconds(failed[0].Start), failed[0].Problem)
	}
	// No requests at all would show nothing.
	return Check{What: what, OK: len(failed) == 0 && total > 0, Detail: detail}
}

func (r Rollout) checkWithdrawal(bars Bars) Check {
	check := Check{What: fmt.Sprintf("%s: no request reaches it later than %s after weight 0 is verified", r.Version, bars.Settle)}
	at, ok := Withdrawal(r.Splits, r.Revision)
	if !ok {
		check.Detail = "weight 0 was never verified"
		return check
	}
	late := Late(r.Requests, r.Revision, at+bars.Settle)
	check.OK = late == 0
	check.Detail = fmt.Sprintf("%d requests", late)
	return check
}

// Passed reports whether all checks hold.
func Passed(checks []Check) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK })
}

// Table sets what was asked for against what was measured.
func Table(rollouts []Rollout, bars Bars) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s  %9s  %9s  %9s  %9s\n", "rollout", "asked for", "measured", "requests", "window")
	for _, r := range rollouts {
		for _, row := range r.Rows(bars) {
			verdict := "ok"
			if !row.OK(bars) {
				verdict = "NOT OK"
			}
			fmt.Fprintf(&b, "%-8s  %9s  %9s  %9d  %9s  %s\n", r.Version,
				number(row.Asked)+" %", fmt.Sprintf("%.1f %%", row.Measured()), row.Requests, seconds(row.Window), verdict)
		}
	}
	return b.String()
}

// Report lists checks, one a line.
func Report(checks []Check) string {
	var b strings.Builder
	for _, c := range checks {
		mark := "ok    "
		if !c.OK {
			mark = "NOT OK"
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", mark, c.What, c.Detail)
	}
	return b.String()
}

func percents(values []float64) string {
	if len(values) == 0 {
		return "none"
	}
	var texts []string
	for _, v := range values {
		texts = append(texts, number(v))
	}
	return strings.Join(texts, ", ") + " %"
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
