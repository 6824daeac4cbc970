package plugins

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
)

// Limits of a plugin's log. A line holds a panic's stack as the SDK logs it
// (16 KiB); 50 lines a second are more than anybody reads.
const (
	maxLogLine    = 32 << 10
	maxLogText    = 4 << 10
	maxLogFields  = 32
	logsPerSecond = 50
	logBurst      = 200
)

// logSink puts the output of one process into the host's log, under the
// plugin's name. Nothing the plugin writes can pass for the host's own words:
// its fields stay below one key.
type logSink struct {
	log   logr.Logger
	limit *rate.Limiter

	mu      sync.Mutex
	dropped int
	// last is the line that best explains an end: of a panic the first one,
	// otherwise the latest.
	last     string
	panicked bool
}

func newLogSink(log logr.Logger) *logSink {
	return &logSink{log: log, limit: rate.NewLimiter(logsPerSecond, logBurst)}
}

// read logs lines until r ends. What is beyond maxLogLine of a line is lost.
func (s *logSink) read(r io.Reader, diagnose bool) {
	buf := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := buf.ReadSlice('\n')
		s.line(line, diagnose)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = buf.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// line logs one line, or counts it when the plugin talks too much. Parsing
// comes after the limit: a flood costs reading and nothing else.
func (s *logSink) line(raw []byte, diagnose bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return
	}
	allowed := s.limit.Allow()
	if diagnose {
		s.remember(raw)
	}
	s.mu.Lock()
	dropped := s.dropped
	if allowed {
		s.dropped = 0
	} else {
		s.dropped++
	}
	s.mu.Unlock()
	if !allowed {
		return
	}
	if dropped > 0 {
		s.log.Info("Plugin logs too much, lines were dropped", "dropped", dropped)
	}
	s.write(raw)
}

func (s *logSink) remember(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panicked {
		return
	}
	s.panicked = bytes.HasPrefix(raw, []byte("panic: ")) || bytes.HasPrefix(raw, []byte("fatal error: "))
	s.last = cut(string(raw), maxLogText)
}

func (s *logSink) write(raw []byte) {
	level, text, fields := parseLog(raw)
	log := s.log
	if len(fields) > 0 {
		log = log.WithValues("fields", fields)
	}
	switch level {
	case "error":
		log.Error(nil, text)
	case "warn":
		log.Info(text, "level", "warn")
	case "info":
		log.Info(text)
	default:
		log.V(1).Info(text)
	}
}

// parseLog reads a line of hclog's JSON. Anything else is text of level debug,
// but a Go panic is an error.
func parseLog(raw []byte) (level, text string, fields map[string]any) {
	if raw[0] == '{' && json.Unmarshal(raw, &fields) == nil {
		level, _ = fields["@level"].(string)
		message, ok := fields["@message"].(string)
		if ok {
			for _, known := range []string{"@level", "@message", "@timestamp", "@module"} {
				delete(fields, known)
			}
			for k, v := range fields {
				if text, long := v.(string); long {
					fields[k] = cut(text, maxLogText)
				}
			}
			if len(fields) > maxLogFields {
				fields = map[string]any{"dropped": len(fields)}
			}
			return level, cut(message, maxLogText), fields
		}
	}
	text = cut(string(raw), maxLogText)
	if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
		return "error", text, nil
	}
	return "debug", text, nil
}

// lastWords is the line that explains the end best; "" when nothing was said.
func (s *logSink) lastWords() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" {
		return ""
	}
	_, text, fields := parseLog([]byte(s.last))
	if err, ok := fields["error"].(string); ok {
		text += ": " + err
	}
	return cut(text, 512)
}

// output is a writer for text that arrives in pieces: what the plugin prints
// after its handshake. Not safe for concurrent use.
type output struct {
	sink *logSink
	rest []byte
}

// Write never fails: a plugin's output is not worth an error.
func (o *output) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		if room := maxLogText - len(o.rest); room > 0 {
			o.rest = append(o.rest, line[:min(room, len(line))]...)
		}
		if !whole {
			break
		}
		o.sink.line(o.rest, false)
		o.rest, rest = o.rest[:0], after
	}
	return len(p), nil
}

// cut shortens text to at most limit bytes, without splitting a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

// occasionally lets one of a kind pass per interval; for events that would
// repeat with every attempt.
type occasionally struct {
	interval time.Duration
	last     string
	at       time.Time
}

func (o *occasionally) pass(text string, now time.Time) bool {
	if text == o.last && now.Sub(o.at) < o.interval {
		return false
	}
	o.last, o.at = text, now
	return true
}
