package keep

import "sync"

// recent is a map that forgets what was not used for long, so that it needs no
// more memory than for twice as many entries as it is made for.
type recent[K comparable, V any] struct {
	size int // the number of entries that are enough

	mu sync.RWMutex
	// What is found in old moves to young. When young is full it becomes old,
	// and what was in old is forgotten.
	young, old map[K]V
}

func (r *recent[K, V]) get(k K) (V, bool) {
	r.mu.RLock()
	v, ok := r.young[k]
	if ok || r.old == nil {
		r.mu.RUnlock()
		return v, ok
	}
	v, ok = r.old[k]
	r.mu.RUnlock()
	if ok {
		r.promote(k)
	}
	return v, ok
}

// promote moves what is still in old, unless it was put again meanwhile.
func (r *recent[K, V]) promote(k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.old[k]
	if _, newer := r.young[k]; ok && !newer {
		r.add(k, v)
	}
}

func (r *recent[K, V]) put(k K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(k, v)
}

func (r *recent[K, V]) add(k K, v V) {
	if r.young == nil || len(r.young) >= r.size {
		r.young, r.old = make(map[K]V), r.young
	}
	delete(r.old, k)
	r.young[k] = v
}

func (r *recent[K, V]) forget(k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, k)
	delete(r.old, k)
}
