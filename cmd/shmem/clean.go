package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

func isOS(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)
}

type gcCmd struct {
	DryRun bool `short:"n" name:"dry-run" help:"Say what would be taken away, and why the rest not; change nothing."`
	JSON   bool `name:"json" help:"JSON."`
}

func (*gcCmd) Help() string {
	return `Garbage is what nobody will miss: segments whose owner has died and that nobody is attached to,
and files that a program died over while making them. Only this user's are taken. Who is attached
the kernel tells, by locks that vanish with their process: pids do not matter, and there is no grace
period. Values are not dropped (T.Drop does not run): that of a dead program may be half changed.`
}

type verdict struct {
	Name   string `json:"name"`
	Taken  bool   `json:"taken"`
	Memory int64  `json:"memory"`
	Why    string `json:"why"`
	state  shmem.State
	failed bool
}

func (c *gcCmd) Run(e *env) error {
	var all []verdict
	if c.DryRun {
		rows, err := e.rows(nil)
		if err != nil {
			return err
		}
		for _, r := range rows {
			all = append(all, judge(r))
		}
		all = append(all, e.temporary()...)
	} else {
		for info, err := range shmem.Reclaim(e.dir) {
			if err != nil && info.Name == "" {
				return err
			}
			v := verdict{Name: info.Name, Taken: err == nil, Memory: info.InUse, Why: why(info), state: info.State}
			if err != nil {
				v.Why, v.failed = reason(err), true
			}
			all = append(all, v)
		}
	}
	failed := false
	for _, v := range all {
		failed = failed || v.failed
	}
	if c.JSON {
		if all == nil {
			all = []verdict{}
		}
		if err := e.json(all); err != nil {
			return err
		}
	} else {
		c.show(e, all)
	}
	if failed {
		return exitError(exitFailed)
	}
	return nil
}

func (c *gcCmd) show(e *env, all []verdict) {
	var rows [][]string
	n, memory := 0, int64(0)
	for _, v := range all {
		what := "leave"
		if v.Taken {
			what, n, memory = "take", n+1, memory+v.Memory
		}
		if v.failed {
			what = "failed"
		}
		rows = append(rows, []string{v.Name, what, size(v.Memory), v.Why})
	}
	if len(rows) > 0 {
		e.table([]column{
			{head: "NAME", least: 12, paint: func(_ int, s string) string { return e.style.bold(s) }},
			{head: "GC", paint: func(i int, s string) string {
				switch {
				case all[i].failed:
					return e.style.red(s)
				case all[i].Taken:
					return e.style.green(s)
				}
				return e.style.faint(s)
			}},
			{head: "MEM", right: true}, {head: "WHY", least: 20, fold: true},
		}, rows)
	}
	verb := "taken away"
	if c.DryRun {
		verb = "would be taken away"
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d %s, %s of memory", n, verb, words(memory))))
}

func why(info shmem.Info) string {
	if strings.HasPrefix(info.Name, ".shmem-") {
		return "a program died while making it"
	}
	return fmt.Sprintf("owner dead, nobody attached; made by %s %s ago", printable(info.Program), since(info.Created))
}

// judge says what gc would do, and why.
func judge(r row) verdict {
	v := verdict{Name: r.Name, Memory: r.InUse, state: r.State}
	switch {
	case r.err != nil:
		v.Why = "cannot be read: " + reason(r.err)
	case r.unlinked:
		v.Why = "has no name; its memory goes with the last process attached"
	case r.State == shmem.Garbage && r.UID != os.Geteuid():
		v.Why = fmt.Sprintf("garbage, but of user %s; run gc as that user", userName(r.UID))
	case r.State == shmem.Garbage:
		v.Taken, v.Why = true, why(r.Info)
	case r.State == shmem.Live:
		v.Why = "its owner lives: " + process(*r.Owner, printable(r.Program))
	case r.State == shmem.Orphaned:
		v.Why = fmt.Sprintf("its owner has died, but %d still attached", max(len(r.Peers), 1))
	case r.State == shmem.Kept:
		v.Why = "kept on purpose (Leak, Options.Kept); shmem rm removes it"
	case r.State == shmem.Foreign:
		v.Why = "another program's file"
	case r.State == shmem.Damaged:
		v.Why = "damaged: " + reason(r.Err) + "; shmem rm removes it"
	}
	return v
}

// temporary are files that are being made, or that somebody died over while making them.
func (e *env) temporary() (all []verdict) {
	d, _ := os.ReadDir(e.dir)
	for _, f := range d {
		if !strings.HasPrefix(f.Name(), ".shmem-") {
			continue
		}
		fd, err := sys.Open(filepath.Join(e.dir, f.Name()), false)
		if err != nil {
			continue
		}
		v := verdict{Name: f.Name(), Taken: true, Why: "a program died while making it", state: shmem.Garbage}
		if st, err := fd.Stat(); err == nil {
			v.Memory = st.Blocks * 512
		}
		if held, err := fd.Held(sys.GateByte, sys.SlotByte-sys.GateByte+1024); err != nil || held {
			v.Taken, v.Why = false, "it is being made"
		}
		_ = fd.Close()
		all = append(all, v)
	}
	return all
}

type rmCmd struct {
	Name  []string `arg:"" help:"Segments."`
	Force bool     `short:"f" help:"Also those that somebody is attached to."`
}

func (*rmCmd) Help() string {
	return `Whoever is attached goes on undisturbed, with memory that nobody else can find any more; the
owner's Close still drops the value. That is seldom what is wanted, so it needs --force.`
}

func (c *rmCmd) Run(e *env) error {
	var first error
	for _, n := range c.Name {
		err := c.remove(e, n)
		if err == nil {
			continue
		}
		if first != nil { // all but the first are reported here
			e.report(first)
		}
		first = err
	}
	return first
}

func (c *rmCmd) remove(e *env, name string) error {
	if err := plainName(name); err != nil {
		return err
	}
	info, err := shmem.Stat(e.dir, name)
	if err == nil && !c.Force && (len(info.Peers) > 0 || info.Readers) {
		who := "some who may only read are attached"
		if info.Owner != nil {
			who = fmt.Sprintf("its owner %s and %d others are attached", process(*info.Owner, info.Program), len(info.Peers)-1)
		} else if len(info.Peers) > 0 {
			who = fmt.Sprintf("%d are attached", len(info.Peers))
		}
		return fmt.Errorf("%s is %v, %s: %w; --force removes its name all the same", name, info.State, who, errRefused)
	}
	return shmem.Remove(e.dir, name)
}
