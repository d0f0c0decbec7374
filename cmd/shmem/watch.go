package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// watchCmd shows one segment, again and again.
type watchCmd struct {
	Name     string        `arg:"" help:"The segment."`
	Path     string        `arg:"" optional:"" help:"A part of the value."`
	Interval time.Duration `short:"i" default:"500ms" help:"Time between two frames (${default})."`
	Count    int           `short:"n" help:"End after so many frames."`
	JSON     bool          `name:"json" help:"A line of JSON for each change."`
}

func (*watchCmd) Help() string {
	return `What has changed since the last frame is highlighted, with the rate of numbers beside
it, or below where several share a line. q ends it (and Ctrl-C), p pauses, arrows and PgUp, PgDn,
Home and End scroll. It takes no lock and no slot. Of a queue or topic it shows the counters and the
last messages; with a PATH it shows the memory of the queue or topic itself. Of a kv.Map or
kv.Cache it shows the entries, and PATH is a key; of a service of package rpc its calls.`
}

// fixedLines is how many lines of a frame do not scroll: head, subhead, an empty one.
const fixedLines = 3

func (c *watchCmd) Run(e *env) error {
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	w := &watched{env: e, cmd: c, o: o}
	defer func() { w.o.Close() }()
	frame, line := w.valueFrame, w.valueLine
	if isStream(o) && c.Path == "" {
		frame, line = w.streamFrame, w.streamLine
	}
	if isMap(o) {
		frame, line = w.mapFrame, w.mapLine
	}
	if isService(o) && c.Path == "" {
		frame, line = w.serviceFrame, w.serviceLine
	}
	if isPool(o) && c.Path == "" {
		frame, line = w.poolFrame, w.poolLine
	}
	if isCache(o) {
		frame, line = w.cacheFrame, w.cacheLine
	}
	if c.JSON {
		return e.ticks(nil, c.Interval, c.Count, func() error {
			if err := line(); err != nil {
				return err
			}
			return e.stdout.flush()
		})
	}
	scr := e.screen()
	defer leaveScreen()
	return e.ticks(scr, c.Interval, c.Count, func() error {
		text, err := frame()
		if err == nil {
			err = scr.draw(text, fixedLines)
		}
		return err
	})
}

// A watched segment is looked at again and again.
type watched struct {
	*env
	cmd *watchCmd
	o   *inspect.Observer

	last     *inspect.Snapshot // of a box; nil at first
	lastJSON []byte            // of a queue or topic
	sent     uint64            // messages sent to a queue or topic at the time at
	at       time.Time         // zero at first
}

// follow turns to another segment if that has taken the name.
func (w *watched) follow() {
	if w.o.Linked() {
		return
	}
	o, err := w.inspect(w.cmd.Name)
	if err != nil {
		return // the old one can still be seen
	}
	w.o.Close()
	w.o, w.last, w.at = o, nil, time.Time{}
}

// valueLine prints the value as JSON if it has changed.
func (w *watched) valueLine() error {
	w.follow()
	snap, err := w.o.SnapshotAt(w.cmd.Path)
	if errors.Is(err, shmem.ErrContended) {
		return nil // the next frame may have it
	}
	if err != nil {
		return w.snapshotError(w.cmd.Name, err)
	}
	if w.last != nil && same(w.last, snap) {
		return nil
	}
	w.last = snap
	return w.env.valueJSON(snap.Value(), "")
}

// same reports whether nothing has changed between two snapshots.
func same(a, b *inspect.Snapshot) bool {
	for range inspect.Changes(a, b) {
		return false
	}
	return true
}

// valueFrame shows the value, with what has changed since the last frame.
func (w *watched) valueFrame() (string, error) {
	w.follow()
	snap, err := w.o.SnapshotAt(w.cmd.Path)
	if errors.Is(err, shmem.ErrContended) {
		return w.style.red("the value changes faster than it can be copied") + "\n", nil
	}
	if err != nil {
		return "", w.snapshotError(w.cmd.Name, err)
	}
	st, err := w.o.Status()
	if err != nil {
		return "", err
	}
	ch := changesSince(w.last, snap)
	w.last = snap
	var b strings.Builder
	b.WriteString(w.head(st, fmt.Sprintf("version %d", snap.Version), ch.perSecond, snap.Time))
	attached := fmt.Sprintf("%d attached", len(st.Peers))
	if len(st.Lock.Holders) > 0 {
		attached += ", lock: " + st.Lock.Holders[0].String()
	}
	fmt.Fprintf(&b, "%s\n\n", w.style.faint(cut(attached, w.width)))
	valueLines{style: w.style, width: w.width, limit: watchLines, changed: ch.paths,
		beside: ch.rates}.print(&b, snap.Value())
	ch.printRest(&b, w.style)
	return b.String(), nil
}

// watchLines bounds the lines of an array, and of rates below the value.
const watchLines = 32

// changes are what has changed between two frames.
type changes struct {
	perSecond string            // of the whole value
	all       []inspect.Change  // the first ones
	paths     map[string]bool   // of these
	rates     map[string]string // of numbers
}

// maxChanges bounds how many changes are shown of those between two looks.
const maxChanges = 1000

// changesSince compares a snapshot with the last one, which may be nil.
func changesSince(last, now *inspect.Snapshot) changes {
	ch := changes{paths: map[string]bool{}, rates: map[string]string{}}
	if last == nil {
		return ch
	}
	elapsed := now.Time.Sub(last.Time)
	ch.perSecond = perSecond(float64(now.Version-last.Version)/elapsed.Seconds()) + " changes/s"
	for d := range inspect.Changes(last, now) {
		if len(ch.all) == maxChanges {
			break
		}
		ch.all = append(ch.all, d)
		ch.paths[d.Path] = true
		if r := rate(d, elapsed); r != "" {
			ch.rates[d.Path] = r + "/s"
		}
	}
	return ch
}

// printRest prints the rates of numbers that share a line with others.
func (ch changes) printRest(b *strings.Builder, s style) {
	n := 0
	for _, d := range ch.all {
		r := ch.rates[d.Path]
		if r == "" {
			continue
		}
		if n == 0 {
			fmt.Fprintf(b, "\n%s\n", s.faint("in lines above"))
		}
		if n++; n > watchLines {
			return
		}
		fmt.Fprintf(b, "  %s  %s\n", s.cyan(pad(cut(d.Path, 40), 24)), r)
	}
}

// stateOf is the state of a segment in colour.
func (e *env) stateOf(st *inspect.Status) string {
	state := e.style.state(st.State, st.State.String())
	if !st.Linked {
		state += " " + e.style.magenta("unlinked")
	}
	return state
}

// head is the first line of a frame: name, state, what the segment is, rate and time. It fits the
// width of the terminal: what the segment is may be cut, and the time left out.
func (w *watched) head(st *inspect.Status, what, rate string, now time.Time) string {
	const least, gaps = 12, 4 * gap
	clock := now.Format("15:04:05.0")
	room := w.width - width(clean(st.Name)) - len(st.State.String()) - len(rate) - gaps
	if !st.Linked {
		room -= len(" unlinked")
	}
	if room-len(clock) < min(width(what), least) {
		clock = ""
	}
	return fmt.Sprintf("%s  %s  %s  %s  %s\n", w.style.bold(clean(st.Name)), w.stateOf(st),
		cut(what, max(room-len(clock), 1)), rate, w.style.faint(clock))
}

// streamView reads a queue or topic with its last n messages.
func (w *watched) streamView(n int) (streamView, error) {
	w.follow()
	if !isStream(w.o) {
		return streamView{}, fmt.Errorf(
			"%s: another segment has taken the name, which is no queue or topic", w.cmd.Name)
	}
	return streamOf(w.o, n)
}

// streamLine prints the queue or topic if it has changed. It has no version that would tell.
func (w *watched) streamLine() error {
	v, err := w.streamView(lastMessages)
	if err != nil {
		return err
	}
	return w.line(v.MarshalJSON())
}

// line prints a line of JSON if it is not the last one.
func (w *watched) line(line []byte, err error) error {
	if err != nil || bytes.Equal(line, w.lastJSON) {
		return err
	}
	w.lastJSON = line
	_, err = w.raw.Write(append(safeJSON(line), '\n'))
	return err
}

// streamFrame shows the counters and as many messages as fit.
func (w *watched) streamFrame() (string, error) {
	v, err := w.streamView(max(lastMessages, w.height-fixedLines-2))
	if err != nil {
		return "", err
	}
	st, err := w.o.Status()
	if err != nil {
		return "", err
	}
	rate, now := "", time.Now()
	if !w.at.IsZero() {
		rate = perSecond(float64(total(v.stats)-w.sent)/now.Sub(w.at).Seconds()) + "/s"
	}
	w.sent, w.at = total(v.stats), now
	var b strings.Builder
	b.WriteString(w.head(st, typeName(v.t), rate, now))
	fmt.Fprintf(&b, "%s\n\n", w.style.faint(cut(fmt.Sprintf("%d attached, %s", len(st.Peers),
		statsText(v.stats)), w.width)))
	for _, l := range v.lines(w.style, w.width) {
		fmt.Fprintln(&b, l)
	}
	return b.String(), nil
}
