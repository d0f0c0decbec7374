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

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/sys"
)

// lsCmd lists segments.
type lsCmd struct {
	Pattern []string `arg:"" optional:"" help:"Names to list; * and ? match."`
	Sort    string   `enum:"name,size,age,state" default:"name" placeholder:"BY" help:"Sort by name, size, age or state."`
	JSON    bool     `name:"json" help:"JSON, an array of segments."`
	Names   bool     `short:"1" help:"Names only, one a line."`
	SysV    bool     `name:"sysv" help:"The System V segments of this machine instead."`
}

func (*lsCmd) Help() string {
	return `States:
  live      its owner is attached
  orphaned  its owner has died; the last one of the others unlinks it
  idle      no process is attached, and it stays until one removes it
  garbage   its owner has died, no process is attached: "shmem gc" removes it
  unlinked  its name is gone (rm, Remove, another program), but processes are attached
  foreign   another program's file
  damaged   its control block cannot be read; only "shmem rm" removes it
  ended     nothing more can be sent to this queue or topic; its state stands before that

MEM is the memory in use, control block included. ATT is how many are attached, +r if processes that
may only read are. OWNER is the process that owns it, or (in brackets) the program that created it.
A file that has lost its name is listed by its old one while a process maps it or has it open.`
}

func (c *lsCmd) Run(e *env) error {
	for _, p := range c.Pattern {
		if _, err := path.Match(p, ""); err != nil {
			return usageError{fmt.Errorf("pattern %q: %w", p, err)}
		}
	}
	if c.SysV {
		all := sysvSegments()
		if c.JSON {
			return e.json(all)
		}
		e.showSysV(all)
		return nil
	}
	rows, err := e.rows(c.Pattern)
	if err != nil {
		return err
	}
	rows = e.lostFiles(rows, c.Pattern)
	sortRows(rows, c.Sort)
	switch {
	case c.JSON:
		all := make([]jsonInfo, len(rows))
		for i, r := range rows {
			all[i] = r.json()
		}
		return e.json(all)
	case c.Names:
		for _, r := range rows {
			fmt.Fprintln(e.out, clean(r.Name))
		}
		return nil
	case len(rows) == 0 && len(c.Pattern) > 0:
		return fmt.Errorf("no segment matches %s: %w", strings.Join(c.Pattern, " "), os.ErrNotExist)
	case len(rows) == 0:
		fmt.Fprintf(e.out, "no segments in %s\n", clean(e.dir))
		if hidden := e.hidden(nil); hidden > 0 {
			fmt.Fprintf(e.out, "%s in files that have no name, open or mapped\n",
				bytesText(hidden))
		}
		return nil
	}
	e.list(rows)
	return nil
}

func sortRows(rows []row, by string) {
	slices.SortStableFunc(rows, func(a, b row) int {
		switch by {
		case "size":
			return cmp.Compare(b.InUse, a.InUse)
		case "age":
			return a.Created.Compare(b.Created)
		case "state":
			return cmp.Compare(a.rank(), b.rank())
		}
		return cmp.Compare(a.Name, b.Name)
	})
}

// A row is a segment as ls, top and gc see it.
type row struct {
	shmem.Info
	unlinked bool
	err      error   // why the segment could not be read
	item     string  // of a queue or topic: the type of its messages
	ended    bool    // of a queue or topic
	unread   count64 // messages of a queue
	what     string  // of a file that is no segment: "directory"; "" if it is a file
	users    []user  // of a file without a name that is no segment
	place    string  // the container in which it is; "" if it is in none
	ps       *procs  // shared by all rows; may be nil
}

// state is the state of the segment in a word.
func (r row) state() string {
	switch {
	case r.err != nil:
		return "?"
	case r.unlinked:
		return "unlinked"
	}
	return r.State.String()
}

// stateText is the state for people.
func (r row) stateText() string {
	if r.ended {
		return r.state() + ", ended"
	}
	return r.state()
}

// rank sorts by state, and what cannot be read behind all else.
func (r row) rank() int {
	if r.err != nil {
		return 1 << 30
	}
	return int(r.State)
}

// rows lists the segments whose names match, those that have lost their name included.
func (e *env) rows(patterns []string) ([]row, error) {
	names, err := e.names()
	if err != nil {
		return nil, err
	}
	rows := e.rowsOf(names, patterns)
	for _, p := range e.places() {
		more, err := e.in(p).rows(patterns)
		if err != nil {
			continue // it is gone
		}
		for i := range more {
			more[i].place = p.name
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// names returns the names in the directory, sorted.
func (e *env) names() ([]string, error) {
	d, err := os.Open(e.dir)
	if err != nil {
		return nil, &shmem.Error{Op: "list", Name: e.dir, Err: err}
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, &shmem.Error{Op: "list", Name: e.dir, Err: err}
	}
	slices.Sort(names)
	return names, nil
}

// rowsOf is rows for the names of the directory.
func (e *env) rowsOf(names, patterns []string) (rows []row) {
	for _, name := range names {
		if !match(patterns, name) {
			continue
		}
		if r, ok := e.rowOf(name); ok {
			rows = append(rows, r)
		}
	}
	lost, _ := e.unlinked(e.dir)
	for _, info := range lost {
		if match(patterns, info.Name) {
			rows = append(rows, row{Info: info, unlinked: true})
		}
	}
	ps := new(procs)
	for i := range rows {
		rows[i].stream()
		rows[i].ps = ps
	}
	return rows
}

// rowOf looks at a file or directory. It reports false where there is none any more, and for what
// takes no memory: links, sockets and the like.
func (e *env) rowOf(name string) (row, bool) {
	if couldBeSegment(name) {
		info, err := shmem.Stat(e.dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return row{}, false
		case !errors.Is(err, shmem.ErrNotRegular):
			r := row{Info: info, err: err}
			r.fromOutside()
			return r, true
		}
	}
	return otherFile(e.dir, name)
}

// fromOutside fills in what can be seen of a segment that this user may not read.
func (r *row) fromOutside() {
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

// stream fills in what an Info does not say of a queue, topic or map.
func (r *row) stream() {
	switch r.Type {
	case layout.QueueName, layout.BytesName, layout.TopicName, layout.TopicBytesName,
		layout.MapName, layout.CallsName:
	default:
		return
	}
	if r.err != nil {
		return
	}
	o, err := openPath(r.Path)
	if err != nil {
		return
	}
	defer o.Close()
	if t := o.Type(); t != nil && t.Item() != nil {
		r.item = t.Item().String()
	} else if t != nil && r.Type == layout.MapName {
		if key, value := t.MapTypes(); key != nil {
			r.item = key.String() + ", " + value.String()
		}
	} else if t != nil && r.Type == layout.CallsName {
		if request, reply := t.CallTypes(); request != nil {
			r.item = request.String() + ", " + reply.String()
		}
	}
	if s, err := o.Stats(); err == nil && s != nil {
		r.ended = s.Ended
		if !isTopic(s) {
			r.unread = unreadOf(o, s)
		}
	}
}

// unreadOf is how many messages wait in a queue. A Single queue.Bytes counts bytes instead.
func unreadOf(o *inspect.Observer, s *inspect.Stats) count64 {
	if !s.Single || s.BytesCap == 0 {
		return count64(s.Depth)
	}
	all, err := o.Messages(0)
	if err != nil && s.Depth > 0 {
		return 1 // one at least
	}
	return count64(len(all))
}

// match reports whether a name matches one of patterns. No patterns match everything.
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

// list prints the table of ls and a line with totals.
func (e *env) list(rows []row) {
	cells := make([][]string, len(rows))
	for i, r := range rows {
		cells[i] = r.cells()
	}
	columns := []column{
		{head: "NAME", least: 12, paint: painted(e.style.bold)},
		{head: "TYPE", least: 10, last: 1},
		{head: "SIZE", right: true, last: 6},
		{head: "MEM", right: true, last: 3},
		{head: "OWNER", least: 10, last: 4, paint: func(i int, s string) string {
			if rows[i].Owner == nil {
				return e.style.faint(s)
			}
			return s
		}},
		{head: "SINCE", right: true, last: 5},
		{head: "ATT", right: true, last: 2},
		{head: "STATE", paint: func(i int, s string) string {
			return rows[i].paintState(e.style, s)
		}},
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r.place != "" }) {
		columns = slices.Insert(columns, 1, column{head: "CONTAINER", least: 6})
		for i, r := range rows {
			cells[i] = slices.Insert(cells[i], 1, cmp.Or(r.place, "-"))
		}
	}
	e.table(columns, cells)
	fmt.Fprintln(e.out, e.style.faint(e.totals(rows)))
}

func (r row) paintState(s style, text string) string {
	if r.unlinked || r.err != nil {
		return s.magenta(text)
	}
	return s.state(r.State, text)
}

// cells is the row of ls for a segment.
func (r row) cells() []string {
	when := r.Created
	if r.Owner != nil {
		when = r.Owner.Since
	}
	typ, owner, attached := r.describe()
	return []string{r.Name, typ, size(r.Size), size(r.InUse), owner, since(when), attached,
		r.stateText()}
}

// describe says what the segment is, to which process or user it belongs, and how many are
// attached. Where the type is not known it says why.
func (r row) describe() (typ, owner, attached string) {
	owner, attached = "-", "-"
	switch {
	case errors.Is(r.err, fs.ErrPermission):
		return "no permission", "(" + userName(r.UID) + "'s)", attached
	case r.err != nil:
		return "cannot be read: " + reason(r.err), owner, attached
	case r.Err != nil:
		return reason(r.Err), owner, attached
	case r.State == shmem.Foreign && len(r.users) > 0:
		return "-", r.ps.userText(r.users[:1]), strconv.Itoa(len(r.users))
	case r.State == shmem.Foreign:
		return cmp.Or(r.what, "-"), owner, attached
	}
	typ = cmp.Or(r.Type, "bytes")
	if r.item != "" {
		typ += "[" + cut(r.item, 60) + "]"
	}
	owner = "(" + r.Program + ")"
	if r.Owner != nil {
		owner = process(r.ps, *r.Owner, r.Program)
	}
	attached = strconv.Itoa(len(r.Peers))
	if r.Readers {
		attached += "+r"
	}
	return typ, owner, attached
}

// totals sums the rows up.
func (e *env) totals(rows []row) string {
	var memory int64
	count := map[string]int{}
	for _, r := range rows {
		memory += r.InUse
		count[r.state()]++
	}
	text := fmt.Sprintf("%d in %s, %s of memory", len(rows), clean(e.dir), bytesText(memory))
	if hidden := e.hidden(rows); hidden > 0 {
		text += fmt.Sprintf("; %s more in files that have no name, open or mapped",
			bytesText(hidden))
	}
	if n := count["garbage"]; n > 0 {
		text += fmt.Sprintf("; %d garbage (shmem gc)", n)
	}
	if all := sysvSegments(); len(all) > 0 {
		text += fmt.Sprintf("; %s (shmem ls --sysv)", plural(uint64(len(all)), "System V segment"))
	}
	if n := count["unlinked"]; n > 0 {
		text += fmt.Sprintf("; %d without a name", n)
	}
	return text
}

// reason is the cause of an error without what the reader knows anyway.
func reason(err error) string {
	var se *shmem.Error
	if errors.As(err, &se) {
		err = se.Err
	}
	s := err.Error()
	for _, prefix := range []error{shmem.ErrCorrupt, format.ErrCorrupt} {
		s = strings.TrimPrefix(s, prefix.Error()+": ")
	}
	s, _, _ = strings.Cut(s, "; Remove") // the remedy
	return s
}

// process names an attachment. A pid of another PID namespace is another process here, or none: the
// pid here comes first, where it can be seen. ps may be nil.
func process(ps *procs, p shmem.Peer, program string) string {
	if p.PIDNamespace == ownNamespace() {
		return fmt.Sprintf("%s %d", comm(p.PID, program), p.PID)
	}
	if ps == nil {
		ps = new(procs)
	}
	if here := ps.ofPeer(p); here != nil {
		return fmt.Sprintf("%s %d (%d there)", clean(here.name), here.pid, p.PID)
	}
	return fmt.Sprintf("%s (pid %d elsewhere)", program, p.PID)
}

// comm is the name of a process, or otherwise if there is no such process any more.
func comm(pid int, otherwise string) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return otherwise
	}
	return clean(strings.TrimSuffix(string(b), "\n"))
}
