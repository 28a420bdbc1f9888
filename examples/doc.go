// Package examples has the tests of the examples that need large modules, which the
// program doesn't depend on. The tests of the others are in e2e.
package examples
