package conformance

// Cases that several suites have, or that are run with any block.
const (
	caseHealth  = "health is answered"
	caseUnknown = "an unknown field of the configuration is refused with its path"
	caseSums    = "wrong sums and negative weights are refused"
)

// cures say, for each case, what a plugin that fails it has to do. Sections are those of PROTOCOL.md.
var cures = map[string]string{
	// Any plugin.
	"it introduces itself as a host can use it":       "Correct what Describe answers; see \"Lifecycle\".",
	"it introduces itself the same each time":         "Describe is constant: put nothing into it that differs between calls or processes.",
	"only its host can talk to it":                    "Require a client certificate, and trust no other than the one in PLUGIN_CLIENT_CERT; see \"Starting\".",
	"nothing but the handshake is on standard output": "Log to standard error: standard output holds one line, ever; see \"Starting\".",
	"it closes in time":                               "Answer Close within 2 s; the process is killed after it, so there is nothing to clean up; see \"Starting\".",
	"an unknown field of the process configuration is refused": "Decode what Configure gets strictly and atomically, and refuse what is not known with INVALID_ARGUMENT; " +
		"a plugin that takes no configuration refuses all but {}.",
	caseHealth: "Serve grpc.health.v1.Health, answer SERVING for the service name \"plugin\", and answer within 2 s whatever other calls do.",

	// Every service.
	caseUnknown:                     "Decode the block strictly: an unknown field is INVALID_ARGUMENT with a google.rpc.BadRequest whose field is its path; see \"Configuration\".",
	"what the fixture has is valid": "Correct the block or the objects of the fixture, or Validate; and list what Validate needs to see; see \"Needs\".",
	"a reference to nothing is refused as such": "A need that is SYNCED with no objects means: there is none. Answer NOT_FOUND with a google.rpc.ErrorInfo of reason " +
		"REFERENCE_NOT_FOUND and domain sluice; see \"Errors\".",

	// Traffic routers.
	"an observation has no effect and names places and claims": "Observe is a pure function of its inputs: places that are unique, one claim for what only one rollout may steer; " +
		"see \"Traffic routers\".",
	"every pair of states is reached":                           "Route brings about the whole state it is given, from any other, and changes nothing of others; see \"Writes\" and \"Traffic routers\".",
	"a state that is reached is not written again":              "Compare with the objects in the inputs, and answer no writes when they say what is asked for.",
	"a change interrupted between stages ends in the next":      "Start each Route from the objects in its inputs, not from what was asked for before.",
	"an observation says what is there, not what was asked for": "Observe reads the objects in its inputs; a plugin remembers nothing between calls.",
	"what was there before the plugin started is observed":      "Keep what has to be known in the objects; a plugin remembers nothing between calls, nor between processes.",
	"a release leaves nothing": "With the intent release, stable gets everything, and every rule, label, annotation and object of the router goes; " +
		"all other bytes stay; see \"Traffic routers\".",
	"a release leaves what is kept": "In a release, leave alone what kept claims: neither observe nor write it, and keep your record in an object that has some of it; " +
		"see \"Traffic routers\".",
	caseSums: "Route answers INVALID_ARGUMENT if a weight is negative or the weights do not add up to total_weight. Add them up in 64 bits.",
	"objects that cannot be shown yet are needs, not errors": "Where a need is not SYNCED, answer with the list of needs and nothing else; see \"Needs\".",
	"targets do not affect each other":                       "Calls for different targets come concurrently: share no state between them.",
	"a call that is cancelled hurts no other":                "End a call whose client is gone, and go on serving the others.",

	// Metric providers.
	"a measurement has an outcome":                        "When every need is answered, Measure answers a value, a verdict, pending or an error; see \"Metric providers\".",
	"a measurement that is started again is the same one": "Derive the names of what a measurement creates from measurement_id, and look whether it is there.",
	"a system that fails is an Error outcome":             "An HTTP 500 or a bad query is the outcome `error`, not an error status: the system was asked.",
	"a system that cannot be asked is an error status":    "A refused connection or a deadline is an error status, not the outcome `error`: nobody was asked, and the run waits.",
	"a system that hangs holds up nobody else":            "Answer calls concurrently, end a call with its deadline, and hold no lock while a system is asked.",
	"a measurement never started can be cancelled":        "Cancel of a measurement that is not known is done.",
	"collecting ends":                       "Collect removes what belongs to measurements that are not kept, and then says done.",
	"measurements do not affect each other": "Calls come concurrently: share no state between measurements.",

	// Steps.
	"a step ends well": "Run ends in SUCCESSFUL; while something takes time it answers RUNNING and does not wait; see \"Steps\".",
	"a call that is repeated because its answer was lost is the same step": "Send operation_id to the system that acts, or look there whether it has been done: the outcome of an " +
		"earlier call with the same id is not known.",
	"a step that fails says so":                            "Answer FAILED with a message for people.",
	"a running step can be terminated":                     "Terminate stops what runs and ends in SUCCESSFUL.",
	"a step that was successful is undone by an abort":     "Abort undoes what Run has done, and ends in SUCCESSFUL.",
	"an abort of what never ran ends":                      "The host may have ended before it called Run: an operation_id that is not known has nothing to undo, which is SUCCESSFUL.",
	"steps of different rollouts do not affect each other": "Calls come concurrently: share no state between operations.",
}
