package plugins

import (
	"time"

	"github.com/go-logr/logr"
)

// State of a plugin's process.
type State string

// The states of a plugin.
const (
	// StateStopped: nobody has needed it yet, or it is gone from the catalog.
	StateStopped State = "Stopped"
	// StateStarting: the process is being started and shakes hands.
	StateStarting State = "Starting"
	// StateConfiguring: it introduces itself and takes its configuration.
	StateConfiguring State = "Configuring"
	// StateReady: it is asked.
	StateReady State = "Ready"
	// StateDraining: calls are finished, no new ones are made.
	StateDraining State = "Draining"
	// StateBackoff: it failed, and is started again after a pause.
	StateBackoff State = "Backoff"
)

// States are all states, for metrics.
var States = []State{StateStopped, StateStarting, StateConfiguring, StateReady, StateDraining, StateBackoff}

// Event is something an administrator should know about the plugins.
type Event struct {
	// Warning is false for news that are no reason to act.
	Warning bool
	// Reason in CamelCase, as in Kubernetes events.
	Reason  string
	Message string
}

// The reasons of events.
const (
	EventConfigRefused = "PluginConfigRefused"
	EventUpdateRefused = "PluginUpdateRefused"
	EventFailed        = "PluginFailed"
	EventRecovered     = "PluginRecovered"
	EventNoGrants      = "PluginHasNoGrants"
	EventUnpinned      = "PluginIsNotPinned"
	EventNotAnswering  = "PluginDoesNotAnswer"
)

// eventInterval is how long a repeated event is not reported again.
const eventInterval = 10 * time.Minute

// timing holds the host's durations. Tests shorten some.
type timing struct {
	// start bounds exec and handshake: 26–93 ms measured, seconds under load.
	start, describe, configure, capabilities time.Duration
	validate, observe, route, step           time.Duration
	measure, cancel, collect                 time.Duration
	// closing is what Close gets; kill what go-plugin gets to notice the end.
	closing, kill time.Duration
	// healthEvery and health are interval and deadline of the health check. A
	// plugin that hangs right after an answer, while nobody calls it, is noticed
	// after their sum: 9 s + 2 s = 11 s. Operators are promised 12 s, and with an
	// interval of 10 s nothing was left of that for a busy machine (12.001 s).
	healthEvery, health time.Duration
	// A failed plugin pauses from backoffMin, doubling up to backoffMax; after
	// steady of being ready it starts again at backoffMin.
	backoffMin, backoffMax, steady time.Duration
	// startWait is how long a call waits for a plugin that is starting; longer
	// would hold up the worker that calls.
	startWait time.Duration
	// drain is what calls in flight get when a process is replaced, shutdown
	// when the controller stops.
	drain, shutdown time.Duration
	// rescan is how often the plugin directory is listed.
	rescan time.Duration
}

func defaultTiming() timing {
	return timing{
		start: 8 * time.Second, describe: 15 * time.Second, configure: 15 * time.Second, capabilities: 5 * time.Second,
		validate: 5 * time.Second, observe: 5 * time.Second, route: 10 * time.Second, step: 10 * time.Second,
		measure: 60 * time.Second, cancel: 10 * time.Second, collect: 10 * time.Second,
		closing: 2 * time.Second, kill: 2 * time.Second,
		healthEvery: 9 * time.Second, health: 2 * time.Second,
		backoffMin: time.Second, backoffMax: time.Minute, steady: time.Minute,
		startWait: 250 * time.Millisecond,
		drain:     time.Minute, shutdown: 10 * time.Second,
		rescan: 10 * time.Second,
	}
}

// deps is what every plugin's supervisor gets from the host.
type deps struct {
	log     logr.Logger
	metrics *metrics
	// spawn starts plugins without credentials, trusted those with.
	fetch   *fetcher
	spawn   *spawner
	trusted *spawner
	timing  timing
	runDir  string
	version string
	// emit and notify do not block.
	emit   func(Event)
	notify func(name string)
	// generation counts processes of all plugins, so that no two have the
	// same.
	generation func() uint64
}
