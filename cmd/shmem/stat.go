package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// shmem stat: this file has the command and what it collects, stattext.go the words, statjson.go
// the JSON.

// statCmd shows everything about a segment but its value.
type statCmd struct {
	Name string        `arg:"" help:"The segment, or a path."`
	For  time.Duration `default:"100ms" placeholder:"TIME" help:"How long to watch locks that are held (${default})."`
	JSON bool          `name:"json" help:"JSON."`
}

func (*statCmd) Help() string {
	return `Takes no lock and no slot. When a lock was taken is recorded nowhere, so stat polls
locks that are held for some time and says whether they change hands. NAME may be a path, such as
/proc/PID/fd/N of a segment that has lost its name.`
}

func (c *statCmd) Run(e *env) error {
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer o.Close()
	st, err := o.Status()
	if err != nil {
		return err
	}
	held, err := watchLocks(o, st, c.For)
	if err != nil {
		return err
	}
	counters, err := tallyOf(o)
	if err != nil {
		return err
	}
	if c.JSON {
		j := jsonStatus(st, o.Type(), held)
		j.jsonTally = counters.json(o.Type())
		return e.json(j)
	}
	e.showStat(st, o.Type(), counters.line(), held)
	return nil
}

// open opens a segment to look at it, also one that has lost its name.
func (e *env) open(name string) (*inspect.Observer, error) {
	o, err := e.inspect(name)
	if errors.Is(err, fs.ErrNotExist) {
		lost, _ := e.unlinked(e.dir)
		for _, info := range lost {
			if info.Name == name {
				fmt.Fprintf(e.err, "shmem: %s has lost its name (rm, Remove or another program "+
					"unlinked it); %d still attached\n", clean(name), len(info.Peers))
				return e.inspect(info.Path)
			}
		}
	}
	return o, err
}

// inspect opens a segment to look at it. Its errors name this command instead of "inspect open".
func (e *env) inspect(name string) (*inspect.Observer, error) {
	o, err := inspect.Open(e.dir, name)
	var se *shmem.Error
	if errors.As(err, &se) && e.verb != "" {
		se.Op = e.verb
	}
	return o, err
}

// heldFor says of each lock that is held for how long it has been, in words, as far as that can be
// seen. The key is the path of the lock; "" is the box's own.
type heldFor map[string]string

const changingHands = "changing hands"

// watchLocks polls the locks that are held in st for a while. The version of the value tells
// whether a writer released the box's own lock between two polls. For other locks there is no such
// sign.
func watchLocks(o *inspect.Observer, st *inspect.Status, long time.Duration) (heldFor, error) {
	held := heldAtFirst(st, long)
	if len(held) == 0 {
		return held, nil
	}
	for start := time.Now(); time.Since(start) < long; {
		time.Sleep(10 * time.Millisecond)
		now, err := o.Status()
		if err != nil {
			return nil, err
		}
		held.compare(st, now)
	}
	return held, nil
}

// heldAtFirst has all locks that a live process holds.
func heldAtFirst(st *inspect.Status, long time.Duration) heldFor {
	held, text := heldFor{}, fmt.Sprintf("%.1f s", long.Seconds())
	if len(st.Lock.Holders) > 0 && !st.Lock.Dead {
		held[""] = "for " + text + " at least"
	}
	for _, l := range st.Locks {
		if len(l.Holders) > 0 && !l.Dead && l.State != "done" {
			held[l.Path] = "at each poll for " + text
		}
	}
	return held
}

// compare notes which locks have other holders now than at first.
func (held heldFor) compare(first, now *inspect.Status) {
	if held[""] != "" && (len(now.Lock.Holders) == 0 ||
		now.Lock.Holders[0] != first.Lock.Holders[0] || now.Version != first.Version) {
		held[""] = changingHands
	}
	before := map[string]string{}
	for _, l := range first.Locks {
		before[l.Path] = fmt.Sprint(l.Holders)
	}
	for _, l := range now.Locks {
		if held[l.Path] != "" && fmt.Sprint(l.Holders) != before[l.Path] {
			held[l.Path] = changingHands
		}
	}
}
