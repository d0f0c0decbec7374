package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// rmCmd removes segments by shmem.Remove.
type rmCmd struct {
	Name   []string `arg:"" help:"Segments."`
	Force  bool     `short:"f" help:"Also those that a process uses."`
	DryRun bool     `short:"n" name:"dry-run" help:"Say what would be removed, and what would be lost; change nothing."`
	JSON   bool     `name:"json" help:"JSON, an array."`
}

func (*rmCmd) Help() string {
	return `Removes the name. Processes that are attached go on, with memory that no other process
can find any more; the owner's Close still drops the value. That is seldom what is wanted, so what
is in use needs --force: by attachments, or by a process that maps the file or has it open, as far
as this user may look into it. Unread messages of a queue are lost; rm says how many.`
}

// Run removes all segments that it can, and reports each that it cannot.
func (c *rmCmd) Run(e *env) error {
	var last error
	all := []verdict{}
	r := &remover{env: e, cmd: c}
	for _, n := range c.Name {
		v, err := r.remove(n)
		if err == nil {
			all = append(all, v)
			continue
		}
		all = append(all, verdict{Name: n, Why: reason(err), failed: true})
		if last != nil { // the final one is reported by the caller
			e.report(last)
		}
		last = err
	}
	switch {
	case c.JSON:
		return errors.Join(e.json(all), last)
	case c.DryRun:
		e.showVerdicts(all, "would be removed")
	default:
		for _, v := range all {
			if v.Lost > 0 {
				fmt.Fprintf(e.err, "shmem: %s: %s\n", clean(v.Name), lostText(v.Lost))
			}
		}
	}
	return last
}

// lostText says how many messages are lost.
func lostText(n count64) string {
	if n == 1 {
		return "1 unread message is lost"
	}
	return fmt.Sprintf("%d unread messages are lost", n)
}

// A remover removes files, and looks through the processes once.
type remover struct {
	*env
	cmd   *rmCmd
	ps    procs
	users map[fileKey][]user // nil until it is needed
}

func (r *remover) remove(name string) (verdict, error) {
	if err := plainName(name); err != nil {
		return verdict{}, err
	}
	info, err := shmem.Stat(r.dir, name)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, shmem.ErrNotRegular) {
		return verdict{}, err
	}
	if !r.cmd.Force {
		if used := r.inUse(info, name); used != "" {
			return verdict{}, fmt.Errorf("%s: %w; --force removes its name all the same", used,
				errRefused)
		}
	}
	seen := row{Info: info, err: err}
	seen.stream()
	v := verdict{Name: name, Taken: true, Memory: num(info.InUse), Lost: seen.unread,
		Why: "asked for"}
	if v.Lost > 0 {
		v.Why += "; " + lostText(v.Lost)
	}
	if r.cmd.DryRun {
		return v, r.removable(name)
	}
	return v, shmem.Remove(r.dir, name)
}

// removable returns why a file could not be removed.
func (r *remover) removable(name string) error {
	path := filepath.Join(r.dir, name)
	st, err := sys.Lstat(path)
	if err == nil && st.Mode.IsDir() {
		err = fmt.Errorf("%w: it is a directory", shmem.ErrNotRegular)
	}
	if err == nil {
		var file sys.FD
		if file, err = sys.OpenPath(path); err == nil {
			err = sys.MayUnlink(r.dir, file)
			_ = file.Close()
		}
	}
	if err != nil {
		return &shmem.Error{Op: "remove", Name: name, Err: err}
	}
	return nil
}

// inUse says which processes use a file, "" if none does.
func (r *remover) inUse(info shmem.Info, name string) string {
	if len(info.Peers) > 0 || info.Readers {
		return fmt.Sprintf("%s is %v, %s", name, info.State, users(info))
	}
	if r.users == nil {
		r.users = fileUsers(r.dir)
	}
	st, err := os.Lstat(filepath.Join(r.dir, name))
	if err != nil {
		return ""
	}
	dev, ino, _ := fileIDOf(st)
	if u := r.users[fileKey{dev, ino}]; len(u) > 0 {
		return fmt.Sprintf("%s is in use: %s", name, r.ps.userText(u))
	}
	if info.State == shmem.Foreign && usedUnseen(filepath.Join(r.dir, name)) {
		return name + " is in use by a process that this one cannot look into"
	}
	return ""
}

// usedUnseen reports whether the kernel says that a process uses a file. It says so only of this
// user's files.
func usedUnseen(path string) bool {
	fd, err := sys.Open(path, false)
	if err != nil {
		return false
	}
	defer fd.Close()
	used, err := fd.InUse()
	return used && err == nil
}

// users says which processes are attached.
func users(info shmem.Info) string {
	switch {
	case info.Owner != nil:
		return fmt.Sprintf("its owner %s and %d others are attached",
			process(nil, *info.Owner, info.Program), len(info.Peers)-1)
	case len(info.Peers) > 0:
		return fmt.Sprintf("%d are attached", len(info.Peers))
	}
	return "processes that may only read are attached"
}
