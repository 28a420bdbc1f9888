package cli

import (
	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newOrgMembersCommand(r *remote) *cobra.Command {
	return group(&cobra.Command{
		Use:   "members",
		Short: "Manage the members of an organization",
		Long: `Manage the members of the organization given by --org. A member may read its secrets; an
owner may also write them.`,
		Example: `  fluxkeep org members list --org acme
  fluxkeep org members add ann --org acme --owner
  fluxkeep org members remove ann --org acme`,
	},
		newOrgMembersListCommand(r),
		newOrgMembersAddCommand(r),
		newOrgMembersRemoveCommand(r),
	)
}

func newOrgMembersListCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List owners and members",
		Long:    `List the owners and the members of an organization. --quiet prints their IDs.`,
		Example: `  fluxkeep org members list --org acme`,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			members, err := s.Members(cmd.Context(), org.ID)
			if err != nil {
				return err
			}
			t := table{header: []string{"ID", "NAME", "ROLE", "STATUS"}}
			for _, m := range members {
				t.add(m.ID, m.ID, m.Name, string(m.Role), string(m.Status))
			}
			return r.print(cmd, orEmpty(members), &t)
		},
	}
}

// openMember connects and finds the organization and the user of a membership.
func (r *remote) openMember(cmd *cobra.Command, ref string) (*session, client.Organization, client.User, error) {
	s, org, err := r.open(cmd)
	if err != nil {
		return nil, org, client.User{}, err
	}
	user, err := s.findUser(cmd, ref)
	return s, org, user, err
}

func newOrgMembersAddCommand(r *remote) *cobra.Command {
	var owner bool
	cmd := &cobra.Command{
		Use:   "add USER",
		Short: "Add a user as a member or an owner",
		Long: `Add a user, given by name or ID, to an organization as a member or, with --owner, as an
owner.`,
		Example: `  fluxkeep org members add ann --org acme
  fluxkeep org members add ben --org acme --owner`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeUsers),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, user, err := r.openMember(cmd, args[0])
			if err != nil {
				return err
			}
			role := client.RoleMember
			if owner {
				role = client.RoleOwner
			}
			if err := s.AddMember(cmd.Context(), org.ID, user.ID, role); err != nil {
				return err
			}
			r.note(cmd, "%s is now %s of %s.", printable(user.Name), role, printable(org.Name))
			return nil
		},
	}
	cmd.Flags().BoolVar(&owner, "owner", false, "add the user as an owner, who may also write")
	return cmd
}

func newOrgMembersRemoveCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "remove USER",
		Aliases: []string{"rm"},
		Short:   "Remove a user from an organization",
		Long: `Remove a user, given by name or ID, from an organization, whether member or owner. The
user's tokens don't change. The command asks for confirmation unless you give --yes;
without a terminal, --yes is required.`,
		Example:           `  fluxkeep org members remove ann --org acme`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeUsers),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, user, err := r.openMember(cmd, args[0])
			if err != nil {
				return err
			}
			if err := confirm(cmd, yes, "Take %s out of %s?", printable(user.Name), printable(org.Name)); err != nil {
				return err
			}
			// One call removes either role.
			if err := s.RemoveMember(cmd.Context(), org.ID, user.ID, client.RoleMember); err != nil {
				return err
			}
			r.note(cmd, "%s no longer belongs to %s.", printable(user.Name), printable(org.Name))
			return nil
		},
	}
	addYes(cmd, &yes)
	return cmd
}
