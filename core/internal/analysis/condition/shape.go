package condition

import "slices"

// shape bounds a value from above: level 0 the value itself, level i everything
// that lies i levels inside it. What lies deeper than the last level is bounded
// by the last level.
type shape []level

type level struct {
	// size is the memory of a value with all it contains, in bytes, where a
	// number is a word.
	size float64
	// count is the number of elements of a list or map.
	count float64
}

// maxLevels is how far a measured value is looked into; below that, bounds are
// only coarser.
const maxLevels = 8

func scalar() shape { return shape{{size: word}} }

// text counts its bytes as elements: a loop over a text whose type is only known
// when it runs goes over its bytes.
func text(bytes float64) shape { return shape{{size: word + bytes, count: bytes}} }

func list(count float64, element shape) shape {
	return append(shape{{size: word + count*(element.size()+word), count: count}}, element...)
}

func (s shape) at(i int) level {
	if len(s) == 0 {
		return level{size: word}
	}
	return s[min(i, len(s)-1)]
}

// isScalar reports that the value is no list, map or text with content.
func (s shape) isScalar() bool { return s.count() == 0 && s.size() <= word }

func (s shape) size() float64 { return s.at(0).size }

func (s shape) count() float64 { return s.at(0).count }

// element bounds every element. A text has no deeper level of its own; its
// parts are bounded by the whole.
func (s shape) element() shape {
	if len(s) <= 1 {
		return s
	}
	return s[1:]
}

func (s shape) union(o shape) shape {
	if len(s) == 0 {
		return o
	}
	if len(o) == 0 {
		return s
	}
	u := make(shape, min(max(len(s), len(o)), maxLevels))
	for i := range u {
		a, b := s.at(i), o.at(i)
		u[i] = level{max(a.size, b.size), max(a.count, b.count)}
	}
	if max(len(s), len(o)) > maxLevels {
		// What was cut off lies inside the last level, so it is not larger.
		last := &u[maxLevels-1]
		last.count = max(last.count, last.size/word)
	}
	return u
}

func (s shape) resized(size, count float64) shape {
	r := slices.Clone(s)
	if len(r) == 0 {
		r = scalar()
	}
	r[0] = level{size, count}
	return r
}

func (s shape) grown(bytes float64) shape {
	return s.resized(s.size()+bytes, s.count())
}

func (s shape) equal(o shape) bool { return slices.Equal(s, o) }

// shapeOf measures a value exactly, down to maxLevels.
func shapeOf(v any) shape {
	s := shape{}
	measure(v, 0, &s)
	return s
}

func measure(v any, depth int, s *shape) float64 {
	size, count := float64(word), 0.0
	each := func(element any) {
		size += word + measure(element, depth+1, s)
		count++
	}
	switch v := v.(type) {
	case string:
		count = float64(len(v))
		size += count
	case []float64:
		size += float64(len(v)) * 2 * word
		count = float64(len(v))
		if len(v) > 0 {
			s.raise(depth+1, level{size: word})
		}
	case []any:
		for _, element := range v {
			each(element)
		}
	case map[string]any:
		for key, element := range v {
			size += float64(len(key))
			each(element)
		}
	}
	s.raise(depth, level{size, count})
	return size
}

func (s *shape) raise(depth int, l level) {
	depth = min(depth, maxLevels-1)
	for len(*s) <= depth {
		*s = append(*s, level{size: word})
	}
	at := &(*s)[depth]
	at.size, at.count = max(at.size, l.size), max(at.count, l.count)
}
