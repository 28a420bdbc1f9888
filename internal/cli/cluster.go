package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/spf13/cobra"
)

func newClusterCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "cluster",
		Short: "Operate servers that share their data in etcd",
		Long: `Operate servers that share their data in an etcd cluster ("fluxkeep serve --store etcd").
All servers are equal: requests can go to any of them.`,
		Example: `  fluxkeep cluster status`,
	},
		newClusterStatusCommand(),
		newAcceptRestoredCommand(),
	)
}

func newClusterStatusCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the servers and the members of etcd",
		Long: `Show the servers that are running, how many groups of changes each still lacked when it
last reported, by how much its clock is ahead of the other servers', and which one does
the background work. Below them are the members of etcd with the size of
their databases. The exit status is 1 if a member doesn't answer or etcd raises an alarm.
This needs an operator token.`,
		Example: `  fluxkeep cluster status
  fluxkeep cluster status --json | jq '.servers[].address'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			status, err := s.Cluster(cmd.Context())
			if err != nil {
				return err
			}
			return r.printCluster(cmd, status)
		},
	}
	r.addToOperator(cmd)
	return cmd
}

func (r *remote) printCluster(cmd *cobra.Command, s client.Cluster) error {
	servers := table{header: []string{"SERVER", "NAME", "ADDRESS", "VERSION", "SINCE", "BEHIND", "CLOCK", "LEADS"}}
	for _, v := range s.Servers {
		behind, skew, leads := "?", "?", ""
		if v.Behind != nil {
			behind = fmt.Sprint(*v.Behind)
		}
		if v.ClockSkew != nil {
			skew = fmt.Sprintf("%+.1fs", *v.ClockSkew)
		}
		if v.Leads {
			leads = "yes"
		}
		servers.add(v.ID, v.ID, v.Name, v.Address, v.Version, formatTime(v.Since), behind, skew, leads)
	}
	if len(s.Servers) == 0 && !r.structured() {
		r.note(cmd, "The server shares its data with no other.")
		return nil
	}
	if err := r.print(cmd, s, &servers); err != nil {
		return err
	}
	silent := 0
	members := table{header: []string{"ETCD MEMBER", "ENDPOINT", "VERSION", "SIZE", "QUOTA", "STATE"}}
	for _, m := range s.Members {
		state, size, quota := "follows", megabytes(m.Size), "?"
		switch {
		case m.Error != "":
			state, size = m.Error, "?"
			silent++
		case m.Leader:
			state = "leads"
		}
		if m.Quota > 0 {
			quota = megabytes(m.Quota)
		}
		members.add(m.Endpoint, m.Name, m.Endpoint, m.Version, size, quota, state)
	}
	if !r.structured() && !r.quiet {
		fmt.Fprintln(cmd.OutOrStdout())
		if err := r.print(cmd, s, &members); err != nil {
			return err
		}
	}
	switch {
	case len(s.Alarms) > 0:
		return withHint(fmt.Errorf("etcd raises an alarm: %s", strings.Join(s.Alarms, ", ")), "docs/cluster.md says what to do about each")
	case silent > 0:
		return fmt.Errorf("%s of etcd can't be reached", count(silent, "member"))
	}
	return nil
}

func newAcceptRestoredCommand() *cobra.Command {
	var yes bool
	o := newOffline()
	cmd := &cobra.Command{
		Use:   "accept-restored",
		Short: "Accept that etcd was restored to an older state",
		Long: `Make servers accept an etcd that was restored from one of its own snapshots, or that has
lost changes in another way. Until then, all servers refuse all work, because what they
have acknowledged may be missing: changed secrets may be old, and tokens that were deleted
may be valid again.

First look at what is there. "fluxkeep doctor --store etcd" checks that it is complete, and
the audit logs of the servers say what was changed after the snapshot. Then stop one server
and run this command with its data folder, whose copy shows what etcd has lost. The others
go on by themselves.`,
		Example: `  fluxkeep cluster accept-restored --data-dir /var/lib/fluxkeep \
    --etcd-endpoints https://10.0.0.1:2379`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// There is no other store for which it makes sense.
			if err := cmd.Flags().Set("store", config.StoreEtcd); err != nil {
				return err
			}
			if err := o.load(); err != nil {
				return err
			}
			if err := confirm(cmd, yes, "Accept the state of etcd at %s?", strings.Join(o.config.Etcd.Endpoints, ", ")); err != nil {
				return err
			}
			err := datadir.AcceptRestored(cmd.Context(), o.config)
			if errors.Is(err, datadir.ErrLocked) {
				return withHint(err, "stop this server first; the others may run")
			}
			if err == nil {
				o.note(cmd, "The state of etcd is accepted.")
			}
			return err
		},
	}
	addYes(cmd, &yes)
	addStoreFlags(cmd.Flags(), o.config)
	addServerFlags(cmd.Flags(), o.config, "config", "data-dir")
	return cmd
}
