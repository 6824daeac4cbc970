package main

import (
	"fmt"
	"io"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger writes one line for each entry. It drops none: the production
// settings of zap sample entries that are alike, and of 200 rollouts that are
// scaled in one second half would not be found in the log.
func logger(level, format string, to io.Writer) (logr.Logger, error) {
	var least zapcore.Level
	switch level {
	case "debug", "info", "warn", "error":
		if err := least.UnmarshalText([]byte(level)); err != nil {
			return logr.Logger{}, err
		}
	default:
		return logr.Logger{}, fmt.Errorf("--loglevel %q: give debug, info, warn or error", level)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	var encoder zapcore.Encoder
	switch format {
	case "json", "":
		encoder = zapcore.NewJSONEncoder(encoding)
	case "text":
		encoder = zapcore.NewConsoleEncoder(encoding)
	default:
		return logr.Logger{}, fmt.Errorf("--logformat %q: give json or text", format)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(to)), least)
	return zapr.NewLogger(zap.New(lazy{core})), nil
}

// lazy encodes the values of a logger when it is used: each pass has one of its
// own, and most passes say nothing.
type lazy struct{ zapcore.Core }

// With implements zapcore.Core.
func (l lazy) With(fields []zapcore.Field) zapcore.Core {
	return lazy{zapcore.NewLazyWith(l.Core, fields)}
}
