package cli

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/sluice-rollouts/sluice/core/api/v1alpha1"
)

// style colours text, or leaves it alone: in pipes and with NO_COLOR.
type style struct{ colours bool }

func styleFor(out io.Writer) style {
	return style{colours: isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

func (s style) paint(colour, text string) string {
	if !s.colours || colour == "" {
		return text
	}
	return colour + text + reset
}

// mark is a state with the sign that goes before it.
type mark struct{ sign, colour string }

// marks of the phases of every kind, by their text.
var marks = map[string]mark{
	string(v1alpha1.RolloutPhaseHealthy): {"✔", green}, string(v1alpha1.RolloutPhaseDegraded): {"✖", red},
	string(v1alpha1.RolloutPhaseProgressing): {"◌", blue}, string(v1alpha1.RolloutPhasePaused): {"॥", yellow},
	string(v1alpha1.AnalysisPhaseSuccessful): {"✔", green}, string(v1alpha1.AnalysisPhaseFailed): {"✖", red},
	string(v1alpha1.AnalysisPhaseError): {"⚠", red}, string(v1alpha1.AnalysisPhaseInconclusive): {"?", yellow},
	string(v1alpha1.AnalysisPhaseRunning): {"◌", blue}, string(v1alpha1.AnalysisPhasePending): {"◌", blue},
	"Ready": {"✔", green}, "ScaledDown": {"•", dim}, "Terminating": {"◌", dim}, "Completed": {"✔", green},
	"CrashLoopBackOff": {"✖", red}, "ImagePullBackOff": {"✖", red}, "ErrImagePull": {"✖", red},
}

// state is the text with its sign, coloured.
func (s style) state(text string) string {
	m, ok := marks[text]
	if !ok {
		return text
	}
	return s.paint(m.colour, m.sign+" "+text)
}
