package keep

import "slices"

// Page selects a part of a list, which is in the order of IDs.
type Page struct {
	Offset     int
	Limit      int // 0: no limit
	After      ID
	Descending bool
}

// cut applies a page to a list that is sorted by ID.
func cut[T any](p Page, list []T, id func(T) ID) []T {
	out := list[:0:0]
	for _, v := range list {
		if p.After == 0 || (!p.Descending && id(v) > p.After) || (p.Descending && id(v) < p.After) {
			out = append(out, v)
		}
	}
	if p.Descending {
		slices.Reverse(out)
	}
	out = out[min(max(p.Offset, 0), len(out)):]
	if p.Limit > 0 && len(out) > p.Limit {
		out = out[:p.Limit]
	}
	return out
}
