// Package record keeps sealed records in a store: it knows how their keys are
// made, seals and opens them, and remembers what they decode to.
//
//	DB      a store with its keys and the time; View and Update run transactions
//	Reader  reads within one transaction
//	Writer  reads and writes within one transaction
//	Table   the first byte of a key; Key and its kind make the rest
//
// Layers above (keep, and what it is made of) get a Reader or a Writer from
// the caller and never see a store. They build keys with Key, HashKey,
// SecretKey and so on, read with Load, Reader.OpenJSON, Reader.RequireJSON and
// Reader.Scan, and write with the methods of Writer, through which every
// change of a record goes. Rights, the audit log and the meaning of a record
// are not known here.
//
// Stored bytes that can't be right are a DamageError, which names the record
// by kind and IDs and never by content.
package record
