// Package plugins is the plugin host: it knows which plugins there are, runs
// each in a process of its own, and asks them on behalf of the controller.
//
// The path of a call, and the files it leads through:
//
//	catalog.go, entry.go, bundled.go   which plugins there are: a directory and a ConfigMap
//	host.go                            Host: catalog in, clients out
//	supervisor.go, swap.go, state.go   one plugin's process: started, watched, replaced, restarted
//	instance.go, launch.go             one process from the handshake to its end
//	process.go, spawn.go, logs.go      the operating system's side of it
//	fetch.go, sandbox.go               where its file comes from, and what it may take and read
//	call.go, breaker.go, problem.go    a call: deadline, breaker, class of error
//	router.go, provider.go, step.go    what the controller calls, in values
//	argo*.go                           the same over Argo Rollouts' net/rpc protocol
//	wire*.go                           values to protobuf and back; every answer is checked here
//
// Nothing a plugin does reaches further than its own callers: each call has a
// deadline, no lock is held across one, plugins share neither locks nor
// processes, and an answer that breaks the contract is reported with the
// plugin's name instead of being used.
package plugins
