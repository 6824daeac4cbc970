// Package crashing plays stories on the real API server while the controller's
// connection to it misbehaves at one chosen write: the controller dies before
// it, dies right after it, is told that it failed, or never hears that it
// succeeded. Every run has to end like the one without a fault.
//
// A Scenario says what people do, a Plan which write goes wrong and how. Run
// plays one plan; All plays a scenario without a fault, learns how many writes
// it takes, and plays a plan for each of them and each Kind.
package crashing
