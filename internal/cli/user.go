package cli

import (
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newUserCommand() *cobra.Command {
	r := &remote{}
	cmd := group(&cobra.Command{
		Use:   "user",
		Short: "Manage users",
		Long: `Manage users, who sign in and own tokens. Give a user by name or ID. Inactive users
can't sign in, and their tokens don't work.`,
		Example: `  fluxkeep user list
  fluxkeep user create ann --role member --org acme
  fluxkeep user password ann
  fluxkeep user deactivate ann`,
	},
		newUserListCommand(r),
		newUserCreateCommand(r),
		newUserPasswordCommand(r),
		newUserStatusCommand(r, client.Active),
		newUserStatusCommand(r, client.Inactive),
		newUserDeleteCommand(r),
	)
	r.addTo(cmd)
	return cmd
}

func (o *output) printUsers(cmd *cobra.Command, value any, users ...client.User) error {
	t := table{header: []string{"ID", "NAME", "STATUS"}}
	for _, u := range users {
		t.add(u.ID, u.ID, u.Name, string(u.Status))
	}
	return o.print(cmd, value, &t)
}

func newUserListCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List users",
		Long:    `List the users that you may read. --quiet prints their IDs.`,
		Example: `  fluxkeep user list
  fluxkeep user list --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			users, err := s.Users(cmd.Context())
			if err != nil {
				return err
			}
			return r.printUsers(cmd, orEmpty(users), users...)
		},
	}
}

type userCreate struct {
	r          *remote
	password   input
	noPassword bool
	role       string
}

func newUserCreateCommand(r *remote) *cobra.Command {
	u := userCreate{r: r}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a user",
		Long: `Create a user with a password of 8 to 72 characters. The password is read from a prompt
or, without a terminal, from standard input. With --no-password, the user can't sign in
and only owns tokens.

--role makes the user a member or an owner of the organization given by --org.`,
		Example: `  fluxkeep user create ann
  fluxkeep user create ann --role owner --org acme
  fluxkeep user create telegraf --no-password`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return u.run(cmd, args[0]) },
	}
	cmd.Flags().StringVarP(&u.password.file, "password-file", "f", "", "`file` with the password; \"-\" for standard input")
	cmd.Flags().BoolVar(&u.noPassword, "no-password", false, "create the user without a password")
	cmd.Flags().StringVar(&u.role, "role", "", "`role` in the organization: member or owner (default none)")
	cmd.MarkFlagsMutuallyExclusive("password-file", "no-password")
	completeValues(cmd, "role", string(client.RoleMember), string(client.RoleOwner))
	return cmd
}

func (u *userCreate) run(cmd *cobra.Command, name string) error {
	role := client.Role(u.role)
	if role != "" && role != client.RoleMember && role != client.RoleOwner {
		return usageError(cmd, fmt.Errorf("there is no role %q: it is member or owner", u.role))
	}
	if role == "" && (cmd.Flags().Changed("org") || cmd.Flags().Changed("org-id")) {
		return usageError(cmd, errors.New("a user belongs to an organization only with --role: member or owner"))
	}
	s, err := u.r.connect(cmd)
	if err != nil {
		return err
	}
	var org client.Organization
	if role != "" {
		if org, err = s.organization(cmd); err != nil {
			return err
		}
	}
	var password string
	if !u.noPassword {
		if password, err = readPassword(cmd, u.password); err != nil {
			return err
		}
	}
	user, err := s.CreateUser(cmd.Context(), name)
	if err != nil {
		return err
	}
	if !u.noPassword {
		if err := s.SetPassword(cmd.Context(), user.ID, password); err != nil {
			return unfinished(err, "the user was made, but has no password", "fluxkeep user password "+user.ID)
		}
	}
	if role != "" {
		if err := s.AddMember(cmd.Context(), org.ID, user.ID, role); err != nil {
			return unfinished(err, "the user was made, but does not belong to the organization", "fluxkeep org members add "+user.ID)
		}
	}
	return u.r.printUsers(cmd, user, user)
}

// unfinished says how to go on after a command that did only its first part.
func unfinished(err error, what, next string) error {
	return withHint(fmt.Errorf("%s: %w", what, err), "try that part again: %s", next)
}

// readPassword reads a password, and knows what the server will say to it.
func readPassword(cmd *cobra.Command, in input) (string, error) {
	p, err := in.readCredential(cmd, "Password", true)
	if err == nil && (len(p) < 8 || len(p) > 72) {
		err = errors.New("passwords must be between 8 and 72 characters long")
	}
	return p, err
}

func newUserPasswordCommand(r *remote) *cobra.Command {
	var in input
	cmd := &cobra.Command{
		Use:   "password USER",
		Short: "Set a new password for a user",
		Long: `Set a new password for a user and end the user's sessions. The password has 8 to 72
characters. It is read from a prompt or, without a terminal, from standard input.`,
		Example: `  fluxkeep user password ann
  pwgen 20 1 | fluxkeep user password ann`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeUsers),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, user, err := r.openUser(cmd, args[0])
			if err != nil {
				return err
			}
			password, err := readPassword(cmd, in)
			if err != nil {
				return err
			}
			if err := s.SetPassword(cmd.Context(), user.ID, password); err != nil {
				return err
			}
			r.note(cmd, "User %s has a new password.", printable(user.Name))
			return nil
		},
	}
	cmd.Flags().StringVarP(&in.file, "password-file", "f", "", "`file` with the password; \"-\" for standard input")
	return cmd
}

// notOneself refuses to lock out the user of the token in use: if that user is
// the only operator, nobody else could undo it.
func (s *session) notOneself(cmd *cobra.Command, user client.User, yes bool) error {
	if yes {
		return nil
	}
	me, err := s.Me(cmd.Context())
	if err != nil || me.ID != user.ID {
		return err
	}
	return withHint(fmt.Errorf("%s is the user of the token that you use, which would stop working", printable(user.Name)),
		"use the token of another operator, or give --yes")
}

// newUserStatusCommand returns the command that activates or deactivates users.
func newUserStatusCommand(r *remote, status client.Status) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "activate USER",
		Short:             "Activate a user",
		Long:              `Activate a user. The user's tokens then work again.`,
		Example:           `  fluxkeep user activate ann`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeUsers),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, user, err := r.openUser(cmd, args[0])
			if err != nil {
				return err
			}
			if status == client.Inactive {
				if err := s.notOneself(cmd, user, yes); err != nil {
					return err
				}
			}
			if user, err = s.UpdateUser(cmd.Context(), user.ID, client.UserUpdate{Status: &status}); err != nil {
				return err
			}
			return r.printUsers(cmd, user, user)
		},
	}
	if status == client.Inactive {
		cmd.Use, cmd.Short = "deactivate USER", "Deactivate a user"
		cmd.Long = `Deactivate a user: sign-in, sessions and all of the user's tokens stop working until
"fluxkeep user activate". The command refuses to deactivate the user of the token that
you use, unless you give --yes.`
		cmd.Example = `  fluxkeep user deactivate ann`
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "allow deactivating the user of the token that you use")
	}
	return cmd
}

func newUserDeleteCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete USER",
		Aliases: []string{"rm"},
		Short:   "Delete a user",
		Long: `Delete a user. The user's tokens stop working. This can't be undone, unlike "fluxkeep
user deactivate". The command asks for confirmation unless you give --yes; without a
terminal, --yes is required.`,
		Example:           `  fluxkeep user delete ann`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeUsers),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, user, err := r.openUser(cmd, args[0])
			if err != nil {
				return err
			}
			if err := s.notOneself(cmd, user, yes); err != nil {
				return err
			}
			if err := confirm(cmd, yes, "Delete user %s (%s), for good?", printable(user.Name), user.ID); err != nil {
				return err
			}
			if err := s.DeleteUser(cmd.Context(), user.ID); err != nil {
				return err
			}
			r.note(cmd, "Deleted user %s.", printable(user.Name))
			return nil
		},
	}
	addYes(cmd, &yes)
	return cmd
}
