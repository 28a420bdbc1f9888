package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// registerOp is an operation on one key.
type registerOp struct {
	kind  opKind
	key   string
	value string // value to write
	old   string // value that compare-and-set expects
}

type opKind int

const (
	opRead opKind = iota
	opWrite
	opDelete
	opCompareAndSet
	opAppend // reads, appends value and writes the result
)

// registerResult is the result of an operation.
type registerResult struct {
	value string // value read, "" if none
	ok    bool   // compare-and-set: the value was as expected
	// unknown: the operation failed, and may or may not have taken effect.
	unknown bool
}

// registers is the model: each key is an independent register.
func registers() porcupine.Model {
	nm := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			for _, op := range history {
				k := op.Input.(registerOp).key
				byKey[k] = append(byKey[k], op)
			}
			var parts [][]porcupine.Operation
			for _, p := range byKey {
				parts = append(parts, p)
			}
			return parts
		},
		Init: func() []any { return []any{""} },
		Step: func(state, input, output any) []any {
			cur, op, res := state.(string), input.(registerOp), output.(registerResult)
			next := cur
			switch op.kind {
			case opRead:
				if !res.unknown && res.value != cur {
					return nil
				}
			case opWrite:
				next = op.value
			case opDelete:
				next = ""
			case opCompareAndSet:
				if !res.unknown && res.ok != (cur == op.old) {
					return nil
				}
				if cur == op.old {
					next = op.value
				}
			case opAppend:
				if !res.unknown && res.value != cur {
					return nil
				}
				next = cur + op.value
			}
			if res.unknown && next != cur {
				return []any{cur, next}
			}
			return []any{next}
		},
		Equal: func(a, b any) bool { return a == b },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v -> %+v", input, output)
		},
	}
	return nm.ToModel()
}

// run does op on s.
func (op registerOp) run(ctx context.Context, s store.Store) (res registerResult, err error) {
	key := []byte(op.key)
	if op.kind == opRead {
		err = s.View(ctx, func(r store.Reader) error {
			var err error
			res.value, _, err = get(r, op.key)
			return err
		})
		return res, err
	}
	err = s.Update(ctx, func(tx store.Tx) error {
		cur, _, err := get(tx, op.key)
		if err != nil {
			return err
		}
		res = registerResult{value: cur}
		switch op.kind {
		case opWrite:
			return tx.Set(key, []byte(op.value))
		case opDelete:
			return tx.Delete(key)
		case opCompareAndSet:
			if res.ok = cur == op.old; !res.ok {
				return nil
			}
			return tx.Set(key, []byte(op.value))
		default:
			return tx.Set(key, []byte(cur+op.value))
		}
	})
	if errors.Is(err, store.ErrUnavailable) {
		return registerResult{unknown: true}, nil
	}
	return res, err
}

func testLinearizable(t *testing.T, o Opener) {
	CheckLinearizable(t, MustOpen(t, o), 16, 60)
}

// CheckLinearizable runs ops operations in each of several workers on a few
// keys of s, where changes may fail with store.ErrUnavailable, and checks that
// some order of all operations explains every result.
func CheckLinearizable(tb testing.TB, s store.Store, workers, ops int) {
	tb.Helper()
	seeds := newRand(tb)
	start := time.Now()
	histories := make([][]porcupine.Operation, workers)
	var wg sync.WaitGroup
	for w := range workers {
		seed := seeds.Uint64()
		wg.Go(func() {
			rng := randFrom(seed)
			for i := range ops {
				op := registerOp{
					kind:  opKind(rng.IntN(5)),
					key:   "lin/" + strconv.Itoa(rng.IntN(4)),
					value: fmt.Sprintf("%d.%d;", w, i),
				}
				if op.kind == opCompareAndSet && rng.IntN(4) > 0 {
					// Expect the current value, so that some succeed.
					res, err := registerOp{kind: opRead, key: op.key}.run(tb.Context(), s)
					if err != nil {
						tb.Errorf("read: %v", err)
						return
					}
					op.old = res.value
				}
				call := time.Since(start).Nanoseconds()
				res, err := op.run(tb.Context(), s)
				if err != nil {
					tb.Errorf("%+v: %v", op, err)
					return
				}
				end := time.Since(start).Nanoseconds()
				if res.unknown {
					// It may take effect at any later time.
					end = time.Hour.Nanoseconds()
				}
				histories[w] = append(histories[w], porcupine.Operation{
					ClientId: w, Input: op, Call: call, Output: res, Return: end,
				})
			}
		})
	}
	wg.Wait()
	var all []porcupine.Operation
	for _, h := range histories {
		all = append(all, h...)
	}
	switch porcupine.CheckOperationsTimeout(registers(), all, time.Minute) {
	case porcupine.Illegal:
		tb.Errorf("no order of the %d operations explains their results", len(all))
	case porcupine.Unknown:
		tb.Logf("%d operations were too many to check in a minute", len(all))
	}
}
