// Package acl decides what a permission covers: actions, resources and sets
// of permissions, as InfluxDB 2.x defines them. Everything here is a pure
// function of its arguments.
//
// Who has which permissions, and what is done with the answer, is package
// keep's business.
package acl
