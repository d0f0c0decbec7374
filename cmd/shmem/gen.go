package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/gen"
)

type genCmd struct {
	Lang string `arg:"" enum:"c,python,rust,go" help:"c, python, rust or go."`
	Name string `arg:"" help:"The segment whose type is taken."`
	As   string `placeholder:"IDENT" help:"What the type is called; default: as in Go."`
	Out  string `short:"o" placeholder:"FILE" help:"Where to; default: standard output."`
}

func (*genCmd) Help() string {
	return `The code joins the live box: it checks magic, version and fingerprint (and refuses a segment that
has another, naming both), takes consistent snapshots without a lock, and stores under the box's own
lock, as Load and Store do. It needs nothing but the language's standard library. From a Go type the
same code is made by inspect.TypeFor and Type.Generate.

Of a topic Go gets the type of its messages, for topic.Attach, and Python code that follows it. Queues, and
topics in C and Rust, are refused: to store into these would overwrite what others are sending.`
}

func (c *genCmd) Run(e *env) error {
	s, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.Type() == nil {
		return fmt.Errorf("%s: %w: it has no schema to generate from", c.Name, shmem.ErrMismatch)
	}
	code, err := s.Type().Generate(inspect.Language(c.Lang), c.As)
	if errors.Is(err, gen.ErrStream) {
		err = fmt.Errorf("%s: %w: %w", c.Name, errRefused, err)
	}
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err = e.out.Write(code)
		return err
	}
	if err := os.WriteFile(c.Out, code, 0o644); err != nil {
		return fileError(err)
	}
	return nil
}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (*completionCmd) Help() string {
	return `bash:  eval "$(shmem completion bash)"
zsh:   eval "$(shmem completion zsh)"
fish:  shmem completion fish | source`
}

func (c *completionCmd) Run(e *env, k *kong.Kong) error {
	var verbs []string
	flags := ""
	for _, v := range k.Model.Children {
		verbs = append(verbs, v.Name)
		flags += fmt.Sprintf("    %s) flags=%q ;;\n", v.Name, flagNames(v))
	}
	verb, global := strings.Join(verbs, " "), flagNames(k.Model.Node)
	named := "stat cat set watch diff rm pump tail record"
	switch c.Shell {
	case "fish":
		fmt.Fprintf(e.out, "complete -c shmem -f\ncomplete -c shmem -n __fish_use_subcommand -a '%s'\n", verb)
		fmt.Fprintf(e.out, "complete -c shmem -n '__fish_seen_subcommand_from %s gen' -a '(shmem ls -1 2>/dev/null)'\n", named)
		fmt.Fprintln(e.out, "complete -c shmem -n '__fish_seen_subcommand_from gen' -a 'c python rust go'")
		return nil
	case "zsh":
		fmt.Fprintln(e.out, "autoload -U +X bashcompinit && bashcompinit")
	}
	fmt.Fprintf(e.out, `_shmem() {
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
`, flags, global, verb, strings.ReplaceAll(named, " ", "|"))
	return nil
}

// flagNames are the flags of a verb, or those of all.
func flagNames(n *kong.Node) string {
	var all []string
	for _, f := range n.Flags {
		if !f.Hidden {
			all = append(all, "--"+f.Name)
		}
	}
	return strings.Join(all, " ")
}
