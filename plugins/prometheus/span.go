package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sluice-rollouts/sluice/sdk/plugin"
)

// Bounds of the expressions for start and end. Of the language's functions only now, date and duration are there, so that
// there is nothing to loop with.
const (
	maxSource = 1 << 10
	maxNodes  = 100
)

// errMoment is wrapped by start and end that are no time.
var errMoment = errors.New("the range")

// span is a checked range query.
type span struct {
	start, end *vm.Program
	step       time.Duration
}

// parseSpan compiles a range query; nil for none.
func parseSpan(q *rangeQuery) (*span, error) {
	if q == nil || *q == (rangeQuery{}) {
		return nil, nil //nolint:nilnil // an instant query has none
	}
	s := &span{}
	var err error
	if s.start, err = compile("start", q.Start); err != nil {
		return nil, err
	}
	if s.end, err = compile("end", q.End); err != nil {
		return nil, err
	}
	step, err := model.ParseDuration(q.Step)
	if err != nil || step <= 0 {
		return nil, plugin.InvalidConfig("rangeQuery.step", "is %q: want the time between two points, such as 1m", q.Step)
	}
	s.step = time.Duration(step)

	return s, nil
}

// clock is what expressions may use besides date and duration: both ends of a range have the same now.
func clock(now time.Time) map[string]any {
	return map[string]any{"now": func() time.Time { return now }}
}

func compile(field, source string) (*vm.Program, error) {
	path := "rangeQuery." + field
	if source == "" || len(source) > maxSource {
		return nil, plugin.InvalidConfig(path, "has %d characters: want an expression for a time, such as now() - duration(\"5m\")", len(source))
	}
	program, err := expr.Compile(source, expr.Env(clock(time.Time{})), expr.MaxNodes(maxNodes),
		expr.DisableAllBuiltins(), expr.EnableBuiltin("date"), expr.EnableBuiltin("duration"))
	if err != nil {
		return nil, plugin.InvalidConfig(path, "%s: want an expression for a time, such as now() - duration(\"5m\")", cut(oneLine(err.Error()), maxDetail))
	}

	return program, nil
}

// at is the range as of now.
func (s *span) at(now time.Time) (apiv1.Range, error) {
	r := apiv1.Range{Step: s.step}
	var err error
	if r.Start, err = moment("start", s.start, now); err != nil {
		return r, err
	}
	if r.End, err = moment("end", s.end, now); err != nil {
		return r, err
	}
	if r.End.Before(r.Start) {
		return r, fmt.Errorf("%w ends before it starts: rangeQuery.start is %s, rangeQuery.end %s", errMoment, r.Start.UTC().Format(time.RFC3339), r.End.UTC().Format(time.RFC3339))
	}

	return r, nil
}

func moment(field string, program *vm.Program, now time.Time) (time.Time, error) {
	out, err := vm.Run(program, clock(now))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: rangeQuery.%s: %s", errMoment, field, cut(oneLine(err.Error()), maxDetail))
	}
	at, ok := out.(time.Time)
	if !ok {
		return time.Time{}, fmt.Errorf("%w: rangeQuery.%s is a %T: want a time, such as now() - duration(\"5m\")", errMoment, field, out)
	}

	return at, nil
}
