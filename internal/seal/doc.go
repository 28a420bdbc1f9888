// Package seal encrypts stored data: it seals each value to a place, such as its
// key in the store, so that it opens nowhere else, computes keyed hashes for lookups by exact name, and wraps its keys
// with a key-encryption key from a [Provider].
//
// It implements the data keys and their rotation, the format of a sealed value, the
// wrapped keyset document, and the providers: key file, passphrase, Vault
// transit, AWS KMS and GCP KMS. Other packages decide what a place is, when to
// rotate keys and re-encrypt values, and where to store the wrapped document.
// DESIGN.md specifies the formats byte by byte, and lists what is not
// promised.
package seal
