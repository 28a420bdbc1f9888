package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion {bash|zsh|fish|powershell}",
		Short: "Print a script that completes commands in a shell",
		Long: `Print a script that lets a shell complete fluxkeep's commands and flags, and the names
of organizations, secrets, users and tokens. Names come from the server, with the token
that the command would use.`,
		Example: `  # bash: this session, then all sessions (needs the package bash-completion)
  source <(fluxkeep completion bash)
  fluxkeep completion bash > /etc/bash_completion.d/fluxkeep

  # zsh
  fluxkeep completion zsh > "${fpath[1]}/_fluxkeep"

  # fish
  fluxkeep completion fish > ~/.config/fish/completions/fluxkeep.fish

  # PowerShell
  fluxkeep completion powershell | Out-String | Invoke-Expression`,
		Args:                  arguments(1, 1),
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			return usageError(cmd, fmt.Errorf("there is no script for %q", args[0]))
		},
	}
}

// completionTime is how long a user waits after pressing the tab key.
const completionTime = 3 * time.Second

type completion = func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective)

// complete completes with names from the server. If the server doesn't answer
// in time, there are no completions.
func (r *remote) complete(cmd *cobra.Command, ask func(context.Context, *session) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	cmd.SetContext(ctx)
	s, err := r.connect(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := ask(ctx, s)
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeValues makes a flag complete with fixed values.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completions makes them of names. One with a tab or a line break would be
// taken for something else.
func completions[T any](list []T, name func(T) string) []cobra.Completion {
	var out []cobra.Completion
	for _, v := range list {
		if n := name(v); printable(n) == n {
			out = append(out, n)
		}
	}
	return out
}

func (r *remote) completeOrgs(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.complete(cmd, func(ctx context.Context, s *session) ([]cobra.Completion, error) {
		orgs, err := s.Organizations(ctx)
		return completions(orgs, func(o client.Organization) string { return o.Name }), err
	})
}

func (r *remote) completeUsers(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.complete(cmd, func(ctx context.Context, s *session) ([]cobra.Completion, error) {
		users, err := s.Users(ctx)
		return completions(users, func(u client.User) string { return u.Name }), err
	})
}

func (r *remote) completeTokens(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.complete(cmd, func(ctx context.Context, s *session) ([]cobra.Completion, error) {
		tokens, err := s.Tokens(ctx, client.TokenFilter{})
		var out []cobra.Completion
		for _, t := range tokens {
			out = append(out, cobra.CompletionWithDesc(t.ID, printable(t.Description)))
		}
		return out, err
	})
}

func (r *remote) completeSecrets(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.complete(cmd, func(ctx context.Context, s *session) ([]cobra.Completion, error) {
		org, err := s.organization(cmd)
		if err != nil {
			return nil, err
		}
		names, err := s.SecretNames(ctx, org.ID)
		return completions(names, func(n string) string { return n }), err
	})
}

func (r *remote) completeVersions(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.complete(cmd, func(ctx context.Context, s *session) ([]cobra.Completion, error) {
		org, err := s.organization(cmd)
		if err != nil {
			return nil, err
		}
		history, err := s.History(ctx, org.ID)
		var out []cobra.Completion
		for _, v := range history {
			out = append(out, cobra.CompletionWithDesc(strconv.FormatUint(v.Number, 10), formatTime(v.CreatedAt)+" "+changesOf(v, 3)))
		}
		return out, err
	})
}

// completeProfiles completes with the profiles in the configs file of some flags.
func completeProfiles(flags *profile.Flags) completion {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		f, err := loadProfiles(flags)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f.Names(), cobra.ShellCompDirectiveNoFileComp
	}
}

// onlyFirst completes no more than one argument.
func onlyFirst(c completion) completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, toComplete)
	}
}
