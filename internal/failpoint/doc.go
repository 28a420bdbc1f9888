// Package failpoint ends the process, or fails a step of its work on files, at
// named places: before and after each write, sync, rename and removal.
//
// It is for programs that test what a crash or a broken disk leaves behind. A
// server has it only when it was built with the tag failpoints. [Points.FS] and
// [Points.AuditFS] list the places.
package failpoint
