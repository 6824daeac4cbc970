package plugins

import "runtime"

// spawner runs functions on one OS thread that lives as long as it does.
//
// A process started with Pdeathsig is killed when the *thread* that forked it
// ends, not the process (measured: 20 of 20 plugins died under a living host
// when the thread was any of the runtime's). Only fork and exec run here: a
// slow function would delay the start of every other plugin.
type spawner struct {
	work chan func()
}

// newSpawner prepares the thread with a function whose error it returns; the
// spawner works all the same.
func newSpawner(prepare func() error) (*spawner, error) {
	s := &spawner{work: make(chan func())}
	prepared := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, after the last
		// process has ended.
		runtime.LockOSThread()
		prepared <- prepare()
		for f := range s.work {
			f()
		}
	}()
	return s, <-prepared
}

// do runs f on the thread and returns when it is done.
func (s *spawner) do(f func()) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// stop ends the thread, and with it every process it started.
func (s *spawner) stop() { close(s.work) }
