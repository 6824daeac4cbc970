// Package condition evaluates the expressions by which a metric is judged,
// without letting an expression, a measured value or an argument hurt the
// controller.
//
// # Why a bound and not a time limit
//
// The language (expr-lang) has loops over collections and string building. Its
// virtual machine cannot be cancelled, its memory budget does not see string
// concatenation, and running out of memory cannot be recovered from in Go, so
//
//	len(reduce(1..30, #acc + #acc, 'aaaaaaaaaa')) > 0
//
// takes the whole process down. Before anything runs, or is even compiled,
// cost.go therefore walks the syntax tree and computes an upper bound of the
// time and of the memory it can take for the very value that was measured. An
// expression whose bound exceeds the budget is refused with a message; what is
// left is safe to run to its end in the calling goroutine.
//
// The alternatives were a child process with resource limits and an interpreter
// of our own. A child costs a fork of the controller per measurement and makes
// the verdict depend on how busy the machine is: the same value could be judged
// Failed now and Error a minute later. The bound depends on nothing but the
// expression and the value, and needs no process, signal or clock.
//
// The price: a builtin or node that cost.go does not know is refused. Everything
// expr v1.17.8 offers is known, except $env.
package condition
