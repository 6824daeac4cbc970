package view

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// View writes frames and notes. Its methods may be called from several
// goroutines.
type View struct {
	out io.Writer
	// width is the terminal's; nil where the output is no terminal.
	width func() int

	mu sync.Mutex
	// drawn is how many lines of the last frame are on the screen.
	drawn int
	last  string
}

// New returns a view for a file, which may be a terminal.
func New(out *os.File) *View {
	v := &View{out: out}
	if fd := int(out.Fd()); term.IsTerminal(fd) && os.Getenv("TERM") != "dumb" {
		v.width = func() int {
			width, _, err := term.GetSize(fd)
			if err != nil || width <= 0 {
				return 80
			}
			return width
		}
	}
	return v
}

// Show shows a frame: on a terminal in place of the last one, elsewhere as a
// line if it differs from the last one.
func (v *View) Show(f Frame) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.width == nil {
		if line := f.line(); line != v.last {
			v.last = line
			_, _ = fmt.Fprintf(v.out, "%s  %s  %s\n", stamp(f.Elapsed), line, f.measured())
		}
		return
	}
	v.clear()
	width := v.width()
	for _, line := range f.screen() {
		// A line that wraps would be two on the way back up.
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:width])
		}
		_, _ = fmt.Fprintln(v.out, line)
		v.drawn++
	}
}

// Note writes lines that stay.
func (v *View) Note(elapsed time.Duration, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clear()
	_, _ = fmt.Fprintf(v.out, "%s  %s\n", stamp(elapsed), fmt.Sprintf(format, args...))
}

// Print writes text that stays, below the last frame, which stays too.
func (v *View) Print(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drawn = 0
	_, _ = fmt.Fprint(v.out, text)
}

// Write writes what another program says, between frames.
func (v *View) Write(data []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clear()
	return v.out.Write(data)
}

// clear takes the last frame off the screen.
func (v *View) clear() {
	if v.drawn > 0 {
		_, _ = fmt.Fprintf(v.out, "\x1b[%dA\r\x1b[J", v.drawn)
		v.drawn = 0
	}
}

func stamp(elapsed time.Duration) string {
	return fmt.Sprintf("%6.1fs", elapsed.Seconds())
}
