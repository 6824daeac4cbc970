// Pause is what runs in a pod of a real node when nothing else has to. Without
// arguments it only holds the pod's namespaces; with an address it answers HTTP
// there with $ANSWER; with "end" it ends.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		if os.Args[1] == "end" {
			return
		}
		go serve(os.Args[1])
	}
	// The first process of a process namespace gets no signal that it does not ask for.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

func serve(address string) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, os.Getenv("ANSWER")) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(address, answer))
	os.Exit(1)
}
