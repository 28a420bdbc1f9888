// Package seal guards what the store keeps: it seals bytes to their place, finds things by a keyed hash of their exact
// name, and keeps its own keys wrapped by a key-encryption key that a [Provider] holds.
//
// Here live the data keys and their rotation, the sealed format, the wrapped keyset document and the providers: a key
// file, a passphrase, Vault transit, AWS KMS and GCP KMS. Elsewhere live the store, what a place looks like, when keys
// are rotated and values sealed anew, and the file that the wrapped document is kept in. DESIGN.md has the formats byte
// by byte and what is not promised.
package seal
