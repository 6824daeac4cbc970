// Package view shows a rollout while it happens: as a screen that is drawn over
// and over where the output is a terminal, and as one line per change elsewhere.
package view

import (
	"fmt"
	"strings"
	"time"
)

// Frame is what is shown at one time.
type Frame struct {
	// Elapsed is how long the demo has been running.
	Elapsed time.Duration
	// Title says what is being done.
	Title string
	// Phase and Message are the rollout's.
	Phase, Message string
	// Steps are the rollout's steps; Step is how many of them are done.
	Steps []string
	Step  int
	// Asked is the weight asked for, in percent; nil before the first one.
	Asked *float64
	// Verified says that the data plane follows it.
	Verified bool
	// Shares are the requests measured since the weight settled, by version;
	// none while it is settling.
	Shares []Share
	// Sets are the ReplicaSets that have pods or want some.
	Sets []Set
	// Analysis are the metrics of the latest run.
	Analysis []Metric
	// Sent and Failed count all requests so far.
	Sent, Failed int
}

// Share is what one version was measured to get.
type Share struct {
	Version  string
	Requests int
	Percent  float64
}

// Set is a ReplicaSet.
type Set struct {
	Version           string
	Available, Wanted int32
}

// Metric is a metric of an AnalysisRun.
type Metric struct {
	Name, Phase string
	// Values are what was measured, oldest first.
	Values []string
}

// line is the frame in one line, without what moves all the time: the line is
// printed when it differs from the last one.
func (f Frame) line() string {
	parts := []string{f.Title}
	if f.Phase != "" {
		parts = append(parts, f.Phase)
	}
	if f.Message != "" {
		parts = append(parts, "("+shorten(f.Message)+")")
	}
	if len(f.Steps) > 0 {
		parts = append(parts, "step "+f.step())
	}
	if f.Asked != nil {
		parts = append(parts, "asked for "+f.asked())
	}
	if sets := f.sets(); sets != "" {
		parts = append(parts, "replicas "+sets)
	}
	for _, m := range f.Analysis {
		parts = append(parts, "analysis "+m.String())
	}
	return strings.Join(parts, "  ")
}

// measured is the rest of a line.
func (f Frame) measured() string {
	if len(f.Shares) == 0 {
		return "measured –"
	}
	texts, total := []string{}, 0
	for _, s := range f.Shares {
		texts = append(texts, fmt.Sprintf("%s %.1f %%", s.Version, s.Percent))
		total += s.Requests
	}
	return fmt.Sprintf("measured %s of %d", strings.Join(texts, ", "), total)
}

// step is where the rollout is, for example "2/9 pause 10s".
func (f Frame) step() string {
	if f.Step >= len(f.Steps) {
		return fmt.Sprintf("%d/%d done", len(f.Steps), len(f.Steps))
	}
	return fmt.Sprintf("%d/%d %s", f.Step+1, len(f.Steps), f.Steps[f.Step])
}

func (f Frame) asked() string {
	text := fmt.Sprintf("%g %%", *f.Asked)
	if !f.Verified {
		text += " (not verified)"
	}
	return text
}

func (f Frame) sets() string {
	var texts []string
	for _, s := range f.Sets {
		texts = append(texts, fmt.Sprintf("%s %d/%d", s.Version, s.Available, s.Wanted))
	}
	return strings.Join(texts, ", ")
}

// String is the metric in one line.
func (m Metric) String() string {
	return strings.Join(append([]string{m.Name, orDash(m.Phase)}, m.Values...), " ")
}

// shorten keeps a message that is repeated in every line from drowning the rest.
func shorten(message string) string {
	const most = 50
	if runes := []rune(message); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return message
}

// bars is the width of a share of 100 percent.
const bars = 40

// screen is the frame as lines for a terminal.
func (f Frame) screen() []string {
	lines := []string{
		"",
		fmt.Sprintf("%s  ·  %.1f s", f.Title, f.Elapsed.Seconds()),
		field("phase", strings.TrimSpace(f.Phase+"  "+f.Message)),
		field("step", f.stepLine()),
	}
	asked := "–"
	if f.Asked != nil {
		asked = f.asked()
	}
	lines = append(lines, field("asked for", asked))
	label := "measured"
	for _, s := range f.Shares {
		full := min(bars, max(0, int(s.Percent*bars/100+0.5)))
		lines = append(lines, field(label, fmt.Sprintf("%-4s %s%s %5.1f %%  %5d",
			s.Version, strings.Repeat("█", full), strings.Repeat("░", bars-full), s.Percent, s.Requests)))
		label = ""
	}
	if len(f.Shares) == 0 {
		lines = append(lines, field(label, "–"))
	}
	lines = append(lines, field("replicas", orDash(f.sets())))
	label = "analysis"
	for _, m := range f.Analysis {
		lines = append(lines, field(label, m.String()))
		label = ""
	}
	return append(lines, field("requests", fmt.Sprintf("%d sent, %d failed", f.Sent, f.Failed)))
}

// stepLine lists all steps, with the current one in brackets.
func (f Frame) stepLine() string {
	texts := make([]string, len(f.Steps))
	for i, s := range f.Steps {
		switch {
		case i < f.Step:
			texts[i] = "✓" + s
		case i == f.Step:
			texts[i] = "[" + s + "]"
		default:
			texts[i] = s
		}
	}
	return orDash(strings.Join(texts, "  "))
}

func field(label, value string) string { return fmt.Sprintf("  %-10s %s", label, value) }

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
