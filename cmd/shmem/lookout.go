package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/metrics"
)

// How often a lookout looks. The time between two looks grows with the CPU time of a look, so that
// all looks take less than 1/share of a CPU.
const (
	soonest = time.Second
	latest  = 30 * time.Second
	share   = 300
	idleFor = 30 * time.Second // nothing stays open when no client has asked for so long
)

// What costs more is looked at less often: which processes have what open, their limits, files
// without a name. All of that takes less than 1/searchShare of a CPU.
const (
	searchEvery = 10 * time.Second
	searchShare = 800
)

// A segment whose attachments and owner are as before is only glanced at, and read in full at one
// look of so many.
const fullEvery = 20

// Bounds of what is remembered: samples of a segment, of how many segments, and how many of these
// stay open while clients ask.
const maxSamples, maxSampled, maxServed = 120, 2000, 2000

// A lookout looks at all segments for the clients of serve: one look for all of them, and none when
// no client asks.
type lookout struct {
	e    *env
	name string // of this run, in cursors

	mu       sync.Mutex // guards what follows, and is held during a look
	all      tracking
	lost     []row     // without a name, as of the last search
	hosts    []trouble // of processes and the machine, likewise
	searched time.Time
	// until the next search, and what the last look took that does not count for the next one
	searchEvery, apart time.Duration
	held               map[string]*heldLock // at the last look
	looks              int                  // so far
	at                 time.Time            // of the last look
	every              time.Duration        // until the next one
	head               jsonStateHead
	rows               map[string]*servedRow // by id
	order              []string              // ids, in the order of the rows
	most               int                   // how many segments may stay open
	removed            int                   // the last look in which a segment was gone
	samples            []jsonSample          // of all segments together
	details            map[string][]byte     // answers about one segment since the last look
	err                error                 // of the last look
	idle               *time.Timer
}

// A servedRow is a segment as it is sent to clients.
type servedRow struct {
	row     row
	t       *tracked   // nil if it is not tracked
	sums    jsonTotals // of this segment
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
	l.most = maxServed
	if n, ok := openFiles(); ok {
		l.most = int(min(n/2, maxServed))
	}
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
	start, first := cpuTime(), len(l.all) == 0
	l.looks++
	l.apart = 0
	l.err = l.look()
	l.details = map[string][]byte{}
	l.at = time.Now()
	l.every = min(max((cpuTime()-start-l.apart)*share, soonest), latest)
	if first { // it has read all in full, which the next ones need not
		l.every = soonest
	}
	return l.err
}

// look looks at all segments.
func (l *lookout) look() error {
	rows, err := l.list()
	if err != nil {
		return err
	}
	k := &checkup{env: l.e, cmd: &checkCmd{Held: soonest, Full: 90}, full: map[string]bool{},
		all: []trouble{}}
	search := time.Since(l.searched) >= l.searchEvery
	if search {
		rows = l.search(rows)
	} else {
		for _, r := range l.lost {
			if _, err := os.Stat(r.Path); err == nil {
				rows = append(rows, r)
			}
		}
	}
	for i := range rows {
		rows[i].ps = &k.ps
		k.state(rows[i])
		if t := l.all[rows[i].Path]; t != nil && t.st != nil {
			k.status(rows[i], t.o, t.st)
		}
	}
	l.longHeld(k)
	hosts := k.attachedTo(rows)
	k.stoppedHosts(hosts)
	if search {
		l.searchHosts(k, hosts)
	} else {
		k.all = append(k.all, l.hosts...)
	}
	sortTroubles(k.all)
	l.keep(rows, hosts, k.all)
	return nil
}

// list returns a row for each segment that has a name.
func (l *lookout) list() (rows []row, err error) {
	for _, t := range l.all {
		t.seen = false
	}
	places := append([]location{{dir: l.e.dir}}, l.e.places()...)
	open := 0
	for _, p := range places {
		e := l.e.in(p)
		names, err := e.names()
		if err != nil && p.name == "" {
			return nil, err
		}
		for i, name := range names {
			r, t, ok := l.row(e, name, (i+l.looks)%fullEvery == 0)
			if !ok {
				continue
			}
			r.place = p.name
			rows = append(rows, r)
			if t != nil && t.o != nil {
				if open++; open > l.most {
					t.closed()
				}
			}
		}
	}
	for path, t := range l.all {
		if !t.seen {
			t.closed()
			delete(l.all, path)
		}
	}
	return rows, nil
}

// row looks at a file: at a segment that is open only for a glance, if it is as before and full is
// not set. It returns what is tracked of a segment.
func (l *lookout) row(e *env, name string, full bool) (row, *tracked, bool) {
	t := l.all[filepath.Join(e.dir, name)]
	if t != nil && t.o != nil && t.st != nil && t.again(full) {
		return t.row, t, true
	}
	r, ok := e.rowOf(name)
	if !ok {
		return r, nil, false
	}
	r.stream()
	if r.err != nil || r.State == shmem.Foreign || r.Err != nil {
		return r, nil, true
	}
	if t = l.all.open(e, r); t == nil {
		return r, nil, true
	}
	t.update()
	t.row, t.quiet = r, false
	return r, t, true
}

// again reads a segment that is open. It reports false if that segment has to be opened anew.
func (t *tracked) again(full bool) bool {
	if !full {
		st, err := t.o.Glance()
		if err == nil && st.Linked && sameUsers(st, t.st) {
			counters := t.count()
			t.quiet = sameTraffic(st, t.st) && sameTally(counters, t.tally)
			t.note(st, counters)
			t.row.glanced(st)
			return true
		}
	}
	st, err := t.o.Status()
	if err != nil || !st.Linked || st.Err != nil {
		return false
	}
	t.quiet = false
	t.note(st, t.count())
	t.row.Info = st.Info
	t.row.glanced(st)
	return true
}

// sameUsers reports whether the same processes are attached, in the same way.
func sameUsers(a, b *inspect.Status) bool {
	return a.OwnerWord == b.OwnerWord && a.OwnerSlot == b.OwnerSlot &&
		slices.EqualFunc(a.Slots, b.Slots, func(a, b inspect.Slot) bool {
			return a.Slot == b.Slot && a.Generation == b.Generation && a.Alive == b.Alive
		})
}

// sameTraffic reports whether a row shows the same for both, of which the users are the same. Where
// a lock is held a row shows for how long.
func sameTraffic(a, b *inspect.Status) bool {
	if a.Version != b.Version || len(a.Lock.Holders)+len(b.Lock.Holders) > 0 ||
		a.Lock.Dead != b.Lock.Dead || (a.Stats == nil) != (b.Stats == nil) {
		return false
	}
	if s, t := a.Stats, b.Stats; s != nil && (total(s) != total(t) || s.Received != t.Received ||
		s.Depth != t.Depth || s.Lag != t.Lag || s.Ended != t.Ended || lossOf(s) != lossOf(t) ||
		s.SlowestHolder != t.SlowestHolder) {
		return false
	}
	return slices.EqualFunc(a.Slots, b.Slots, func(a, b inspect.Slot) bool {
		return slices.Equal(a.Waits, b.Waits)
	}) && slices.EqualFunc(a.Locks, b.Locks, func(a, b inspect.FieldLock) bool {
		return a.Path == b.Path && a.State == b.State && a.Waiters == b.Waiters &&
			a.Dead == b.Dead && slices.Equal(a.Holders, b.Holders)
	})
}

// glanced takes over what a glance shows.
func (r *row) glanced(st *inspect.Status) {
	if s := st.Stats; s != nil {
		r.ended = s.Ended
		if !isTopic(s) && s.BytesCap == 0 {
			r.unread = count64(s.Depth)
		}
	}
}

// search adds files without a name.
func (l *lookout) search(rows []row) []row {
	start := cpuTime()
	n := len(rows)
	all, _ := l.e.unlinked(l.e.dir)
	for _, info := range all {
		if len(info.Peers) > 0 { // else it is what this process still has open
			rows = append(rows, row{Info: info, unlinked: true})
		}
	}
	rows = l.e.lostFiles(rows, nil)
	l.lost = slices.Clone(rows[n:])
	l.apart += cpuTime() - start
	return rows
}

// searchHosts looks at the processes that are attached, and at the machine.
func (l *lookout) searchHosts(k *checkup, hosts []*host) {
	start := cpuTime()
	n := len(k.all)
	k.nearLimits(hosts)
	k.machine()
	l.hosts, l.searched = slices.Clone(k.all[n:]), time.Now()
	l.apart += cpuTime() - start
	l.searchEvery = max(searchEvery, l.apart*searchShare)
}

// longHeld adds locks that were held at each look for a second and more. Before it says so for the
// first time it looks some times more.
func (l *lookout) longHeld(k *checkup) {
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
			start := cpuTime()
			h.sure = s.stays()
			if l.apart += cpuTime() - start; !h.sure {
				delete(now, key)
				continue
			}
		}
		k.longHolder(s, long)
	}
	l.held = now
}

// stays looks at a suspect again and again for a moment, and reports whether the same attachment
// has the lock each time.
func (s *suspect) stays() bool {
	const looks, pause = 10, 5 * time.Millisecond
	o, err := openPath(s.first.Path)
	if err != nil {
		return false
	}
	defer o.Close()
	for range looks {
		time.Sleep(pause)
		if st, err := o.Glance(); err != nil || !s.still(st) {
			return false
		}
	}
	return true
}

// keep makes the JSON of a look.
func (l *lookout) keep(rows []row, hosts []*host, found []trouble) {
	now, sum := time.Now(), jsonTotals{Segments: len(rows)}
	next, ids := map[string]*servedRow{}, map[string]string{}
	l.order = l.order[:0]
	for _, r := range rows {
		id := rowID(r)
		s := l.rows[id]
		if s == nil {
			s = &servedRow{}
		}
		next[id], ids[r.place+"\x00"+r.Name] = s, id
		l.order = append(l.order, id)
		s.update(r, l.all[r.Path], l.looks)
		sum.add(s.sums)
		if len(rows) <= maxSampled {
			s.samples = pushed(s.samples, jsonSample{num(now.UnixMilli()), s.sums.PerSecond,
				s.sums.Depth, s.sums.Memory, 0})
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
	sum.Processes = len(hosts)
	l.samples = pushed(l.samples, jsonSample{num(now.UnixMilli()), sum.PerSecond, sum.Depth,
		sum.Memory, sum.Waiting})
	l.head.Time, l.head.Totals, l.head.Findings = moment(now), sum, []jsonFind{}
	for _, t := range found {
		l.head.Findings = append(l.head.Findings,
			jsonFind{t, ids[t.Container+"\x00"+t.Segment]})
	}
}

// update makes the JSON of a row again, unless nothing has changed.
func (s *servedRow) update(r row, t *tracked, look int) {
	if s.json != nil && t != nil && s.t == t && t.quiet && s.sums.PerSecond == 0 {
		return
	}
	j := serveRow(r, t)
	s.row, s.t, s.sums = r, t, jsonTotals{Memory: j.Memory, PerSecond: max(j.PerSecond, 0),
		Depth: j.Depth, Lost: j.Lost, Waiting: j.Waiting}
	if b := encodeJSON(j); !bytes.Equal(b, s.json) {
		s.json, s.changed = b, look
	}
}

// add adds the sums of a segment.
func (t *jsonTotals) add(s jsonTotals) {
	t.Memory += s.Memory
	t.PerSecond += s.PerSecond
	t.Depth += s.Depth
	t.Lost += s.Lost
	t.Waiting += s.Waiting
}

// pushed appends a sample, and drops the oldest one where there are too many.
func pushed(all []jsonSample, one jsonSample) []jsonSample {
	if len(all) >= maxSamples {
		all = append(all[:0], all[len(all)-maxSamples+1:]...)
	}
	return append(all, one)
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
	if head.Whole {
		head.History, head.Rates = l.samples, l.rates()
	}
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

// rates returns the latest rates of the segments that have had traffic, by their ids.
func (l *lookout) rates() map[string][]float64 {
	const latest, segments = 40, 500
	all := map[string][]float64{}
	for id, s := range l.rows {
		moves := false
		var one []float64
		for _, p := range s.samples[max(0, len(s.samples)-latest):] {
			one = append(one, math.Round(max(p.PerSecond, 0)*10)/10)
			moves = moves || p.PerSecond > 0
		}
		if moves && len(all) < segments {
			all[id] = one
		}
	}
	return all
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
		Counters: []jsonText{}, Attachments: []psProcess{},
		History: append([]jsonSample{}, s.samples...)}
	if counters, err := tallyOf(o); err == nil {
		j.jsonTally = counters.json(o.Type())
		if line := counters.line(); line.label != "" {
			j.Lines = append(j.Lines, jsonLines([]statLine{line})...)
		}
		j.Counters = jsonParts(counters.parts())
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

// findings are the troubles of the last look, or of a new one, for the metrics.
func (l *lookout) findings() (all []metrics.Finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh() != nil {
		return nil
	}
	for _, f := range l.head.Findings {
		all = append(all, metrics.Finding{Kind: f.Kind, Level: f.Level})
	}
	return all
}

// A scan for the metrics takes less than 1/scanShare of a CPU, like looks and searches.
const scanShare = 200

// A gauge has the text of the metrics, which all clients share.
type gauge struct {
	scanner *metrics.Scanner

	mu    sync.Mutex // guards what follows, and is held during a scan
	text  []byte
	at    time.Time     // of the last scan
	every time.Duration // until the next one
}

func newGauge(l *lookout, anyUser bool) *gauge {
	return &gauge{scanner: metrics.New(&metrics.Options{Dir: l.e.dir, AnyUser: anyUser,
		MaxSegments: maxSampled, Findings: l.findings})}
}

// ServeHTTP answers with the text that Prometheus reads. No lock is held while it writes: a client
// may read slowly.
func (g *gauge) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	text, err := g.fresh()
	if err != nil {
		http.Error(w, clean(err.Error()), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", metrics.ContentType)
	_, _ = w.Write(text) // the client is gone
}

// fresh returns the text, which is not changed any more. Like a look, a scan is made once a second
// at most, and less often where it takes long.
func (g *gauge) fresh() ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.text == nil || time.Since(g.at) >= g.every {
		start := cpuTime()
		var b bytes.Buffer
		if err := g.scanner.WriteText(&b); err != nil {
			return nil, err
		}
		g.text, g.at = b.Bytes(), time.Now()
		g.every = min(max((cpuTime()-start)*scanShare, soonest), latest)
	}
	return g.text, nil
}
