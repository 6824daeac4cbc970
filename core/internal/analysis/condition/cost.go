package condition

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
)

// Budgets of one evaluation. A unit of work is about a byte compared or
// copied; a step of the virtual machine counts 16 of them. The whole budget is
// some tenths of a second on the machines of 2026.
const (
	maxSource = 4 << 10
	maxNodes  = 1000
	maxWork   = 1e8
	// maxMemory bounds the sum, not the peak, of everything built.
	maxMemory = 32 << 20
	// maxRange is the most elements an evaluation may put into ranges and lists
	// of its own. The virtual machine counts them (its "memory budget"), which
	// is what bounds a range whose ends are not written as numbers.
	maxRange = 100_000

	step = 16
	word = 16
)

// tooExpensive ends a walk as soon as a budget is spent. It travels by panic:
// the walk is a deep recursion in which every level would pass it on.
type tooExpensive struct{ why string }

// effort is what evaluating a node takes at most.
type effort struct{ work, memory float64 }

func (e effort) plus(o effort) effort { return effort{e.work + o.work, e.memory + o.memory} }

func (e effort) times(n float64) effort { return effort{e.work * n, e.memory * n} }

// walker computes bounds over a syntax tree.
type walker struct {
	result shape
	vars   map[string]shape
	// scopes of the closures around the current node, innermost last.
	scopes []scope
	visits int
}

type scope struct{ element, acc shape }

// affordable reports why evaluating the expression on the value could exceed
// the budgets, nil when it cannot.
func affordable(root ast.Node, result shape) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case tooExpensive:
			err = fmt.Errorf("not evaluated: %s", r.why)
		default:
			panic(r)
		}
	}()
	w := &walker{result: result, vars: map[string]shape{}}
	_, total := w.node(root)
	w.check(total)
	return nil
}

func refuse(format string, args ...any) {
	panic(tooExpensive{fmt.Sprintf(format, args...)})
}

func (w *walker) check(e effort) {
	if !(e.work <= maxWork) {
		refuse("it could take too long for a value of this size; loop over less or nest fewer loops")
	}
	if !(e.memory <= maxMemory) {
		refuse("it could build more than %d MiB", maxMemory>>20)
	}
}

// node bounds the value of a node and the effort to compute it. Every visit
// adds a step, so the walk itself is within the budget of what it walks.
func (w *walker) node(n ast.Node) (shape, effort) {
	if w.visits++; w.visits > maxWork/step {
		refuse("it could take too long")
	}
	s, e := w.dispatch(n)
	e.work += step
	w.check(e)
	return s, e
}

func (w *walker) dispatch(n ast.Node) (shape, effort) {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return scalar(), effort{}
	case *ast.StringNode:
		return text(float64(len(n.Value))), effort{}
	case *ast.BytesNode:
		return text(float64(len(n.Value))), effort{}
	case *ast.IdentifierNode:
		return w.identifier(n.Value), effort{}
	case *ast.PointerNode:
		return w.pointer(n.Name), effort{}
	case *ast.UnaryNode:
		_, e := w.node(n.Node)
		return scalar(), e
	case *ast.BinaryNode:
		return w.binary(n)
	case *ast.ChainNode:
		return w.node(n.Node)
	case *ast.PredicateNode:
		return w.node(n.Node)
	case *ast.MemberNode:
		s, e := w.node(n.Node)
		key, ke := w.node(n.Property)
		return s.element(), e.plus(ke).plus(effort{work: key.size()})
	case *ast.SliceNode:
		return w.slice(n)
	case *ast.ConditionalNode:
		_, c := w.node(n.Cond)
		a, ae := w.node(n.Exp1)
		b, be := w.node(n.Exp2)
		return a.union(b), c.plus(ae).plus(be)
	case *ast.VariableDeclaratorNode:
		return w.declare(n)
	case *ast.SequenceNode:
		return w.sequence(n)
	case *ast.ArrayNode:
		return w.collection(n.Nodes)
	case *ast.MapNode:
		return w.collection(n.Pairs)
	case *ast.PairNode:
		k, ke := w.node(n.Key)
		v, ve := w.node(n.Value)
		return v.grown(k.size()), ke.plus(ve).plus(effort{work: k.size()})
	case *ast.CallNode:
		return w.call(n)
	case *ast.BuiltinNode:
		return w.builtin(n)
	}
	refuse("%T is not supported", n)
	return nil, effort{}
}

func (w *walker) identifier(name string) shape {
	if s, ok := w.vars[name]; ok {
		return s
	}
	switch name {
	case "result":
		return w.result
	case "$env":
		refuse("$env is not supported")
	}
	return scalar() // unknown names are the compiler's error
}

func (w *walker) pointer(name string) shape {
	if len(w.scopes) == 0 {
		return scalar() // the compiler's error
	}
	top := w.scopes[len(w.scopes)-1]
	switch name {
	case "":
		return top.element
	case "acc":
		return top.acc
	}
	return scalar()
}

func (w *walker) binary(n *ast.BinaryNode) (shape, effort) {
	l, le := w.node(n.Left)
	r, re := w.node(n.Right)
	e := le.plus(re)
	both := l.size() + r.size()
	switch n.Operator {
	case "+":
		if l.isScalar() && r.isScalar() {
			return scalar(), e
		}
		s := l.union(r).resized(both, l.count()+r.count())
		return s, e.plus(built(s))
	case "..":
		return w.span(n, e)
	case "??":
		return l.union(r), e
	case "matches":
		return scalar(), e.plus(matching(n.Right, l, r))
	case "==", "!=", "<", "<=", ">", ">=", "in", "contains", "startsWith", "endsWith",
		"and", "or", "&&", "||", "-", "*", "/", "%", "**", "^":
		return scalar(), e.plus(effort{work: both})
	}
	refuse("operator %s is not supported", n.Operator)
	return nil, effort{}
}

// span bounds a range: exactly when both ends are numbers, otherwise by what
// the virtual machine allows.
func (w *walker) span(n *ast.BinaryNode, e effort) (shape, effort) {
	count := float64(maxRange)
	from, okFrom := constant(n.Left)
	to, okTo := constant(n.Right)
	if okFrom && okTo {
		count = max(0, to-from+1)
		if count > maxRange {
			refuse("a range may have at most %d elements", int(maxRange))
		}
	}
	s := list(count, scalar())
	return s, e.plus(built(s))
}

func constant(n ast.Node) (float64, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return float64(n.Value), true
	case *ast.UnaryNode:
		v, ok := constant(n.Node)
		if n.Operator == "-" {
			v = -v
		}
		return v, ok && (n.Operator == "-" || n.Operator == "+")
	}
	return 0, false
}

func (w *walker) slice(n *ast.SliceNode) (shape, effort) {
	s, e := w.node(n.Node)
	for _, end := range []ast.Node{n.From, n.To} {
		if end != nil {
			_, ee := w.node(end)
			e = e.plus(ee)
		}
	}
	return s, e.plus(built(s))
}

func (w *walker) declare(n *ast.VariableDeclaratorNode) (shape, effort) {
	value, ve := w.node(n.Value)
	outer, shadowed := w.vars[n.Name]
	w.vars[n.Name] = value
	s, e := w.node(n.Expr)
	delete(w.vars, n.Name)
	if shadowed {
		w.vars[n.Name] = outer
	}
	return s, e.plus(ve)
}

func (w *walker) sequence(n *ast.SequenceNode) (last shape, total effort) {
	last = scalar()
	for _, part := range n.Nodes {
		s, e := w.node(part)
		last, total = s, total.plus(e)
	}
	return last, total
}

func (w *walker) collection(parts []ast.Node) (shape, effort) {
	var total effort
	size, elements := float64(word), shape(nil)
	for _, part := range parts {
		s, e := w.node(part)
		size += s.size() + word
		elements = elements.union(s)
		total = total.plus(e)
	}
	s := append(shape{{size, float64(len(parts))}}, elements...)
	return s, total.plus(built(s))
}

// call bounds the functions of functions.go and methods of times and
// durations, the only values with methods an expression can reach.
func (w *walker) call(n *ast.CallNode) (shape, effort) {
	var total effort
	var args shape
	sum := 0.0
	for _, arg := range n.Arguments {
		s, e := w.node(arg)
		total, args, sum = total.plus(e), args.union(s), sum+s.size()
	}
	callee, plain := n.Callee.(*ast.IdentifierNode)
	if !plain {
		_, e := w.node(n.Callee)
		s := text(64 + 16*sum) // time.Time.Format is the one that grows
		return s, total.plus(e).plus(built(s))
	}
	if callee.Value == "default" {
		return args, total
	}
	return scalar(), total.plus(effort{work: sum})
}

// reduce bounds a fold by folding the bound: the accumulator of each round is
// what the body makes of the last one, until it stops growing.
func (w *walker) reduce(n *ast.BuiltinNode, over shape, e effort) (shape, effort) {
	acc := over.element()
	if len(n.Arguments) > 2 {
		start, se := w.node(n.Arguments[2])
		acc, e = start, e.plus(se)
	}
	for round := 0.0; round < over.count(); round++ {
		w.scopes = append(w.scopes, scope{element: over.element(), acc: acc})
		next, be := w.node(n.Arguments[1])
		w.scopes = w.scopes[:len(w.scopes)-1]
		next = next.union(acc)
		if next.equal(acc) {
			return acc, e.plus(be.times(over.count() - round))
		}
		acc, e = next, e.plus(be)
		w.check(e)
	}
	return acc, e
}

// built is the effort of making a value of that shape.
func built(s shape) effort { return effort{work: s.size(), memory: s.size()} }

func log2(n float64) float64 { return math.Log2(max(n, 2)) }
