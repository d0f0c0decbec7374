package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// topCmd shows all segments in a table, again and again.
type topCmd struct {
	Pattern  []string      `arg:"" optional:"" help:"Names to show; * and ? match."`
	Sort     string        `enum:"rate,name,mem,depth,lost,wait" default:"rate" placeholder:"BY" help:"Sort by rate, name, mem, depth, lost or wait (${default})."`
	Interval time.Duration `short:"i" default:"1s" help:"Time between two frames (${default})."`
	Count    int           `short:"n" help:"End after so many frames."`
	JSON     bool          `name:"json" help:"A line of JSON for each frame."`
}

func (*topCmd) Help() string {
	return `Sorted by traffic, unless --sort or the key s says otherwise: changes of a box or map,
messages of a queue or topic, calls of a service, reads and changes of a cache, a second and in all.
DEPTH is how full a queue, map or cache is, how many calls a service has, or how far behind the
slowest subscriber of a topic is of those that hold publishers back. LOST counts messages that were
skipped or redelivered because a process died, messages that subscribers were too slow for, entries
that were evicted, and calls whose client or server died. HELD is the holder of the box's lock and
how long it was seen, the first lock of psync that is held, or that slowest subscriber; of a service
the age of its oldest call, busy handlers and clients; of a cache its hits. WAIT says how many
processes wait for something.

Arrows, PgUp, PgDn, Home and End select a row, and Enter shows all about it, as stat does; Esc goes
back. / filters by what a row shows, s sorts by the next thing, p pauses, q ends it (and Ctrl-C).`
}

func (c *topCmd) Run(e *env) error {
	all := tracking{}
	defer all.close()
	if c.JSON {
		return e.ticks(nil, c.Interval, c.Count, func() error {
			rows, err := e.rows(c.Pattern)
			if err != nil {
				return err
			}
			all.update(e, rows)
			return e.jsonLine(jsonTopOf(rows, all))
		})
	}
	v := &topView{env: e, cmd: c, scr: e.screen(), all: all}
	defer leaveScreen()
	v.scr.other = v.key
	return e.ticks(v.scr, c.Interval, c.Count, func() (err error) {
		if v.rows, err = e.rows(c.Pattern); err != nil {
			return err
		}
		all.update(e, v.rows)
		return v.draw()
	})
}

// tracking has the segments that are looked at again and again, by their paths.
type tracking map[string]*tracked

// A tracked segment is remembered between frames, so that rates can be seen. The first maxOpen ones
// stay open: to look at them costs less. There may be more than a process may have open.
type tracked struct {
	o     *inspect.Observer // nil if it was closed
	fresh bool              // o has just been opened, and read in full
	file  fileKey
	st    *inspect.Status // nil at first
	tally tally           // of a map, cache, service or pool, read after st
	at    time.Time       // when st was read
	total uint64          // changes or messages at that time
	rate  float64         // of these, a second
	rates []float64       // the latest ones

	holder inspect.Holder // of the box's lock
	since  time.Time      // since when that one has been seen without a change of the value
	seen   bool           // in the last frame

	// Of serve: its row, and whether nothing was new when it was looked at.
	row   row
	quiet bool
}

func (all tracking) close() {
	for _, t := range all {
		t.closed()
	}
}

// closed closes the segment if it is open.
func (t *tracked) closed() {
	if t.o != nil {
		t.o.Close()
		t.o = nil
	}
}

// maxRates is how many rates of a segment are remembered, at least.
const maxRates = 200

// maxOpen is how many segments stay open between frames.
const maxOpen = 64

// update reads all segments again, and closes those that are gone.
func (all tracking) update(e *env, rows []row) {
	for _, t := range all {
		t.seen = false
	}
	open := 0
	for _, r := range rows {
		if r.err == nil && r.State != shmem.Foreign && r.Err == nil {
			if t := all.open(e, r); t != nil {
				t.update()
				if open++; open > maxOpen {
					t.closed()
				}
			}
		}
	}
	for path, t := range all {
		if !t.seen {
			t.closed()
			delete(all, path)
		}
	}
}

// open returns the tracked segment of a row: another one than before if that has taken the name. It
// returns nil if it cannot be opened.
func (all tracking) open(e *env, r row) *tracked {
	old := all[r.Path]
	if old != nil && old.o != nil && (r.unlinked || old.o.Linked()) {
		return old
	}
	o, err := openPath(r.Path)
	if err != nil {
		return nil
	}
	var file fileKey
	if st, err := os.Stat(r.Path); err == nil {
		file.dev, file.ino, _ = fileIDOf(st)
	}
	if old != nil && old.o == nil && old.file == file {
		old.o, old.fresh = o, true
		return old
	}
	if old != nil {
		old.closed()
	}
	all[r.Path] = &tracked{o: o, file: file, fresh: true}
	return all[r.Path]
}

// update reads the segment again. If that fails it counts as gone.
func (t *tracked) update() {
	look := t.o.Status
	if t.fresh {
		look, t.fresh = t.o.Glance, false
	}
	if st, err := look(); err == nil {
		t.note(st, t.count())
	}
}

// count reads the counters of the segment. If that fails they are zero.
func (t *tracked) count() tally {
	counters, err := tallyOf(t.o)
	if err != nil {
		return tally{}
	}
	return counters
}

// note keeps what was read, and the rate since it was read before.
func (t *tracked) note(st *inspect.Status, counters tally) {
	now, n := time.Now(), counter(st)+counters.total()
	if t.st != nil {
		t.rate = float64(int64(n-t.total)) / now.Sub(t.at).Seconds()
	}
	holder := inspect.Holder{}
	if len(st.Lock.Holders) > 0 {
		holder = st.Lock.Holders[0]
	}
	if holder != t.holder || n != t.total {
		t.holder, t.since = holder, now
	}
	if t.rates = append(t.rates, t.rate); len(t.rates) > 2*maxRates {
		t.rates = append(t.rates[:0], t.rates[maxRates:]...)
	}
	t.st, t.tally, t.at, t.total, t.seen = st, counters, now, n, true
}

// total is the number of messages that were sent or published.
func total(s *inspect.Stats) uint64 { return s.Sent + s.Published }

// lossOf is how many messages were skipped, redelivered or lost, and how many holds released.
func lossOf(s *inspect.Stats) uint64 { return s.Skipped + s.Redelivered + s.Released + s.Lost }

// counter is what grows with traffic: messages of a queue or topic, changes of a box.
func counter(st *inspect.Status) uint64 {
	if st.Stats != nil {
		return total(st.Stats)
	}
	return st.Version
}

// sort sorts rows, the most first.
func (all tracking) sort(rows []row, by string) {
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(all.order(b, by), all.order(a, by)),
			cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Name, b.Name))
	})
}

// topFrame is a frame: a head with a note, and the table of segments, which are sorted. The row of
// the path selected is marked.
func topFrame(e *env, rows []row, all tracking, by, selected, note string) string {
	var memory int64
	cells := make([][]string, len(rows))
	for i, r := range rows {
		memory += r.InUse
		cells[i] = topCells(r, all[r.Path])
		if selected == r.Path {
			cells[i][0] = "›" + cells[i][0]
		} else if selected != "" {
			cells[i][0] = " " + cells[i][0]
		}
	}
	sub := *e
	var b strings.Builder
	sub.out = &b
	about := fmt.Sprintf("%d in %s, %s of memory, by %s", len(rows), clean(e.dir),
		bytesText(memory), by)
	title := "shmem top " + time.Now().Format(time.TimeOnly)
	if e.tty {
		about = cut(about, max(e.width-width(title)-2, 0))
	}
	fmt.Fprintf(&b, "%s  %s\n%s\n", e.style.bold(title), e.style.faint(about),
		e.style.cyan(clean(note)))
	sub.table([]column{
		{head: "NAME", least: 14, paint: func(i int, s string) string {
			if selected == rows[i].Path && selected != "" {
				return e.style.changed(s)
			}
			return e.style.bold(s)
		}},
		{head: "PER SEC", right: true},
		{head: "TOTAL", right: true, last: 4}, {head: "DEPTH", right: true, last: 1},
		{head: "LOST", right: true, last: 3},
		{head: "HELD", least: 8, paint: func(i int, s string) string {
			if strings.HasPrefix(s, "dead") {
				return e.style.red(s)
			}
			return s
		}},
		{head: "WAIT", right: true, last: 2}, {head: "ATT", right: true, spare: true},
		{head: "MEM", right: true, spare: true},
		{head: "STATE", least: 5, paint: func(i int, s string) string {
			return rows[i].paintState(e.style, s)
		}},
	}, cells)
	return b.String()
}

// topOrders are what top sorts by. The most comes first.
var topOrders = []string{"rate", "name", "mem", "depth", "lost", "wait"}

// order is what a segment is sorted by; 0 for the name, which comes last anyway.
func (all tracking) order(r row, by string) float64 {
	t := all[r.Path]
	switch {
	case by == "mem":
		return float64(r.InUse)
	case t == nil || t.st == nil:
		return -1
	case by == "rate":
		return t.rate
	case by == "wait":
		return float64(waiters(t.st))
	}
	if used, of := t.tally.room(); of > 0 && by == "depth" {
		return float64(used) / float64(of)
	} else if of > 0 && by == "lost" {
		return float64(t.tally.lost())
	}
	if s := t.st.Stats; s != nil && by == "depth" {
		return float64(s.Depth+s.Lag) / float64(max(s.Capacity, 1))
	} else if s != nil && by == "lost" {
		return float64(lossOf(s))
	}
	return 0
}

// topCells is the row of top for a segment. t is nil for what is not tracked.
func topCells(r row, t *tracked) []string {
	rate, sum, depth, lost, held, wait, attached := "-", "-", "-", "-", "-", "-", "-"
	if t != nil && t.st != nil {
		rate, sum, wait = "0", count(t.total), strconv.Itoa(waiters(t.st))
		if depth = t.tally.roomText(); depth != "-" {
			lost = count(t.tally.lost())
		}
		if t.rate != 0 {
			rate = perSecond(t.rate)
		}
		if s := t.st.Stats; s != nil {
			depth = count(s.Depth+s.Lag) + "/" + count(uint64(s.Capacity))
			lost = count(lossOf(s))
		}
		held = t.heldText()
	}
	if r.err == nil && r.State != shmem.Foreign && r.Err == nil {
		attached = strconv.Itoa(len(r.Peers))
	}
	return []string{r.Name, rate, sum, depth, lost, held, wait, attached, size(r.InUse),
		r.stateText()}
}

// waiters is how many attachments wait for something.
func waiters(st *inspect.Status) (n int) {
	for _, s := range st.Slots {
		if len(s.Waits) > 0 {
			n++
		}
	}
	return n
}

// heldText names the process that others wait for: the holder of the box's lock, or the slowest
// subscriber with a hold.
func (t *tracked) heldText() string {
	if len(t.st.Lock.Holders) > 0 {
		h := t.st.Lock.Holders[0]
		if !h.Alive {
			return "dead " + strconv.Itoa(h.PID)
		}
		text := holderName(h)
		if time.Since(t.since) > time.Second {
			text += " " + since(t.since)
		}
		return text
	}
	if s := t.st.Stats; s != nil && s.Holds > 0 {
		return holderName(s.SlowestHolder)
	}
	if text := t.tally.doing(); text != "" {
		return text
	}
	return lockText(t.st.Locks)
}

// lockText names the holder of a lock in the value: of one that is waited for, or of the first.
func lockText(locks []inspect.FieldLock) string {
	text := "-"
	for _, l := range locks {
		if len(l.Holders) == 0 || l.State == "done" {
			continue
		}
		one := l.Path + ": " + holderName(l.Holders[0])
		if !l.Holders[0].Alive {
			one = "dead " + strconv.Itoa(l.Holders[0].PID) + " " + l.Path
		}
		if l.Waiters || l.Dead {
			return one
		}
		if text == "-" {
			text = one
		}
	}
	return text
}

func holderName(h inspect.Holder) string {
	return comm(h.PID, "slot "+strconv.Itoa(h.Slot)) + " " + strconv.Itoa(h.PID)
}

// The JSON of top. Scripts depend on the keys: they may be added to, but neither renamed nor
// removed.

type jsonTop struct {
	Time     moment       `json:"time"`
	Segments []jsonTopRow `json:"segments"`
}

type jsonTopRow struct {
	jsonInfo
	PerSecond float64     `json:"perSecond"`        // changes of a box, messages of others
	Total     count64     `json:"total"`            // of these
	Depth     count64     `json:"depth"`            // messages in a queue; lag of a topic
	Capacity  int         `json:"capacity"`         // 0: no queue or topic
	Lost      count64     `json:"lost"`             // skipped, redelivered, released and lost
	Holder    *jsonHolder `json:"holder,omitempty"` // whom others wait for
	HeldMS    num         `json:"heldMs"`           // how long that one was seen
	Waiting   int         `json:"waiting"`          // attachments that wait for something
	// when the oldest message that waits was sent, of a queue with time stamps
	OldestSent *moment `json:"oldestSent,omitempty"`
	jsonTally
}

func jsonTopOf(rows []row, all tracking) jsonTop {
	j := jsonTop{Time: moment(time.Now()), Segments: []jsonTopRow{}}
	for _, r := range rows {
		j.Segments = append(j.Segments, jsonTopRowOf(r, all[r.Path]))
	}
	return j
}

// jsonTopRowOf is the row of a segment. t is nil for what is not tracked.
func jsonTopRowOf(r row, t *tracked) jsonTopRow {
	row := jsonTopRow{jsonInfo: r.json()}
	if t == nil || t.st == nil {
		return row
	}
	row.PerSecond, row.Total, row.Waiting = t.rate, count64(t.total), waiters(t.st)
	if t.o != nil {
		row.jsonTally = t.tally.json(t.o.Type())
	}
	if s := t.st.Stats; s != nil {
		row.Depth, row.Capacity = count64(s.Depth+s.Lag), s.Capacity
		row.OldestSent = momentOf(s.OldestSent)
		row.Lost = count64(lossOf(s))
		row.Holder = jsonHolderOf(s.SlowestHolder)
	}
	if len(t.st.Lock.Holders) > 0 {
		row.Holder = jsonHolderOf(t.st.Lock.Holders[0])
		row.HeldMS = num(time.Since(t.since).Milliseconds())
	}
	return row
}
