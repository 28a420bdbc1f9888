package cli

import (
	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newOrgCommand() *cobra.Command {
	r := &remote{}
	cmd := group(&cobra.Command{
		Use:   "org",
		Short: "Manage organizations and their members",
		Long: `Manage organizations, which own secrets, and their members. Name an organization by
its name or ID; anything that looks like an ID (16 hexadecimal digits) is one.`,
		Example: `  fluxkeep org list
  fluxkeep org create acme --description "the company"
  fluxkeep org members add ann --org acme`,
	},
		newOrgListCommand(r),
		newOrgCreateCommand(r),
		newOrgUpdateCommand(r),
		newOrgDeleteCommand(r),
		newOrgMembersCommand(r),
	)
	r.addTo(cmd)
	return cmd
}

// printOrgs prints organizations; value is their JSON form.
func (r *remote) printOrgs(cmd *cobra.Command, value any, orgs ...client.Organization) error {
	t := table{header: []string{"ID", "NAME", "DESCRIPTION", "CREATED"}}
	for _, o := range orgs {
		t.add(o.ID, o.ID, o.Name, o.Description, formatTime(o.CreatedAt))
	}
	return r.print(cmd, value, &t)
}

func newOrgListCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List organizations",
		Long:    `List the organizations that the token may read. --quiet prints their IDs.`,
		Example: `  fluxkeep org list
  fluxkeep org list --json | jq -r '.[].name'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			orgs, err := s.Organizations(cmd.Context())
			if err != nil {
				return err
			}
			return r.printOrgs(cmd, orEmpty(orgs), orgs...)
		},
	}
}

func newOrgCreateCommand(r *remote) *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an organization",
		Long: `Create an organization. The token must have permission to write all organizations. Its
user becomes the owner.`,
		Example: `  fluxkeep org create acme
  ID=$(fluxkeep org create acme --description "the company" --quiet)`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			org, err := s.CreateOrganization(cmd.Context(), args[0], description)
			if err != nil {
				return err
			}
			return r.printOrgs(cmd, org, org)
		},
	}
	cmd.Flags().StringVarP(&description, "description", "d", "", "`text` that describes it")
	return cmd
}

func newOrgUpdateCommand(r *remote) *cobra.Command {
	var name, description string
	cmd := &cobra.Command{
		Use:   "update ORG",
		Short: "Rename or describe an organization",
		Long: `Change an organization's name or description. Its ID and its secrets stay the same. An
organization that an influxd created is named after its ID until you rename it.`,
		Example: `  fluxkeep org update acme --name acme-industries
  fluxkeep org update acme --description ""`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeOrgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := r.openOrg(cmd, args[0])
			if err != nil {
				return err
			}
			var u client.OrganizationUpdate
			if cmd.Flags().Changed("name") {
				u.Name = &name
			}
			if cmd.Flags().Changed("description") {
				u.Description = &description
			}
			if org, err = s.UpdateOrganization(cmd.Context(), org.ID, u); err != nil {
				return err
			}
			return r.printOrgs(cmd, org, org)
		},
	}
	cmd.Flags().StringVarP(&name, "name", "n", "", "new `name`")
	cmd.Flags().StringVarP(&description, "description", "d", "", "new description `text`")
	cmd.MarkFlagsOneRequired("name", "description")
	return cmd
}

func newOrgDeleteCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete ORG",
		Aliases: []string{"rm"},
		Short:   "Delete an organization with all its secrets",
		Long: `Delete an organization with its memberships and all versions of all its secrets. The
command asks for confirmation unless you give --yes; without a terminal, --yes is
required. This can't be undone.`,
		Example:           `  fluxkeep org delete acme`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeOrgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := r.openOrg(cmd, args[0])
			if err != nil {
				return err
			}
			what := "its secrets"
			if names, err := s.SecretNames(cmd.Context(), org.ID); err == nil {
				what = "its " + count(len(names), "secret")
			}
			if err := confirm(cmd, yes, "Delete organization %s (%s) with %s, for good?", printable(org.Name), org.ID, what); err != nil {
				return err
			}
			if err := s.DeleteOrganization(cmd.Context(), org.ID); err != nil {
				return err
			}
			r.note(cmd, "Deleted organization %s with %s.", printable(org.Name), what)
			return nil
		},
	}
	addYes(cmd, &yes)
	return cmd
}
