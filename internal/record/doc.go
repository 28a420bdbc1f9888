// Package record stores sealed records: it defines their keys, seals and opens
// them, and caches their decoded form.
//
//	DB      a store, the data keys and the time; View and Update run transactions
//	Reader  reads within one transaction
//	Writer  reads and writes within one transaction
//	Table   the first byte of a key; Key and similar functions build the rest
//
// The layers above (keep and the packages below it) get a Reader or a Writer and
// never see a store. They build keys with Key, HashKey, SecretKey and so on, read
// with Load, Reader.OpenJSON, Reader.RequireJSON and Reader.Scan, and change
// records only with the methods of Writer. Permissions, the audit log and the
// meaning of records are up to them.
//
// db.go says how a record is sealed: the key it is stored under is part of its
// associated data, so that a record opens only in its own place.
// Damage to stored data is a DamageError, which names the record by kind and IDs,
// never by content.
package record
