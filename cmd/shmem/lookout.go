package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// How often a lookout looks. The time between two looks grows with what a look takes, so that all
// looks take less than 1/share of a CPU.
const (
	soonest = time.Second
	latest  = 30 * time.Second
	share   = 150
	idleFor = 30 * time.Second // nothing stays open when no client has asked for so long
)

// What costs more is looked at less often: which processes have what open, their limits, files
// without a name.
const searchEvery = 10 * time.Second

// Bounds of what is remembered: samples of a segment, and of how many segments.
const maxSamples, maxSampled = 150, 2000

// A lookout looks at all segments for the clients of serve: one look for all of them, and none when
// no client asks.
type lookout struct {
	e    *env
	name string // of this run, in cursors

	mu       sync.Mutex // guards what follows, and is held during a look
	all      tracking
	lost     []row // without a name, as of the last search
	hosts    []trouble
	searched time.Time
	held     map[string]*heldLock // at the last look
	looks    int                  // so far
	at       time.Time            // of the last look
	every    time.Duration        // until the next one
	head     jsonStateHead
	rows     map[string]*servedRow // by id
	order    []string              // ids, in the order of the rows
	removed  int                   // the last look in which a segment was gone
	details  map[string][]byte     // answers about one segment since the last look
	err      error                 // of the last look
	idle     *time.Timer
}

// A servedRow is a segment as it is sent to clients.
type servedRow struct {
	row     row
	json    []byte
	changed int // the look in which json was new
	samples []jsonSample
}

// A heldLock is a lock that the same holder had at one look after another.
type heldLock struct {
	since   time.Time
	version uint64
	sure    bool // it was had all the time, as far as quick looks can tell
}

func newLookout(e *env) *lookout {
	l := &lookout{e: e, name: rand.Text()[:8], all: tracking{}, rows: map[string]*servedRow{},
		held: map[string]*heldLock{}}
	l.head.Host, _ = os.Hostname()
	l.head.Dir, l.head.Version = e.dir, version()
	return l
}

// close closes all that is open.
func (l *lookout) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.close()
	l.all = tracking{}
}

// fresh looks if the last look is too old. l.mu is held.
func (l *lookout) fresh() error {
	if l.idle == nil {
		l.idle = time.AfterFunc(idleFor, l.close)
	}
	l.idle.Reset(idleFor)
	if !l.at.IsZero() && time.Since(l.at) < l.every {
		return l.err
	}
	start := time.Now()
	l.looks++
	var slept time.Duration
	slept, l.err = l.look()
	l.details = map[string][]byte{}
	l.at = time.Now()
	l.every = min(max((l.at.Sub(start)-slept)*share, soonest), latest)
	return l.err
}

// look looks at all segments. It returns how long it slept meanwhile.
func (l *lookout) look() (slept time.Duration, err error) {
	names, err := l.e.names()
	if err != nil {
		return 0, err
	}
	search := time.Since(l.searched) >= searchEvery
	rows := l.list(names, search)
	l.all.update(l.e, rows, maxServed)
	k := &checkup{env: l.e, cmd: &checkCmd{Held: soonest, Full: 90}, full: map[string]bool{},
		all: []trouble{}}
	for i := range rows {
		rows[i].ps = &k.ps
		k.state(rows[i])
		if t := l.all[rows[i].Path]; t != nil && t.st != nil && t.seen {
			k.status(rows[i], t.o, t.st)
		}
	}
	slept = l.longHeld(k)
	k.stoppedHosts(rows)
	if search {
		n := len(k.all)
		k.nearLimits(rows)
		k.machine()
		l.hosts, l.searched = slices.Clone(k.all[n:]), time.Now()
	} else {
		k.all = append(k.all, l.hosts...)
	}
	sortTroubles(k.all)
	l.keep(rows, k)
	return slept, nil
}

// maxServed is how many segments stay open while clients ask.
const maxServed = 256

// list returns a row for each segment. Files without a name are those of the last search.
func (l *lookout) list(names []string, search bool) (rows []row) {
	e := *l.e
	if !search {
		e.unlinked = func(string) ([]shmem.Info, error) { return nil, nil }
	}
	rows = e.rowsOf(names, nil)
	for _, p := range e.places() {
		there, err := e.in(p).rows(nil)
		if err != nil {
			continue // it is gone
		}
		for i := range there {
			there[i].place = p.name
		}
		rows = append(rows, there...)
	}
	if search {
		rows = e.lostFiles(rows, nil)
		l.lost = l.lost[:0]
		for _, r := range rows {
			if r.unlinked {
				l.lost = append(l.lost, r)
			}
		}
		return rows
	}
	for _, r := range l.lost {
		if _, err := os.Stat(r.Path); err == nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// longHeld adds locks that were held at each look for a second and more. Before it says so for the
// first time it looks some times more, in which it sleeps.
func (l *lookout) longHeld(k *checkup) (slept time.Duration) {
	now := map[string]*heldLock{}
	for _, s := range k.slow {
		key := strings.Join([]string{s.first.Path, s.part, strconv.Itoa(s.holder.Slot),
			strconv.Itoa(s.holder.Generation)}, "\x00")
		h := l.held[key]
		if h == nil || s.part == "" && h.version != s.first.Version {
			h = &heldLock{since: time.Now(), version: s.first.Version}
		}
		now[key] = h
		long := time.Since(h.since)
		if long < k.cmd.Held {
			continue
		}
		if !h.sure {
			d, stays := s.stays()
			if slept += d; !stays {
				delete(now, key)
				continue
			}
			h.sure = true
		}
		k.longHolder(s, long)
	}
	l.held = now
	return slept
}

// stays looks at a suspect again and again for a moment, and reports whether the same attachment
// has the lock each time.
func (s *suspect) stays() (slept time.Duration, yes bool) {
	const looks, pause = 10, 5 * time.Millisecond
	o, err := openPath(s.first.Path)
	if err != nil {
		return 0, false
	}
	defer o.Close()
	for range looks {
		time.Sleep(pause)
		slept += pause
		if st, err := o.Status(); err != nil || !s.still(st) {
			return slept, false
		}
	}
	return slept, true
}

// keep makes the JSON of a look.
func (l *lookout) keep(rows []row, k *checkup) {
	now, sum := time.Now(), jsonTotals{Segments: len(rows)}
	next, ids := map[string]*servedRow{}, map[string]string{}
	l.order = l.order[:0]
	for _, r := range rows {
		t := l.all[r.Path]
		j := serveRow(r, t)
		s := l.rows[j.ID]
		if s == nil {
			s = &servedRow{}
		}
		s.row, next[j.ID] = r, s
		ids[r.place+"\x00"+r.Name] = j.ID
		l.order = append(l.order, j.ID)
		sum.add(j)
		if b := encodeJSON(j); !bytes.Equal(b, s.json) {
			s.json, s.changed = b, l.looks
		}
		if len(rows) <= maxSampled {
			s.sample(jsonSample{num(now.UnixMilli()), j.PerSecond, j.Depth, j.Memory})
		}
	}
	for id := range l.rows {
		if next[id] == nil {
			l.removed = l.looks
		}
	}
	l.rows = next
	if m, err := sys.MountOf(l.e.dir); err == nil && m.Type == sys.TmpfsMagic {
		sum.Room, sum.Used = num(m.Size), num(m.Size-m.Avail)
	}
	sum.Processes = len(k.attachedTo(rows))
	l.head.Time, l.head.Totals, l.head.Findings = moment(now), sum, []jsonFind{}
	for _, t := range k.all {
		l.head.Findings = append(l.head.Findings,
			jsonFind{t, ids[t.Container+"\x00"+t.Segment]})
	}
}

// add adds a segment.
func (s *jsonTotals) add(j jsonServeRow) {
	s.Memory += j.Memory
	s.PerSecond += max(j.PerSecond, 0)
	s.Depth += j.Depth
	s.Lost += j.Lost
	s.Waiting += j.Waiting
}

// sample remembers what was seen.
func (s *servedRow) sample(one jsonSample) {
	if len(s.samples) == maxSamples {
		s.samples = append(s.samples[:0], s.samples[1:]...)
	}
	s.samples = append(s.samples, one)
}

// state is the JSON of all segments, or of those that have changed since the look of a cursor.
func (l *lookout) state(since string, values bool) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fresh(); err != nil {
		return nil, err
	}
	seen := l.lookOf(since)
	head := l.head
	head.Cursor, head.Whole = l.name+"."+strconv.Itoa(l.looks), seen == 0
	head.EveryMS, head.Values = num(l.every.Milliseconds()), values
	b := bytes.TrimSuffix(encodeJSON(head), []byte("}"))
	b = append(b, `,"segments":[`...)
	first := true
	for _, id := range l.order {
		if r := l.rows[id]; r.changed > seen {
			if !first {
				b = append(b, ',')
			}
			b, first = append(b, r.json...), false
		}
	}
	return append(b, "]}"...), nil
}

// lookOf returns the number of the look that a cursor names: 0 if the client must have everything.
func (l *lookout) lookOf(cursor string) int {
	name, number, _ := strings.Cut(cursor, ".")
	n, err := strconv.Atoi(number)
	if err != nil || name != l.name || n < l.removed || n > l.looks {
		return 0
	}
	return max(n, 0)
}

// segment is the JSON of one segment.
func (l *lookout) segment(id string, values bool) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fresh(); err != nil {
		return nil, err
	}
	if b := l.details[id]; b != nil {
		return b, nil
	}
	s := l.rows[id]
	if s == nil {
		return nil, errNoSegment
	}
	b, err := l.detail(id, s, values)
	if err == nil {
		l.details[id] = b
	}
	return b, err
}

// detail looks at one segment.
func (l *lookout) detail(id string, s *servedRow, values bool) ([]byte, error) {
	o, err := openPath(s.row.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoSegment
	}
	if err != nil {
		return nil, err
	}
	defer o.Close()
	st, err := o.Status()
	if err != nil {
		return nil, err
	}
	j := jsonServed{jsonStat: jsonStatus(st, o.Type(), nil), ID: id, Kind: kindOf(s.row),
		Lines: jsonLines(statLines(st, o.Type(), nil)), Findings: []jsonFind{},
		Attachments: []psProcess{}, History: s.samples}
	if counters, err := o.MapStats(); err == nil && counters != nil {
		j.Map = jsonMapStatsOf(o.Type(), counters)
		j.Lines = append(j.Lines, jsonText{"entries", mapText(counters), "plain"})
	}
	for _, f := range l.head.Findings {
		if f.ID == id {
			j.Findings = append(j.Findings, f)
		}
	}
	ps := new(procs)
	for _, peer := range st.Peers {
		p := psOf(ps, peer)
		p.Segments = append(p.Segments, attachmentOf(row{Info: st.Info}, st, peer))
		j.Attachments = append(j.Attachments, p)
	}
	if values {
		j.Shown = shownOf(o)
	}
	return encodeJSON(j), nil
}

// plainMetrics is all that there is of metrics.
func (l *lookout) plainMetrics() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fresh(); err != nil {
		return nil, err
	}
	t, count := l.head.Totals, map[string]int{critical: 0, warning: 0, note: 0}
	for _, f := range l.head.Findings {
		count[f.Level]++
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# TYPE shmem_segments gauge\nshmem_segments %d\n", t.Segments)
	fmt.Fprintf(&b, "# TYPE shmem_memory_bytes gauge\nshmem_memory_bytes %d\n", t.Memory)
	fmt.Fprintf(&b, "# TYPE shmem_findings gauge\n")
	for _, level := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "shmem_findings{level=%q} %d\n", level, count[level])
	}
	return b.Bytes(), nil
}
