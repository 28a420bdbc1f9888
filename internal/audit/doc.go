// Package audit keeps the audit log: one JSON line for each access, each line
// numbered and carrying the SHA-256 hash of the line before, in a file that is
// only ever appended to.
//
//	{"seq":7,"prev":"9f86d0…","id":"68e3…","time":"2026-03-01T09:30:00.5Z","action":"secrets.write","outcome":"allowed",…}
//
// A [Record] says what happened. A [Log] writes records and continues the chain
// over restarts and over rotated files. [Verify] proves that no line of a log
// was changed, removed or put in between, and [Tail] reads its end.
//
// What to record, when a record has to be there, and what happens when it can't
// be written is decided by the domain, which is the only caller that writes.
// Nothing here knows of secrets, permissions or stores; records hold metadata
// alone. DESIGN.md says what the chain proves and what it can't.
package audit
