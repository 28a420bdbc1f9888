package influxv2

import (
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func (c *call) listSecrets() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	names, err := c.keep.SecretNames(c.ctx(), c.caller, org)
	if err != nil {
		return hideOrganization(err)
	}
	return c.respondBuffered(func(b []byte, send httpapi.Sender) []byte {
		return appendSecretList(b, send, org, names)
	})
}

func (c *call) patchSecrets() error {
	return c.changeFromBody(func(body []byte) (ch keep.Change, err error) {
		ch.Set, err = decodeSecrets(body)
		return ch, err
	})
}

func (c *call) deleteSecret() error { return c.deleteNamed(c.r.PathValue("secretID")) }

func (c *call) deleteNamed(name string) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	return c.change(org, keep.Change{Remove: []string{name}})
}

func (c *call) deleteSecrets() error {
	return c.changeFromBody(func(body []byte) (ch keep.Change, err error) {
		ch.Remove, err = decodeNames(body)
		return ch, err
	})
}

func (c *call) changeFromBody(decode func(body []byte) (keep.Change, error)) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	body, err := c.secretsBody(org)
	if err != nil {
		return err
	}
	ch, err := decode(body)
	if err != nil {
		return c.invalidRequest(org, err)
	}
	return c.change(org, ch)
}

// secretsBody reads the body of a write to an organization's secrets. InfluxDB
// checks the body before the permission, so it reads a small body from any
// authenticated caller, and a large one only from those who may write.
func (c *call) secretsBody(org keep.ID) ([]byte, error) {
	if c.mayWrite(org) {
		body, err := c.readBody(maxSecretsBody)
		if err != nil {
			return nil, c.invalidRequest(org, err)
		}
		return body, nil
	}
	body, err := []byte(nil), httpapi.ErrTooLarge
	if c.caller.Active() {
		body, err = c.readBody(maxSmallBody)
	}
	switch {
	case errors.Is(err, httpapi.ErrTooLarge):
		if refusal := c.allowWrite(org); refusal != nil {
			return nil, refusal
		}
		return nil, err
	case err != nil:
		return nil, c.invalidRequest(org, err)
	}
	return body, nil
}

// change makes a change and responds as InfluxDB does: without a body.
func (c *call) change(org keep.ID, ch keep.Change) error {
	if _, err := c.keep.Change(c.ctx(), c.caller, org, ch); err != nil {
		return hideOrganization(err)
	}
	return c.noContent()
}
