package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/spf13/cobra"
)

// recovery restores access when every token and password is lost.
type recovery struct{ *offline }

func newRecoverCommand() *cobra.Command {
	r := recovery{newOffline()}
	cmd := group(&cobra.Command{
		Use:   "recover",
		Short: "Restore access when operator tokens and passwords are lost",
		Long: `Restore access when all operator tokens and passwords are lost. These commands need the
data folder of a stopped server and its key-encryption key instead of a token. They are
recorded in the audit log with the protocol "offline".`,
		Example: `  # stop the server first
  fluxkeep recover users --data-dir /var/lib/fluxkeep --key-file /etc/fluxkeep/key
  fluxkeep recover token admin --data-dir /var/lib/fluxkeep --key-file /etc/fluxkeep/key`,
	},
		r.newUsersCommand(),
		r.newTokenCommand(),
		r.newPasswordCommand(),
		r.newActivateCommand(),
	)
	pf := cmd.PersistentFlags()
	r.output.addFlags(cmd, pf)
	addDataFlags(pf, r.config)
	return cmd
}

func (r recovery) newUsersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "users",
		Short:   "List the users",
		Long:    `List all users with their IDs and statuses.`,
		Example: `  fluxkeep recover users --data-dir /var/lib/fluxkeep`,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.open(cmd, func(k *keep.Keep) error {
				users, err := k.Users(cmd.Context(), keep.Offline(), keep.UserFilter{})
				if err != nil {
					return err
				}
				out := make([]client.User, len(users))
				for i, u := range users {
					out[i] = clientUser(u)
				}
				return r.printUsers(cmd, out, out...)
			})
		},
	}
}

func (r recovery) newTokenCommand() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "token USER",
		Short: "Create an operator token for a user",
		Long: `Create an operator token for a user, given by name or ID, and print it. The token may do
everything in all organizations. It is shown only once: the server stores a keyed hash
of it.

--quiet prints only the token.`,
		Example: `  fluxkeep recover token admin --data-dir /var/lib/fluxkeep

  # into a file
  (umask 077 && fluxkeep recover token admin --data-dir /var/lib/fluxkeep --quiet > token)`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withUser(cmd, args[0], func(k *keep.Keep, u keep.User) error {
				t, err := operatorToken(cmd.Context(), k, u, description)
				if err != nil {
					return err
				}
				return r.printNewToken(cmd, client.Token{
					ID: t.ID.String(), Token: t.Value, Status: client.Active, Description: t.Description,
					OrgID: t.Org.String(), Org: t.OrgName, UserID: t.User.String(), User: t.UserName,
					Permissions: operatorPermissions(), CreatedAt: t.Created, UpdatedAt: t.Updated,
				})
			})
		},
	}
	cmd.Flags().StringVarP(&description, "description", "d", "recovered operator token", "`text` that describes it")
	return cmd
}

// operatorToken creates a token for an active user. It belongs to one of the
// user's organizations or, if there are none, to any.
func operatorToken(ctx context.Context, k *keep.Keep, u keep.User, description string) (keep.Token, error) {
	if !u.Active {
		return keep.Token{}, withHint(fmt.Errorf("user %s is inactive, so the token would not work", printable(u.Name)),
			"activate the user first: fluxkeep recover activate %s", u.ID)
	}
	orgs, err := k.Organizations(ctx, keep.Offline(), keep.OrganizationFilter{User: u.ID})
	if err == nil && len(orgs) == 0 {
		orgs, err = k.Organizations(ctx, keep.Offline(), keep.OrganizationFilter{})
	}
	if err != nil {
		return keep.Token{}, err
	}
	if len(orgs) == 0 {
		return keep.Token{}, withHint(errors.New("there is no organization for the token to belong to"),
			"set a password for the user, sign in, and create an organization")
	}
	return k.CreateToken(ctx, keep.Offline(), keep.NewToken{
		Org: orgs[0].ID, User: u.ID, Active: true, Description: description, Permissions: acl.Operator(),
	})
}

func (r recovery) newPasswordCommand() *cobra.Command {
	var in input
	cmd := &cobra.Command{
		Use:   "password USER",
		Short: "Set a new password for a user",
		Long: `Set a new password for a user, given by name or ID, and end the user's sessions. The
password has 8 to 72 characters. It is read from a prompt or, without a terminal, from
standard input.`,
		Example: `  fluxkeep recover password admin --data-dir /var/lib/fluxkeep`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withUser(cmd, args[0], func(k *keep.Keep, u keep.User) error {
				password, err := readPassword(cmd, in)
				if err != nil {
					return err
				}
				if err := k.SetPassword(cmd.Context(), keep.Offline(), u.ID, password); err != nil {
					return err
				}
				r.note(cmd, "User %s has a new password.", printable(u.Name))
				if !u.Active {
					warn(cmd, "user %s is inactive and can't sign in: fluxkeep recover activate %s", printable(u.Name), u.ID)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&in.file, "password-file", "f", "", "`file` with the password; \"-\" for standard input")
	return cmd
}

func (r recovery) newActivateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "activate USER",
		Short:   "Activate a user",
		Long:    `Activate a user. The user's tokens then work again.`,
		Example: `  fluxkeep recover activate admin --data-dir /var/lib/fluxkeep`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withUser(cmd, args[0], func(k *keep.Keep, u keep.User) error {
				u, err := k.UpdateUser(cmd.Context(), keep.Offline(), u.ID, keep.UserUpdate{Active: new(true)})
				if err != nil {
					return err
				}
				return r.printUsers(cmd, clientUser(u), clientUser(u))
			})
		},
	}
}

// open opens the data.
func (r recovery) open(cmd *cobra.Command, do func(*keep.Keep) error) error {
	if err := r.load(); err != nil {
		return err
	}
	err := datadir.Recover(cmd.Context(), r.config, func(ctx context.Context, k *keep.Keep) error {
		cmd.SetContext(ctx)
		return do(k)
	})
	return hintAtFolder(err)
}

// withUser opens the data and finds the user that an argument names.
func (r recovery) withUser(cmd *cobra.Command, ref string, do func(*keep.Keep, keep.User) error) error {
	return r.open(cmd, func(k *keep.Keep) error {
		u, err := findOffline(cmd.Context(), k, ref)
		if errors.Is(err, keep.ErrUserNotFound) {
			return withHint(fmt.Errorf("there is no user %s", printable(ref)), `"fluxkeep recover users" lists them`)
		}
		if err != nil {
			return err
		}
		return do(k, u)
	})
}

// findOffline finds a user by ID or name. A reference that looks like an ID is
// never used as a name.
func findOffline(ctx context.Context, k *keep.Keep, ref string) (keep.User, error) {
	if id, err := acl.ParseID(ref); err == nil {
		return k.User(ctx, keep.Offline(), id)
	}
	if ref == "" || acl.LooksLikeID(ref) { // "" would select all users, and no user has the zero ID
		return keep.User{}, keep.ErrUserNotFound
	}
	users, err := k.Users(ctx, keep.Offline(), keep.UserFilter{Name: ref})
	if err != nil {
		return keep.User{}, err
	}
	return users[0], nil
}

// operatorPermissions cover all resources of each type, so they have no IDs.
func operatorPermissions() []client.Permission {
	var out []client.Permission
	for _, p := range acl.Operator() {
		out = append(out, client.Permission{Action: client.Action(p.Action), Resource: client.Resource{Type: string(p.Resource.Type)}})
	}
	return out
}

func clientUser(u keep.User) client.User {
	status := client.Active
	if !u.Active {
		status = client.Inactive
	}
	return client.User{ID: u.ID.String(), Name: u.Name, Status: status}
}
