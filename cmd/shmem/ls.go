package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

type lsCmd struct {
	Pattern []string `arg:"" optional:"" help:"Names to list; * and ? match."`
	Sort    string   `enum:"name,size,age,state" default:"name" placeholder:"BY" help:"Sort by name, size, age or state."`
	JSON    bool     `name:"json" help:"JSON, an array of segments."`
	Names   bool     `short:"1" help:"Names only, one a line."`
}

func (*lsCmd) Help() string {
	return `States:
  live      its owner is attached
  orphaned  its owner has died; the last one of the others unlinks it
  kept      it stays until it is owned or removed
  garbage   its owner has died, nobody is attached: "shmem gc" takes it away
  unlinked  its name is gone (rm, Remove, another program), its users are not
  foreign   another program's file
  damaged   its control block cannot be read; only "shmem rm" takes it away
  ended     besides: nothing more can be sent to this queue or topic

MEM is the memory in use, control block included. ATT is how many are attached, +r if somebody is
attached who may only read. OWNER is the process that owns it, or (in brackets) the program that
created it.`
}

// A row is a segment as ls and top see it.
type row struct {
	shmem.Info
	unlinked bool
	err      error
	item     string // type of the messages of a queue or topic
	ended    bool   // a queue or topic
}

func (r row) state() string {
	switch {
	case r.err != nil:
		return "?"
	case r.unlinked:
		return "unlinked"
	}
	return r.State.String()
}

// shown is the state for people.
func (r row) shown() string {
	if r.ended {
		return r.state() + ", ended"
	}
	return r.state()
}

// typeName is the type, with that of the messages of a queue or topic.
func (r row) typeName() string {
	if r.item != "" {
		return r.Type + "[" + cut(r.item, 60) + "]"
	}
	return r.Type
}

// stream fills in what is to be said of a queue or topic: it is not in an Info.
func (r *row) stream() {
	if r.err != nil || !strings.HasPrefix(r.Type, "queue.") && !strings.HasPrefix(r.Type, "topic.") {
		return
	}
	s, err := inspect.Open("", r.Path)
	if err != nil {
		return
	}
	defer s.Close()
	if t := s.Type(); t != nil && t.Item() != nil {
		r.item = t.Item().String()
	}
	if tr, err := s.Stats(); err == nil && tr != nil {
		r.ended = tr.Ended
	}
}

func (e *env) rows(patterns []string) ([]row, error) {
	var rows []row
	for info, err := range shmem.List(e.dir) {
		if err != nil && info.Name == "" {
			return nil, err
		}
		if match(patterns, info.Name) {
			rows = append(rows, row{Info: info, err: err})
		}
	}
	for i := range rows {
		rows[i].outside()
	}
	lost, _ := inspect.Unlinked(e.dir)
	for _, info := range lost {
		if match(patterns, info.Name) {
			rows = append(rows, row{Info: info, unlinked: true})
		}
	}
	for i := range rows {
		rows[i].stream()
	}
	return rows, nil
}

// outside fills in what can be seen of a segment that may not be read.
func (r *row) outside() {
	if !errors.Is(r.err, fs.ErrPermission) {
		return
	}
	r.Size = -1
	if st, err := os.Lstat(r.Path); err == nil {
		r.File, r.Created = st.Size(), st.ModTime()
	}
	if st, err := sys.Lstat(r.Path); err == nil {
		r.InUse = st.Blocks * 512
	}
}

// rank sorts by state, what cannot be read last.
func (r row) rank() int {
	if r.err != nil {
		return 1 << 30
	}
	return int(r.State)
}

func match(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

func (c *lsCmd) Run(e *env) error {
	for _, p := range c.Pattern {
		if _, err := path.Match(p, ""); err != nil {
			return usageError{fmt.Errorf("pattern %q: %w", p, err)}
		}
	}
	rows, err := e.rows(c.Pattern)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		switch c.Sort {
		case "size":
			return cmp.Compare(b.InUse, a.InUse)
		case "age":
			return a.Created.Compare(b.Created)
		case "state":
			return cmp.Compare(a.rank(), b.rank())
		}
		return cmp.Compare(a.Name, b.Name)
	})
	switch {
	case c.JSON:
		all := make([]jsonInfo, len(rows))
		for i, r := range rows {
			all[i] = r.json()
		}
		return e.json(all)
	case c.Names:
		for _, r := range rows {
			fmt.Fprintln(e.out, r.Name)
		}
		return nil
	case len(rows) == 0:
		if len(c.Pattern) > 0 {
			return fmt.Errorf("no segment matches %s: %w", strings.Join(c.Pattern, " "), os.ErrNotExist)
		}
		fmt.Fprintf(e.out, "no segments in %s\n", e.dir)
		return nil
	}
	e.list(rows)
	return nil
}

func (e *env) list(rows []row) {
	cells := make([][]string, len(rows))
	var memory int64
	count := map[string]int{}
	for i, r := range rows {
		memory += r.InUse
		count[r.state()]++
		owner, att, typ := "-", "-", r.typeName()
		switch {
		case errors.Is(r.err, fs.ErrPermission):
			typ, owner = "no permission", "("+userName(r.UID)+"'s)"
		case r.err != nil:
			typ = "cannot be read: " + reason(r.err)
		case r.State == shmem.Damaged:
			typ = reason(r.Err)
		case r.State == shmem.Foreign:
			typ = "-"
		default:
			att = strconv.Itoa(len(r.Peers))
			if r.Readers {
				att += "+r"
			}
			if typ == "" {
				typ = "bytes"
			}
			owner = "(" + r.Program + ")"
			if r.Owner != nil {
				owner = process(*r.Owner, r.Program)
			}
		}
		when := r.Created
		if r.Owner != nil {
			when = r.Owner.Since
		}
		cells[i] = []string{r.Name, typ, size(r.Size), size(r.InUse), owner, since(when), att, r.shown()}
	}
	plain := func(f func(string) string) func(int, string) string {
		return func(_ int, s string) string { return f(s) }
	}
	e.table([]column{
		{head: "NAME", least: 14, paint: plain(e.style.bold)},
		{head: "TYPE", least: 10},
		{head: "SIZE", right: true},
		{head: "MEM", right: true},
		{head: "OWNER", least: 10, paint: func(i int, s string) string {
			if rows[i].Owner == nil {
				return e.style.faint(s)
			}
			return s
		}},
		{head: "SINCE", right: true},
		{head: "ATT", right: true},
		{head: "STATE", paint: func(i int, s string) string {
			if rows[i].unlinked || rows[i].err != nil {
				return e.style.magenta(s)
			}
			return e.style.state(rows[i].State, s)
		}},
	}, cells)
	sum := fmt.Sprintf("%d in %s, %s of memory", len(rows), e.dir, words(memory))
	if n := count["garbage"]; n > 0 {
		sum += fmt.Sprintf("; %d garbage (shmem gc)", n)
	}
	if n := count["unlinked"]; n > 0 {
		sum += fmt.Sprintf("; %d without a name", n)
	}
	fmt.Fprintln(e.out, e.style.faint(sum))
}

func reason(err error) string {
	var se *shmem.Error
	if errors.As(err, &se) {
		err = se.Err
	}
	s := strings.TrimPrefix(err.Error(), "the segment's bookkeeping is corrupt: corrupt control block: ")
	s, _, _ = strings.Cut(s, "; Remove")
	return s
}

// process names an attachment: the process if its pid means something here.
func process(p shmem.Peer, program string) string {
	if p.PIDNamespace != sys.PIDNamespace() {
		return fmt.Sprintf("%s (pid %d elsewhere)", program, p.PID)
	}
	return fmt.Sprintf("%s %d", comm(p.PID, program), p.PID)
}

func comm(pid int, otherwise string) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return otherwise
	}
	return printable(strings.TrimSuffix(string(b), "\n"))
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// JSON forms: they are a promise to scripts.

type jsonPeer struct {
	Slot      int       `json:"slot"`
	PID       int       `json:"pid"`
	Namespace uint64    `json:"pidNamespace"`
	Here      bool      `json:"pidIsOurs"` // the pid means something in this PID namespace
	Process   string    `json:"process,omitempty"`
	Since     time.Time `json:"since"`
	ReadOnly  bool      `json:"readOnly,omitempty"`
}

type jsonInfo struct {
	Name        string     `json:"name"`
	Path        string     `json:"path"`
	State       string     `json:"state"`
	Unlinked    bool       `json:"unlinked,omitempty"`
	Error       string     `json:"error,omitempty"`
	Type        string     `json:"type,omitempty"`
	Item        string     `json:"item,omitempty"` // type of the messages of a queue or topic
	Ended       bool       `json:"ended,omitempty"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	Size        int64      `json:"size"`
	File        int64      `json:"file"`
	Memory      int64      `json:"memory"`
	Mode        string     `json:"mode"`
	UID         int        `json:"uid"`
	Created     time.Time  `json:"created"`
	Program     string     `json:"program,omitempty"`
	Slots       int        `json:"slots,omitempty"`
	Owner       *jsonPeer  `json:"owner,omitempty"`
	Peers       []jsonPeer `json:"attached"`
	Readers     bool       `json:"readers"`
}

func (r row) json() jsonInfo {
	j := jsonInfo{
		Name: r.Name, Path: r.Path, State: r.state(), Unlinked: r.unlinked, Type: r.Type, Item: r.item, Ended: r.ended, Size: r.Size, File: r.File, Memory: r.InUse,
		Mode: r.Mode.String(), UID: r.UID, Created: r.Created, Program: r.Program, Slots: r.Slots, Readers: r.Readers, Peers: []jsonPeer{},
	}
	if r.unlinked {
		j.State = r.State.String()
	}
	if r.Fingerprint != 0 {
		j.Fingerprint = fmt.Sprintf("%016x", r.Fingerprint)
	}
	if err := cmp.Or(r.err, r.Err); err != nil {
		j.Error = err.Error()
	}
	for _, p := range r.Peers {
		j.Peers = append(j.Peers, jsonOf(p))
	}
	if r.Owner != nil {
		p := jsonOf(*r.Owner)
		j.Owner = &p
	}
	return j
}

func jsonOf(p shmem.Peer) jsonPeer {
	j := jsonPeer{Slot: p.Slot, PID: p.PID, Namespace: p.PIDNamespace, Here: p.PIDNamespace == sys.PIDNamespace(), Since: p.Since, ReadOnly: p.ReadOnly}
	if j.Here {
		j.Process = comm(p.PID, "")
	}
	return j
}
