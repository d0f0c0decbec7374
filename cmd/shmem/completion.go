package main

import (
	"fmt"
	"io"
	"os"
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
const named = "stat cat set watch diff recover rm pump tail record"

// Run prints a script that completes commands, their flags and the names of segments. It is made
// from the command line's own model, so that it cannot miss a flag.
//
// A name can have any characters, so no script lets the shell read it as code: each gets the names
// from namesCmd, which has only plain ones, and offers them as data.
func (c *completionCmd) Run(e *env, k *kong.Kong) error {
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion,
		"fish": fishCompletion}[c.Shell]
	var verbs []string
	flags := ""
	for _, v := range k.Model.Children {
		if v.Hidden {
			continue
		}
		verbs = append(verbs, v.Name)
		if c.Shell == "fish" {
			flags += fishFlags(v.Name, v)
		} else {
			flags += fmt.Sprintf("    %s) flags=(%s) ;;\n", v.Name, flagNames(v))
		}
	}
	global := flagNames(k.Model.Node)
	if c.Shell == "fish" {
		global = fishFlags("", k.Model.Node)
	}
	_, err := strings.NewReplacer("@FLAGS@", flags, "@GLOBAL@", global,
		"@VERBS@", strings.Join(verbs, " "), "@NAMED@", strings.ReplaceAll(named, " ", "|"),
		"@NAMEDLIST@", named).WriteString(e.out, script)
	return err
}

// namesCmd prints the names that completion offers.
type namesCmd struct{}

// Run prints the names that mean the same to every shell. It opens no file.
func (namesCmd) Run(e *env) error {
	d, err := os.Open(e.dir)
	if err != nil {
		return fileError(err)
	}
	defer d.Close()
	for {
		files, err := d.Readdirnames(1024)
		for _, name := range files {
			if isName(name) {
				fmt.Fprintln(e.out, name)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fileError(err)
		}
	}
}

// The shells' scripts. @FLAGS@ are the flags of each command as cases, @GLOBAL@ the flags of all,
// @VERBS@ the commands, @NAMED@ and @NAMEDLIST@ those that take a name.
const bashCompletion = `_shmem() {
  local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} word
  local -a flags=() words=()
  if [[ $cur == -* ]]; then
    case $verb in
@FLAGS@    esac
    words=("${flags[@]}" @GLOBAL@)
  elif [ "$COMP_CWORD" = 1 ]; then
    words=(@VERBS@)
  elif [ "$verb" = gen ] && [ "$COMP_CWORD" = 2 ]; then
    words=(c python rust go)
  else
    case $verb in
    @NAMED@|gen) mapfile -t words < <(shmem __names 2>/dev/null) ;;
    completion) words=(bash zsh fish) ;;
    esac
  fi
  COMPREPLY=()
  for word in "${words[@]}"; do
    if [[ $word == "$cur"* && $word =~ ^[-A-Za-z0-9._]+$ ]]; then
      COMPREPLY+=("$word")
    fi
  done
}
complete -F _shmem shmem
`

const zshCompletion = `#compdef shmem
_shmem() {
  setopt localoptions extendedglob
  local cur=${words[CURRENT]} verb=${words[2]}
  local -a flags all
  if [[ $cur == -* ]]; then
    case $verb in
@FLAGS@    esac
    all=("${flags[@]}" @GLOBAL@)
  elif (( CURRENT == 2 )); then
    all=(@VERBS@)
  elif [[ $verb == gen ]] && (( CURRENT == 3 )); then
    all=(c python rust go)
  else
    case $verb in
    @NAMED@|gen) all=("${(@f)$(shmem __names 2>/dev/null)}") ;;
    completion) all=(bash zsh fish) ;;
    esac
  fi
  all=("${(@M)all:#[-A-Za-z0-9._]##}")
  compadd -- "${all[@]}"
}
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
compdef _shmem shmem
`

const fishCompletion = `complete -c shmem -f
complete -c shmem -n __fish_use_subcommand -a '@VERBS@'
function __shmem_names
    shmem __names 2>/dev/null | string match -r '^[A-Za-z0-9._-]+$'
end
complete -c shmem -n '__fish_seen_subcommand_from @NAMEDLIST@ gen' -a '(__shmem_names)'
complete -c shmem -n '__fish_seen_subcommand_from gen' -a 'c python rust go'
complete -c shmem -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
@GLOBAL@@FLAGS@`

// fishFlags completes the flags of a command in fish.
func fishFlags(verb string, n *kong.Node) string {
	var b strings.Builder
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		when := ""
		if verb != "" {
			when = " -n '__fish_seen_subcommand_from " + verb + "'"
		}
		fmt.Fprintf(&b, "complete -c shmem%s -l %s\n", when, f.Name)
	}
	return b.String()
}

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
