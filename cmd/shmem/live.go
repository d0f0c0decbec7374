package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

// A screen draws frames in place: on the alternate screen of a terminal, with keys to scroll and to
// leave, and one below the other where there is none.
type screen struct {
	e       *env
	keys    <-chan string // nil: there is no keyboard
	restore func()
	frame   []string
	fixed   int // lines at the top that do not scroll
	top     int // the first of the others that is shown
	paused  bool
}

func (e *env) screen() *screen {
	s := &screen{e: e, restore: func() {}}
	if e.tty {
		// Also who has had enough twice gets his terminal back.
		screenOff.Lock()
		defer screenOff.Unlock()
		screenOff.f = func() {
			s.restore()
			fmt.Fprint(os.Stdout, "\x1b[?7h\x1b[?25h\x1b[?1049l")
		}
		fmt.Fprint(os.Stdout, "\x1b[?1049h\x1b[?25l\x1b[?7l")
		if restore, err := sys.KeyInput(os.Stdin.Fd()); err == nil {
			s.restore, s.keys = restore, keys(os.Stdin)
		}
	}
	return s
}

// keys reads what is typed, as long as the program runs. What a key sends comes in one piece.
func keys(in *os.File) <-chan string {
	c := make(chan string)
	go func() {
		for b := make([]byte, 64); ; {
			n, err := in.Read(b)
			if err != nil {
				return
			}
			c <- string(b[:n])
		}
	}()
	return c
}

// draw shows a frame, whose first lines stay where they are when the others are scrolled.
func (s *screen) draw(frame string, fixed int) {
	if !s.e.tty {
		_, _ = os.Stdout.WriteString(frame)
		return
	}
	s.frame, s.fixed = strings.Split(strings.TrimSuffix(frame, "\n"), "\n"), fixed
	s.show()
}

// room is how many lines there are for what scrolls.
func (s *screen) room() int { return max(s.e.height-1-s.fixed, 1) }

// show draws in one write, so that it does not flicker.
func (s *screen) show() {
	s.fixed = min(s.fixed, len(s.frame))
	rest := s.frame[s.fixed:]
	s.top = max(min(s.top, len(rest)-s.room()), 0)
	end := min(s.top+s.room(), len(rest))
	status := ""
	if s.keys != nil {
		status = "q quit  p pause"
	}
	if len(rest) > s.room() {
		status = fmt.Sprintf("lines %d to %d of %d  ", s.top+1, end, len(rest)) + status
		if s.keys != nil {
			status += "  ↑↓ PgUp PgDn Home End scroll"
		}
	}
	if s.paused {
		status = "PAUSED  " + status
	}
	status = cut(status, s.e.width)
	all := append(slices.Clone(s.frame[:s.fixed]), rest[s.top:end]...)
	for len(all) < s.e.height-1 {
		all = append(all, "")
	}
	_, _ = os.Stdout.WriteString("\x1b[H\x1b[2K" + strings.Join(all, "\r\n\x1b[2K") + "\r\n\x1b[2K" + s.e.style.faint(status))
}

// key does what a key says, and reports whether the user has had enough.
func (s *screen) key(k string) (enough bool) {
	switch k {
	case "q", "Q", "\x1b":
		return true
	case "p", "P":
		s.paused = !s.paused
	case "\x1b[A", "\x1bOA", "k":
		s.top--
	case "\x1b[B", "\x1bOB", "j":
		s.top++
	case "\x1b[5~", "b":
		s.top -= s.room()
	case "\x1b[6~", " ":
		s.top += s.room()
	case "\x1b[H", "\x1b[1~", "\x1bOH", "g":
		s.top = 0
	case "\x1b[F", "\x1b[4~", "\x1bOF", "G":
		s.top = len(s.frame)
	}
	s.show()
	return false
}

// ticks calls f now and again each interval, until the user has had enough, n frames are shown, or
// f fails. A terminal may have changed its size. The screen is nil where there is none.
func (e *env) ticks(s *screen, interval time.Duration, n int, f func() error) error {
	t := time.NewTicker(max(interval, 10*time.Millisecond))
	defer t.Stop()
	var keys <-chan string
	if s != nil {
		keys = s.keys
	}
	for i := 1; ; i++ {
		e.resize()
		if err := f(); err != nil {
			return err
		}
		if i == n {
			return nil
		}
		for next := false; !next; {
			select {
			case <-t.C:
				next = s == nil || !s.paused
			case k := <-keys:
				if s.key(k) {
					return nil
				}
			case <-e.ctx.Done():
				return nil
			}
		}
	}
}

type watchCmd struct {
	Name     string        `arg:"" help:"The segment."`
	Path     string        `arg:"" optional:"" help:"A part of the value."`
	Interval time.Duration `short:"i" default:"500ms" help:"Between two looks (${default})."`
	Count    int           `short:"n" help:"End after so many looks."`
	JSON     bool          `name:"json" help:"A line of JSON for each change."`
}

func (*watchCmd) Help() string {
	return `What has changed since the last look is highlighted, with the rate of numbers beside it, or
below where several share a line. q ends it (and Ctrl-C), p pauses, arrows and PgUp, PgDn, Home and End
scroll. It takes no lock and no slot. Of a queue or topic it shows the counters and the last messages;
with a PATH the innards.`
}

func (c *watchCmd) Run(e *env) error {
	s, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	var last *inspect.Snapshot
	if isStream(s) && c.Path == "" {
		return c.stream(e, &s)
	}
	if c.JSON {
		return e.ticks(nil, c.Interval, c.Count, func() error {
			p, err := s.Snapshot()
			if err != nil {
				return err
			}
			v, err := p.Value().At(c.Path)
			if err != nil {
				return err
			}
			if last == nil || len(inspect.Diff(last, p)) > 0 {
				b, _ := v.MarshalJSON()
				fmt.Fprintf(os.Stdout, "%s\n", b)
			}
			last = p
			return nil
		})
	}
	scr := e.screen()
	defer leaveScreen()
	return e.ticks(scr, c.Interval, c.Count, func() error {
		if c.again(e, &s) {
			last = nil
		}
		p, err := s.Snapshot()
		if errors.Is(err, shmem.ErrContended) {
			scr.draw(e.style.red("the value changes faster than it can be copied")+"\n", 0)
			return nil
		}
		if err != nil {
			return err
		}
		st, err := s.Status()
		if err != nil {
			return err
		}
		frame, err := c.frame(e, st, last, p)
		if err != nil {
			return err
		}
		scr.draw(frame, 3)
		last = p
		return nil
	})
}

// again looks at another segment if that has taken the name, and reports whether it has.
func (c *watchCmd) again(e *env, s **inspect.Observer) bool {
	if (*s).Linked() {
		return false
	}
	again, err := e.inspect(c.Name)
	if err != nil {
		return false
	}
	(*s).Close()
	*s = again
	return true
}

// stream watches a queue or topic: its counters and its last messages. No version tells of their changes.
func (c *watchCmd) stream(e *env, s **inspect.Observer) error {
	look := func(n int) (streamView, error) {
		c.again(e, s)
		if !isStream(*s) {
			return streamView{}, fmt.Errorf("%s: another segment has taken the name, which is no queue or topic", c.Name)
		}
		return streamOf(*s, n)
	}
	last, sent, at := "", uint64(0), time.Time{}
	if c.JSON {
		return e.ticks(nil, c.Interval, c.Count, func() error {
			v, err := look(lastMessages)
			if err != nil {
				return err
			}
			b, err := v.MarshalJSON()
			if err == nil && string(b) != last {
				last = string(b)
				_, err = fmt.Fprintln(os.Stdout, last)
			}
			return err
		})
	}
	scr := e.screen()
	defer leaveScreen()
	return e.ticks(scr, c.Interval, c.Count, func() error {
		v, err := look(max(lastMessages, e.height-5))
		if err != nil {
			return err
		}
		st, err := (*s).Status()
		if err != nil {
			return err
		}
		state := e.style.state(st.State, st.State.String())
		if !st.Linked {
			state += " " + e.style.magenta("unlinked")
		}
		rate, now := "", time.Now()
		if !at.IsZero() {
			rate = perSecond(float64(total(v.stats)-sent)/now.Sub(at).Seconds()) + "/s"
		}
		sent, at = total(v.stats), now
		var b strings.Builder
		fmt.Fprintf(&b, "%s  %s  %s  %s  %s\n", e.style.bold(st.Name), state, typeName(v.t), rate, e.style.faint(now.Format("15:04:05.0")))
		fmt.Fprintf(&b, "%s\n\n", e.style.faint(cut(fmt.Sprintf("%d attached, %s", len(st.Peers), statsText(v.stats)), e.width)))
		for _, l := range v.lines(e.style, e.width) {
			fmt.Fprintln(&b, l)
		}
		scr.draw(b.String(), 3)
		return nil
	})
}

func (c *watchCmd) frame(e *env, st *inspect.Status, last, p *inspect.Snapshot) (string, error) {
	v, err := p.Value().At(c.Path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Name, err)
	}
	var b strings.Builder
	state := e.style.state(st.State, st.State.String())
	if !st.Linked {
		state += " " + e.style.magenta("unlinked")
	}
	changes := ""
	changed := map[string]bool{}
	var rates []inspect.Change
	if last != nil {
		changes = perSecond(float64(p.Version-last.Version)/p.Time.Sub(last.Time).Seconds()) + " changes/s"
		for _, d := range inspect.Diff(last, p) {
			if rest, ok := strings.CutPrefix(d.Path, c.Path); ok {
				changed[strings.TrimPrefix(rest, ".")] = true
				rates = append(rates, d)
			}
		}
	}
	fmt.Fprintf(&b, "%s  %s  version %d  %s  %s\n", e.style.bold(st.Name), state, p.Version, changes, e.style.faint(p.Time.Format("15:04:05.0")))
	who := fmt.Sprintf("%d attached", len(st.Peers))
	if len(st.Lock.Holders) > 0 {
		who += ", lock: " + st.Lock.Holders[0].String()
	}
	fmt.Fprintf(&b, "%s\n\n", e.style.faint(who))
	beside := map[string]string{}
	for _, d := range rates {
		if r := rate(d, p.Time.Sub(last.Time)); r != "" {
			beside[strings.TrimPrefix(strings.TrimPrefix(d.Path, c.Path), ".")] = r + "/s"
		}
	}
	printLines(&b, e.style, v, e.width, 32, changed, beside)
	n := 0
	for _, d := range rates { // of what has no line of its own
		if r := beside[strings.TrimPrefix(strings.TrimPrefix(d.Path, c.Path), ".")]; r != "" {
			if n == 0 {
				fmt.Fprintf(&b, "\n%s\n", e.style.faint("in lines above"))
			}
			if n++; n > 32 {
				break
			}
			fmt.Fprintf(&b, "  %s  %s\n", e.style.cyan(pad(cut(d.Path, 40), 24)), r)
		}
	}
	return b.String(), nil
}

type topCmd struct {
	Interval time.Duration `short:"i" default:"1s" help:"Between two looks (${default})."`
	Count    int           `short:"n" help:"End after so many looks."`
	Lines    int           `default:"1000" hidden:""`
}

func (*topCmd) Help() string {
	return `Sorted by traffic: changes of a box, messages of a queue or topic a second, and in all. DEPTH is how
full a queue is, or how far behind the slowest subscriber of a topic is of those that hold publishers
back. LOST counts messages skipped or given back because a process died, and what subscribers were too
slow for. HELD is who holds the lock of the box, with how long this has been seen, or that slowest
subscriber; WAIT says how many wait for something. q ends it (and Ctrl-C), p pauses, arrows and PgUp,
PgDn, Home and End scroll.`
}

// A tracked segment is looked at again and again.
type tracked struct {
	s       *inspect.Observer
	st      *inspect.Status
	at      time.Time
	version uint64
	rate    float64
	holder  inspect.Holder
	since   time.Time // the holder has been seen
	seen    bool
}

func (c *topCmd) Run(e *env) error {
	all := map[string]*tracked{}
	defer func() {
		for _, t := range all {
			t.s.Close()
		}
	}()
	scr := e.screen()
	defer leaveScreen()
	return e.ticks(scr, c.Interval, c.Count, func() error {
		rows, err := e.rows(nil)
		if err != nil {
			return err
		}
		for _, t := range all {
			t.seen = false
		}
		for _, r := range rows {
			if r.err != nil || r.State == shmem.Foreign || r.State == shmem.Damaged {
				continue
			}
			c.look(e, all, r)
		}
		for n, t := range all {
			if !t.seen {
				t.s.Close()
				delete(all, n)
			}
		}
		scr.draw(c.frame(e, rows, all), 3)
		return nil
	})
}

func (c *topCmd) look(e *env, all map[string]*tracked, r row) {
	t := all[r.Path]
	if t == nil || !r.unlinked && !t.s.Linked() {
		name := r.Name
		if r.unlinked {
			name = r.Path
		}
		s, err := inspect.Open(e.dir, name)
		if err != nil {
			return
		}
		if t != nil {
			t.s.Close()
		}
		t = &tracked{s: s}
		all[r.Path] = t
	}
	st, err := t.s.Status()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return
		}
		return
	}
	now := time.Now()
	if t.st != nil {
		t.rate = float64(counter(st)-t.version) / now.Sub(t.at).Seconds()
	}
	held := inspect.Holder{}
	if len(st.Lock.Holders) > 0 {
		held = st.Lock.Holders[0]
	}
	if held != t.holder || counter(st) != t.version {
		t.holder, t.since = held, now
	}
	t.st, t.at, t.version, t.seen = st, now, counter(st), true
}

// total is the number of messages that were sent or published.
func total(s *inspect.Stats) uint64 { return s.Sent + s.Published }

// counter is what goes up with traffic.
func counter(st *inspect.Status) uint64 {
	if st.Stats != nil {
		return total(st.Stats)
	}
	return st.Version
}

func (c *topCmd) frame(e *env, rows []row, all map[string]*tracked) string {
	type line struct {
		r row
		t *tracked
	}
	var lines []line
	var memory int64
	for _, r := range rows {
		memory += r.InUse
		lines = append(lines, line{r, all[r.Path]})
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		x, y := 0.0, 0.0
		if a.t != nil {
			x = a.t.rate
		}
		if b.t != nil {
			y = b.t.rate
		}
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(a.r.rank(), b.r.rank()), cmp.Compare(a.r.Name, b.r.Name))
	})
	var cells [][]string
	for _, l := range lines {
		rate, held, wait, version, depth, lost := "-", "-", "-", "-", "-", "-"
		if l.t != nil && l.t.st != nil {
			st := l.t.st
			rate, version = perSecond(l.t.rate), count(counter(st))
			if tr := st.Stats; tr != nil {
				depth, lost = count(tr.Depth+tr.Lag)+"/"+count(uint64(tr.Capacity)), count(tr.Skipped+tr.Redelivered+tr.Released+tr.Lost)
				if tr.Holds > 0 {
					held = comm(tr.SlowestHolder.PID, "slot "+strconv.Itoa(tr.Slowest)) + " " + strconv.Itoa(tr.SlowestHolder.PID)
				}
			}
			if l.t.rate == 0 {
				rate = "0"
			}
			if len(st.Lock.Holders) > 0 {
				h := st.Lock.Holders[0]
				held = comm(h.PID, "slot "+strconv.Itoa(h.Slot)) + " " + strconv.Itoa(h.PID)
				if d := time.Since(l.t.since); d > time.Second {
					held += " " + since(l.t.since)
				}
				if !h.Alive {
					held = "dead " + strconv.Itoa(h.PID)
				}
			}
			n := 0
			for _, sl := range st.Slots {
				if len(sl.Waits) > 0 {
					n++
				}
			}
			wait = strconv.Itoa(n)
		}
		att := "-"
		if l.r.err == nil && l.r.State != shmem.Foreign && l.r.State != shmem.Damaged {
			att = strconv.Itoa(len(l.r.Peers))
		}
		cells = append(cells, []string{l.r.Name, rate, version, depth, lost, held, wait, att, size(l.r.InUse), l.r.shown()})
	}
	sub := *e
	var b strings.Builder
	sub.out = &b
	fmt.Fprintf(&b, "%s  %s\n\n", e.style.bold("shmem top "+time.Now().Format("15:04:05")), e.style.faint(fmt.Sprintf("%d in %s, %s of memory", len(rows), e.dir, words(memory))))
	sub.table([]column{
		{head: "NAME", least: 14, paint: func(_ int, s string) string { return e.style.bold(s) }},
		{head: "PER SEC", right: true},
		{head: "TOTAL", right: true}, {head: "DEPTH", right: true}, {head: "LOST", right: true},
		{head: "HELD", least: 8, paint: func(i int, s string) string {
			if strings.HasPrefix(s, "dead") {
				return e.style.red(s)
			}
			return s
		}},
		{head: "WAIT", right: true}, {head: "ATT", right: true, spare: true}, {head: "MEM", right: true, spare: true},
		{head: "STATE", paint: func(i int, s string) string {
			if lines[i].r.unlinked {
				return e.style.magenta(s)
			}
			return e.style.state(lines[i].r.State, s)
		}},
	}, cells)
	return b.String()
}
