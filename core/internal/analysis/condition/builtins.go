package condition

import (
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
)

// builtin bounds the functions of the language.
func (w *walker) builtin(n *ast.BuiltinNode) (shape, effort) {
	if loops[n.Name] && len(n.Arguments) > 0 {
		return w.loop(n)
	}
	rule, known := rules[n.Name]
	if !known {
		refuse("%s() is not supported", n.Name)
	}
	var total effort
	args := make([]shape, 0, 4)
	for _, arg := range n.Arguments {
		s, e := w.node(arg)
		args, total = append(args, s), total.plus(e)
		total.work += s.size()
	}
	if n.Name == "repeat" && len(n.Arguments) == 2 {
		times, ok := constant(n.Arguments[1])
		if !ok {
			refuse("the count of repeat() must be written as a number")
		}
		args[1] = shape{{size: word, count: max(0, times)}}
	}
	s, extra := rule(padded(args))
	return s, total.plus(extra).plus(built(s))
}

// padded lets rules of functions with optional arguments read four of them.
func padded(args []shape) []shape {
	for len(args) < 4 {
		args = append(args, scalar())
	}
	return args
}

var loops = map[string]bool{
	"all": true, "none": true, "any": true, "one": true, "filter": true, "map": true, "find": true,
	"findIndex": true, "findLast": true, "findLastIndex": true, "count": true, "sum": true,
	"groupBy": true, "sortBy": true, "reduce": true,
}

func (w *walker) loop(n *ast.BuiltinNode) (shape, effort) {
	over, e := w.node(n.Arguments[0])
	if n.Name == "reduce" && len(n.Arguments) > 1 {
		return w.reduce(n, over, e)
	}
	body := scalar()
	if len(n.Arguments) > 1 {
		var once effort
		w.scopes = append(w.scopes, scope{element: over.element()})
		body, once = w.node(n.Arguments[1])
		w.scopes = w.scopes[:len(w.scopes)-1]
		e = e.plus(once.plus(effort{work: 2 * step}).times(over.count()))
	}
	for _, rest := range n.Arguments[min(2, len(n.Arguments)):] {
		_, re := w.node(rest)
		e = e.plus(re)
	}
	count := over.count()
	switch n.Name {
	case "map":
		s := list(count, body)
		return s, e.plus(built(s))
	case "filter":
		return over, e.plus(effort{count * word, count * word})
	case "find", "findLast":
		return over.element(), e
	case "groupBy":
		s := append(shape{{over.size() + count*(body.size()+8*word), count}}, over...)
		return s, e.plus(built(s)).plus(effort{work: count * body.size()})
	case "sortBy":
		return over, e.plus(effort{count * log2(count) * (step + 2*body.size()), 4 * count * word})
	}
	return scalar(), e
}

// rule bounds what a function returns and the work beyond reading its
// arguments once and writing its result once.
type rule func(args []shape) (shape, effort)

func toScalar([]shape) (shape, effort) { return scalar(), effort{} }

func likeFirst(a []shape) (shape, effort) { return a[0], effort{} }

func firstElement(a []shape) (shape, effort) { return a[0].element(), effort{} }

// anyOf returns one of the arguments or something inside them.
func anyOf(a []shape) (shape, effort) {
	var s shape
	for _, arg := range a {
		s = s.union(arg)
	}
	return s, effort{}
}

func textOf(factor float64) rule {
	return func(a []shape) (shape, effort) { return text(64 + factor*a[0].size()), effort{} }
}

// flat is a list of unknown nesting with that much in it.
func flat(size, count float64) shape { return shape{{size, count}} }

func splitting(a []shape) (shape, effort) {
	n := a[0].size()
	return shape{{word + 3*word*n, n}, {word + n, n}}, effort{}
}

func pairing(a []shape) (shape, effort) {
	n := a[0].size() + a[0].count()*8*word
	return flat(n, n/word), effort{}
}

var rules = map[string]rule{
	"len": toScalar, "abs": toScalar, "ceil": toScalar, "floor": toScalar, "round": toScalar,
	"int": toScalar, "float": toScalar, "mean": toScalar, "bitand": toScalar, "bitor": toScalar, "bitxor": toScalar,
	"bitnand": toScalar, "bitshl": toScalar, "bitshr": toScalar, "bitushr": toScalar, "bitnot": toScalar,
	"indexOf": toScalar, "lastIndexOf": toScalar, "hasPrefix": toScalar, "hasSuffix": toScalar,
	"now": toScalar, "duration": toScalar,
	// A time zone is read from a file of some kilobytes.
	"date":     func([]shape) (shape, effort) { return scalar(), effort{1 << 16, 1 << 14} },
	"timezone": func([]shape) (shape, effort) { return scalar(), effort{1 << 16, 1 << 14} },

	"type": textOf(0), "string": textOf(4), "trim": textOf(1), "trimPrefix": textOf(1), "trimSuffix": textOf(1),
	"upper": textOf(3), "lower": textOf(3), "toBase64": textOf(2), "fromBase64": textOf(1),
	// Every byte may need an escape of six, and every line up to two spaces for
	// each level it is nested.
	"toJSON": func(a []shape) (shape, effort) {
		n := a[0].size()
		return text(64 + 8*n + n*n/64), effort{}
	},
	"fromJSON": func(a []shape) (shape, effort) { return flat(64*a[0].size(), a[0].size()), effort{} },
	"replace": func(a []shape) (shape, effort) {
		return text(a[0].size() + (a[0].size()+1)*a[2].size()), effort{}
	},
	"repeat": func(a []shape) (shape, effort) { return text(a[0].size() * a[1].count()), effort{} },
	"join":   func(a []shape) (shape, effort) { return text(a[0].size() + a[0].count()*a[1].size()), effort{} },
	"split":  splitting, "splitAfter": splitting,

	"max": anyOf, "min": anyOf, "get": firstElement, "first": firstElement, "last": firstElement,
	"median": func(a []shape) (shape, effort) {
		s, _ := anyOf(a)
		return scalar(), effort{s.size() * log2(s.size()), s.size()}
	},
	"take": likeFirst, "reverse": likeFirst, "values": likeFirst,
	"keys":    func(a []shape) (shape, effort) { return append(shape{a[0].at(0)}, text(a[0].size())...), effort{} },
	"toPairs": pairing, "fromPairs": pairing,
	"uniq": func(a []shape) (shape, effort) {
		n := a[0].count()
		return a[0], effort{work: n * n * (step + 2*a[0].element().size())}
	},
	"concat": func(a []shape) (shape, effort) {
		size, count := 0.0, 0.0
		for _, arg := range a {
			size, count = size+arg.size(), count+arg.count()
		}
		s, _ := anyOf(a)
		return s.resized(size, count), effort{}
	},
	"flatten": func(a []shape) (shape, effort) {
		n := a[0].size()
		return flat(n, n/word), effort{work: n, memory: n}
	},
	"sort": func(a []shape) (shape, effort) {
		n := a[0].count()
		return a[0], effort{work: n * log2(n) * (step + 2*a[0].element().size())}
	},
}

// matching bounds a regular expression match: the program has at most as many
// instructions as its pattern expands to, and each byte of the text may visit
// each of them.
func matching(pattern ast.Node, subject, dynamic shape) effort {
	// A pattern that is only known when it runs may repeat each of its
	// characters a thousand times.
	program := dynamic.size() * 1000
	if literal, ok := pattern.(*ast.StringNode); ok {
		re, err := syntax.Parse(literal.Value, syntax.Perl)
		if err != nil {
			return effort{} // the compiler's error
		}
		program = instructions(re)
	}
	return effort{work: program*64 + program*subject.size(), memory: program * 128}
}

func instructions(re *syntax.Regexp) float64 {
	size := 4 + float64(len(re.Rune))
	for _, sub := range re.Sub {
		size += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= float64(max(1, re.Min, re.Max))
	}
	return size
}
