package bench

import "flag"

// asked reports whether this run is to measure anything.
func asked() bool {
	flag.Parse()
	f := flag.Lookup("test.bench")
	return f != nil && f.Value.String() != ""
}
