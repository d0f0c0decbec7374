//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// trapped are names of files that a shell would act on if it read one as code.
func trapped(mark string) []string {
	run := "touch " + mark
	return []string{
		"$(" + strings.ReplaceAll(run, "/", "${PWD:0:1}") + ")", "$(IFS=_;cmd=touch_pwned;$cmd)",
		"`touch pwned`", "(touch pwned)", "x;touch pwned;", "x&touch pwned&", "x|touch pwned",
		"a\ntouch pwned\n", "'$(touch pwned)'", `"$(touch pwned)"`, "${x:=$(touch pwned)}",
		"<(touch pwned)", "=(touch pwned)", "$((a[$(touch pwned)]))", "a[$(touch pwned)]",
		"(e:touch pwned:)", "*(e:'touch pwned':)", "%{$(touch pwned)%}", "a\tdescription",
		"--force", "-f", "~root", "*", "?", "{a,b}", "!!", "#x", "a b", "\x1b[31mred", "\xff\xfe",
		".hidden", "$HOME",
	}
}

// shellTest makes a directory of segments with such names, and a directory in which a shell runs.
// The shells find this program as shmem.
func shellTest(t *testing.T) (env []string, work string) {
	t.Helper()
	dir, bin := interruptible(t)
	work = t.TempDir()
	names := append(trapped(filepath.Join(work, "pwned")), "good-one", "good.two")
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env = append(os.Environ(), "SHMEM_DIR="+dir,
		"PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "HOME="+work, "TERM=xterm")
	t.Cleanup(func() {
		for _, d := range []string{work, dir} {
			files, _ := filepath.Glob(filepath.Join(d, "pwned*"))
			if len(files) > 0 {
				t.Errorf("a name was run: %v", files)
			}
		}
	})
	return env, work
}

// TestCompletion: each shell completes plain names, runs none, and offers no others.
func TestCompletion(t *testing.T) {
	for shell, script := range map[string]string{
		"bash": `source <(shmem completion bash)
			for verb in stat cat rm 'gen c'; do
				COMP_WORDS=(shmem $verb ""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
				_shmem
				printf '%s\n' "${COMPREPLY[@]}"
			done`,
		"zsh": `compdef() { :; }
			compadd() { shift; print -rl -- "$@"; }
			source <(shmem completion zsh)
			for verb in stat cat rm 'gen c'; do
				words=(shmem ${=verb} ""); CURRENT=$#words
				_shmem
			done`,
		"fish": `shmem completion fish | source
			for verb in stat cat rm 'gen c'
				complete -C "shmem $verb " | string match -rv '^(c|python|rust|go)$'
			end`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(shell + " is not installed")
			}
			var work string
			cmd := exec.Command(path, "-c", script)
			cmd.Env, work = shellTest(t)
			cmd.Dir = work
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v", err)
			}
			got := strings.Fields(string(out))
			slices.Sort(got)
			want := slices.Concat(slices.Repeat([]string{"good-one"}, 4),
				slices.Repeat([]string{"good.two"}, 4))
			if !slices.Equal(got, want) {
				t.Errorf("%s completes %q, want %q", shell, got, want)
			}
		})
	}
}

// TestCompletionTyped presses the Tab key in real shells.
func TestCompletionTyped(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed")
	}
	for shell, start := range map[string][]string{
		"bash": {"bash --norc --noprofile", "source <(shmem completion bash)"},
		"zsh":  {"zsh -f", "autoload -U compinit && compinit -D -u && source <(shmem completion zsh)"},
		"fish": {"fish --no-config", "shmem completion fish | source"},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel() // they wait for their terminals
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(shell + " is not installed")
			}
			env, work := shellTest(t)
			term := &tmuxTerminal{t: t, tmux: tmux, socket: filepath.Join(t.TempDir(), "tmux")}
			args := []string{"new-session", "-d", "-s", "v", "-x", "120", "-y", "40", "-c", work}
			for _, v := range env {
				args = append(args, "-e", v)
			}
			term.run(append(args, start[0])...)
			defer term.run("kill-server")
			term.run("send-keys", "-t", "v", "-l", start[1]+"; echo rea''dy")
			term.run("send-keys", "-t", "v", "Enter")
			shows := func(text string) bool {
				return eventually(func() bool { return strings.Contains(term.marked(), text) })
			}
			if !shows("\nready") {
				t.Fatalf("no prompt:\n%s", term.marked())
			}
			term.run("send-keys", "-t", "v", "-l", "shmem stat goo")
			term.run("send-keys", "-t", "v", "Tab")
			if !shows("shmem stat good") {
				t.Errorf("nothing is completed:\n%s", term.marked())
			}
			term.run("send-keys", "-t", "v", "C-u")
			term.run("send-keys", "-t", "v", "-l", "shmem stat ")
			for range 3 {
				term.run("send-keys", "-t", "v", "Tab")
				time.Sleep(200 * time.Millisecond)
			}
			if !shows("good.two") {
				t.Errorf("the names are not shown:\n%s", term.marked())
			}
		})
	}
}
