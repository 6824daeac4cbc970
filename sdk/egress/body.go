package egress

import (
	"fmt"
	"io"
)

// TooLargeError says that an answer went on beyond its bound.
type TooLargeError struct {
	// Limit in bytes.
	Limit int
}

func (e *TooLargeError) Error() string {
	if mib := e.Limit >> 20; mib > 0 && mib<<20 == e.Limit {
		return fmt.Sprintf("the answer is larger than %d MiB", mib)
	}

	return fmt.Sprintf("the answer is larger than %d bytes", e.Limit)
}

// limited fails a body that goes on after left bytes, where io.LimitReader would pass it off as complete.
type limited struct {
	io.ReadCloser

	left, limit int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p[:min(len(p), max(l.left, 0)+1)])
	if l.left -= n; l.left < 0 {
		return 0, &TooLargeError{Limit: l.limit}
	}

	return n, err
}
