package condition

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Outcome is what an expression said about a value.
type Outcome struct {
	True bool
	// Seen is what was compared, such as "7.2 > 5"; the value alone when the
	// expression is not a comparison. It is as long as the value is.
	Seen string
}

// Eval evaluates a condition on a measured value: a float64, []float64, string
// or what Decode returns. It errors when the expression is malformed, could
// exceed its budget on this value, fails, or is not a bool. The outcome
// depends on nothing but the two arguments, except for now(). It never panics.
func Eval(source string, result any) (_ Outcome, err error) {
	defer func() {
		// The walk and the library's compiler run in this process; a bug in
		// either must not end it.
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluation failed: %v", r)
		}
	}()
	tree, err := parse(source)
	if err != nil {
		return Outcome{}, err
	}
	if err := affordable(tree, shapeOf(result)); err != nil {
		return Outcome{}, err
	}
	value, err := run(source, result)
	if err != nil {
		return Outcome{}, noData(err, result)
	}
	answer, ok := value.(bool)
	if !ok {
		return Outcome{}, fmt.Errorf("expected bool, but got %T", value)
	}
	return Outcome{True: answer, Seen: seen(tree, result)}, nil
}

// Check reports what is wrong with the syntax of a condition, nil for "".
func Check(source string) error {
	if source == "" {
		return nil
	}
	_, err := parse(source)
	return err
}

func parse(source string) (ast.Node, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are evaluated", len(source), maxSource)
	}
	config := conf.CreateNew()
	config.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return nil, plain(err)
	}
	return tree.Node, nil
}

// run compiles and runs an expression whose cost is known to be affordable.
func run(source string, result any) (any, error) {
	env := environment(result)
	// The optimizer evaluates constant parts while compiling, outside of the
	// virtual machine and its budget.
	program, err := expr.Compile(source, expr.Env(env), expr.Optimize(false), expr.MaxNodes(maxNodes))
	if err != nil {
		return nil, plain(err)
	}
	machine := vm.VM{MemoryBudget: maxRange}
	value, err := machine.Run(program, env)
	return value, plain(err)
}

// plain drops the source excerpt that the library adds on lines of its own.
func plain(err error) error {
	var located *file.Error
	if errors.As(err, &located) {
		return errors.New(located.Message)
	}
	return err
}

// noData says so when an expression failed because there was nothing in the
// result: "slice index out of range" alone sends people looking for a mistake
// in the expression.
func noData(err error, result any) error {
	if Missing(result) {
		return fmt.Errorf("no data was returned: result is %s (%w)", Format(result), err)
	}
	return err
}

// Missing reports whether there is nothing in a result: null, or a list, map
// or text without content.
func Missing(result any) bool {
	switch v := result.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []float64:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

var comparisons = map[string]bool{"<": true, "<=": true, ">": true, ">=": true, "==": true, "!=": true}

// seen shows both sides of a comparison with their values. The sides are parts
// of an expression that was affordable, so they are too.
func seen(tree ast.Node, result any) string {
	if n, ok := tree.(*ast.BinaryNode); ok && comparisons[n.Operator] {
		left, errLeft := run(n.Left.String(), result)
		right, errRight := run(n.Right.String(), result)
		if errLeft == nil && errRight == nil {
			return Format(left) + " " + n.Operator + " " + Format(right)
		}
	}
	return Format(result)
}

// Shorten cuts a text to at most limit bytes, at a character, and says how long
// it was.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf("… (%d bytes)", len(s))
}
