// Package failpoint kills the process or makes file operations fail at named
// points: before and after each write, sync, rename and removal. It can also kill
// the process before and after the changes to a store.
//
// Tests use it to find out what a crash or a broken disk leaves behind. It is
// part of a server only when built with the tag failpoints. [Points.FS],
// [Points.AuditFS] and [Points.Store] list the points.
package failpoint
