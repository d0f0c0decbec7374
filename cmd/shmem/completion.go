package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints a completion script.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (*completionCmd) Help() string {
	return `bash:  eval "$(shmem completion bash)"
zsh:   eval "$(shmem completion zsh)"
fish:  shmem completion fish | source`
}

// named are the commands whose first argument is a segment.
const named = "stat cat set watch diff rm pump tail record"

// Run prints a script that completes commands, their flags and the names of segments. It is made
// from the command line's own model, so that it cannot miss a flag.
func (c *completionCmd) Run(e *env, k *kong.Kong) error {
	var verbs []string
	flags := ""
	for _, v := range k.Model.Children {
		verbs = append(verbs, v.Name)
		flags += fmt.Sprintf("    %s) flags=%q ;;\n", v.Name, flagNames(v))
	}
	verb, global := strings.Join(verbs, " "), flagNames(k.Model.Node)
	switch c.Shell {
	case "fish":
		fmt.Fprintf(e.out,
			"complete -c shmem -f\ncomplete -c shmem -n __fish_use_subcommand -a '%s'\n", verb)
		fmt.Fprintf(e.out, "complete -c shmem -n '__fish_seen_subcommand_from %s gen' -a '(shmem "+
			"ls -1 2>/dev/null)'\n", named)
		fmt.Fprintln(e.out,
			"complete -c shmem -n '__fish_seen_subcommand_from gen' -a 'c python rust go'")
		return nil
	case "zsh": // it understands bash's scripts with this
		fmt.Fprintln(e.out, "autoload -U +X bashcompinit && bashcompinit")
	}
	fmt.Fprintf(e.out, bashCompletion, flags, global, verb, strings.ReplaceAll(named, " ", "|"))
	return nil
}

// bashCompletion needs the flags of each command as cases, the flags of all, the commands, and the
// commands that take a name, with | between them.
const bashCompletion = `_shmem() {
  local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} flags=
  if [[ $cur == -* ]]; then
    case $verb in
%s    esac
    COMPREPLY=($(compgen -W "$flags %s" -- "$cur"))
  elif [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "%s" -- "$cur"))
  elif [ "$verb" = gen ] && [ "$COMP_CWORD" = 2 ]; then
    COMPREPLY=($(compgen -W "c python rust go" -- "$cur"))
  else
    case $verb in
    %s|gen) COMPREPLY=($(compgen -W "$(shmem ls -1 2>/dev/null)" -- "$cur")) ;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur")) ;;
    esac
  fi
}
complete -F _shmem shmem
`

// flagNames are the flags of a command, or of the root: those of all commands.
func flagNames(n *kong.Node) string {
	var all []string
	for _, f := range n.Flags {
		if !f.Hidden {
			all = append(all, "--"+f.Name)
		}
	}
	return strings.Join(all, " ")
}
