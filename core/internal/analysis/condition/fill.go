package condition

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// placeholder is what stands for an argument: "{{args.name}}", blanks allowed.
var placeholder = regexp.MustCompile(`\{\{.*?\}\}`)

var literal = regexp.MustCompile(`^(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false)$`)

// Fill puts arguments into a condition such as "result < {{args.limit}}". An
// argument is a number or a boolean, or text where the placeholder stands
// inside quotes; nothing else, and in no way can it change what the expression
// means beyond that one literal. Lookup gets what stands between the braces,
// trimmed.
func Fill(source string, lookup func(name string) (string, error)) (string, error) {
	spots := placeholder.FindAllStringIndex(source, -1)
	if spots == nil {
		return source, nil
	}
	var filled, neutral strings.Builder
	quote, last := byte(0), 0
	for _, spot := range spots {
		between := source[last:spot[0]]
		quote = quoteAfter(quote, between)
		name := strings.TrimSpace(source[spot[0]+2 : spot[1]-2])
		value, err := lookup(name)
		if err != nil {
			return "", err
		}
		written, err := asLiteral(value, quote)
		if err != nil {
			return "", fmt.Errorf("%s %w", name, err)
		}
		filled.WriteString(between + written)
		neutral.WriteString(between + zero(quote))
		last = spot[1]
	}
	filled.WriteString(source[last:])
	neutral.WriteString(source[last:])
	return filled.String(), sameShape(neutral.String(), filled.String())
}

// quoteAfter follows quotes through a piece of source: the quote that is open
// behind it, 0 for none.
func quoteAfter(open byte, piece string) byte {
	for i := 0; i < len(piece); i++ {
		switch c := piece[i]; {
		case open == 0 && (c == '\'' || c == '"' || c == '`'):
			open = c
		case open != 0 && open != '`' && c == '\\':
			i++
		case c == open:
			open = 0
		}
	}
	return open
}

func asLiteral(value string, quote byte) (string, error) {
	switch {
	case quote == '`' && strings.ContainsRune(value, '`'):
		return "", errors.New("may not contain a backquote here")
	case quote == '`':
		return value, nil
	case quote != 0:
		escaped := strconv.Quote(value)
		escaped = escaped[1 : len(escaped)-1]
		if quote == '\'' {
			escaped = strings.ReplaceAll(strings.ReplaceAll(escaped, `\"`, `"`), `'`, `\'`)
		}
		return escaped, nil
	}
	// Around a number blanks mean nothing, and files kept in a Secret tend to
	// end in a line break.
	value = strings.TrimSpace(value)
	switch {
	case !literal.MatchString(value):
		return "", fmt.Errorf("is %q; outside of quotes only a number, true or false can be used", value)
	case strings.HasPrefix(value, "-"):
		return "(" + value + ")", nil
	}
	// The blanks keep it from growing together with its neighbours.
	return " " + value + " ", nil
}

func zero(quote byte) string {
	if quote != 0 {
		return ""
	}
	return " 0 "
}

// sameShape is the guarantee behind Fill, independent of how well quotes were
// followed: with the arguments replaced by nothing or 0 the condition has the
// same syntax tree, but for the literals.
func sameShape(neutral, filled string) error {
	template, err := parse(neutral)
	if err != nil {
		return fmt.Errorf("is malformed around its arguments: %w", err)
	}
	result, err := parse(filled)
	if err != nil {
		return fmt.Errorf("is malformed with its arguments: %w", err)
	}
	if outline(template) != outline(result) {
		return errors.New("would mean something else with these arguments")
	}
	return nil
}

// outline writes a syntax tree with every literal as "_".
func outline(n ast.Node) string {
	var b strings.Builder
	sketch(&b, reflect.ValueOf(n))
	return b.String()
}

func sketch(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		if n, ok := v.Interface().(ast.Node); ok && isLiteral(n) {
			b.WriteString("_")
			return
		}
		sketch(b, v.Elem())
	case reflect.Slice:
		b.WriteString("[")
		for i := range v.Len() {
			sketch(b, v.Index(i))
			b.WriteString(",")
		}
		b.WriteString("]")
	case reflect.Struct:
		b.WriteString(v.Type().Name() + "(")
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				sketch(b, v.Field(i))
				b.WriteString(",")
			}
		}
		b.WriteString(")")
	default:
		fmt.Fprintf(b, "%v", v.Interface())
	}
}

func isLiteral(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
		return true
	case *ast.UnaryNode:
		switch n.Node.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			return n.Operator == "-"
		}
	}
	return false
}
