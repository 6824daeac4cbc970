//go:build !linux

// The demo runs on Linux only: it needs network namespaces.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "demo: this is %s; the demo needs Linux, because its pods live in a network namespace\n", runtime.GOOS)
	os.Exit(1)
}
