package config

import (
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// SealConfig returns the settings of the key-encryption key.
func (c *Config) SealConfig() seal.Config {
	k := &c.Key
	return seal.Config{
		Kind:       k.Provider,
		KeyFile:    c.KeyFile(),
		Passphrase: seal.CredentialFile(k.PassphraseFile),
		Transit: seal.TransitConfig{
			Address: k.TransitAddress, Token: seal.CredentialFile(k.TransitTokenFile),
			Key: k.TransitKey, Mount: k.TransitMount, Namespace: k.TransitNamespace,
		},
		AWSKMS: seal.AWSKMSConfig{KeyARN: k.AWSKMSKey},
		GCPKMS: seal.GCPKMSConfig{Key: k.GCPKMSKey},
	}
}

// KeyFile returns the path of the key-encryption key's file if its kind is
// key-file.
func (c *Config) KeyFile() string {
	if c.Key.File != "" {
		return c.Key.File
	}
	return filepath.Join(c.DataDir, "key")
}

// KeyPlace tells people where the key-encryption key is.
func (c *Config) KeyPlace() string {
	switch c.Key.Provider {
	case seal.KindKeyFile:
		return c.KeyFile()
	case seal.KindPassphrase:
		return "derived from the passphrase in " + c.Key.PassphraseFile
	}
	return c.Key.Provider
}

// NamedFiles returns the files that settings name. They may be in an otherwise
// empty data folder.
func (c *Config) NamedFiles() []string {
	return []string{c.File, c.TLSCert, c.TLSKey, c.Key.File, c.Key.PassphraseFile, c.Key.TransitTokenFile,
		c.Etcd.CA, c.Etcd.Cert, c.Etcd.Key, c.Etcd.PasswordFile}
}
