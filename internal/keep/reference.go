package keep

import "context"

// References returns a function that returns the reference of a secret's name: 16
// characters that replace the name where it must not be seen, as in a URL. Only
// the server can tell which name it is. A reference stays valid for as long as the
// organization's secrets are not deleted with all their versions. Needs read on the
// organization's secrets. Only refusals are audited, as by SecretName.
func (k *Keep) References(ctx context.Context, c Caller, org ID) (of func(name string) string, err error) {
	err = k.prepareSecrets(ctx, c, org, func(m *knownMap) error {
		of = m.References()
		return nil
	})
	return of, err
}

// SecretName returns the name that a reference belongs to. The secret may have been
// deleted, as long as a stored version has it. For a name that the caller can't see,
// the error is the same as for an unknown reference: ErrSecretNotFound. Needs read on
// the organization's secrets. Only refusals are audited: the action that follows has
// its own record.
func (k *Keep) SecretName(ctx context.Context, c Caller, org ID, reference string) (name string, err error) {
	err = k.prepareSecrets(ctx, c, org, func(m *knownMap) (err error) {
		name, err = m.named(reference)
		return err
	})
	return name, err
}

// named returns the name that a reference belongs to, or ErrSecretNotFound.
func (m *knownMap) named(reference string) (string, error) {
	name, ok, err := m.Referenced(reference)
	if err == nil && (!ok || !m.c.sees(name)) {
		err = ErrSecretNotFound
	}
	if err != nil {
		return "", err
	}
	return name, nil
}

// prepareSecrets reads an organization's secrets in preparation for an action.
func (k *Keep) prepareSecrets(ctx context.Context, c Caller, org ID, fn func(*knownMap) error) error {
	if err := k.requireAuditLog(&c, "secrets.find", org); err != nil {
		return err
	}
	err := k.readUnaudited(ctx, func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		return fn(m)
	})
	if err == nil {
		return nil
	}
	return k.recordOutcome(c.record("secrets.find", org), k.now(), domain(err))
}
