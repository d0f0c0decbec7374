package main

import (
	"fmt"

	"github.com/shmembox/shmem"
)

// rmCmd removes segments by shmem.Remove.
type rmCmd struct {
	Name  []string `arg:"" help:"Segments."`
	Force bool     `short:"f" help:"Also those that a process is attached to."`
}

func (*rmCmd) Help() string {
	return `Removes the name. Processes that are attached go on undisturbed, with memory that no
other process can find any more; the owner's Close still drops the value. That is seldom what is
wanted, so it needs --force.`
}

// Run removes all segments that it can, and reports each that it cannot.
func (c *rmCmd) Run(e *env) error {
	var last error
	for _, n := range c.Name {
		err := c.remove(e, n)
		if err == nil {
			continue
		}
		if last != nil { // the final one is reported by the caller
			e.report(last)
		}
		last = err
	}
	return last
}

func (c *rmCmd) remove(e *env, name string) error {
	if err := plainName(name); err != nil {
		return err
	}
	info, err := shmem.Stat(e.dir, name)
	if err == nil && !c.Force && (len(info.Peers) > 0 || info.Readers) {
		return fmt.Errorf("%s is %v, %s: %w; --force removes its name all the same", clean(name),
			info.State, users(info), errRefused)
	}
	return shmem.Remove(e.dir, name)
}

// users says which processes are attached.
func users(info shmem.Info) string {
	switch {
	case info.Owner != nil:
		return fmt.Sprintf("its owner %s and %d others are attached",
			process(*info.Owner, info.Program), len(info.Peers)-1)
	case len(info.Peers) > 0:
		return fmt.Sprintf("%d are attached", len(info.Peers))
	}
	return "processes that may only read are attached"
}
