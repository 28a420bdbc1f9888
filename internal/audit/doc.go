// Package audit implements the audit log: one JSON line for each access, in an
// append-only file that is rotated. Each line has a number and the SHA-256 hash
// of the previous line.
//
//	{"seq":7,"prev":"9f86d0…","id":"68e3…","time":"2026-03-01T09:30:00.5Z","action":"secrets.write","outcome":"allowed",…}
//
// A [Record] describes an access. A [Log] writes records, and continues the
// chain across restarts and rotated files. [Verify] proves that no line of a
// log was changed, removed or inserted. [Tail] reads the end of a log, and
// [Find] selects lines. Servers that share a store have a log each, and
// [VerifyTogether] checks that they agree.
//
// The domain (package keep) is the only caller that writes. It decides what to
// record, when a record is required, and what to do when the log cannot be
// written. This package knows nothing about secrets, permissions or stores;
// records contain only metadata. DESIGN.md explains what the chain can and cannot
// prove.
package audit
