package main

import (
	"errors"
	"fmt"
	"os"
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
last messages; with a PATH it shows the memory of the queue or topic itself.`
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
	frame, line := w.valueFrame, w.valueJSON
	if isStream(o) && c.Path == "" {
		frame, line = w.streamFrame, w.streamJSON
	}
	if c.JSON {
		return e.ticks(nil, c.Interval, c.Count, func() error { return w.printJSON(line) })
	}
	scr := e.screen()
	defer leaveScreen()
	return e.ticks(scr, c.Interval, c.Count, func() error {
		text, err := frame()
		if err == nil {
			scr.draw(text, fixedLines)
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
	lastJSON string            // of a queue or topic
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

// printJSON prints a line that next returns, unless it is empty.
func (w *watched) printJSON(next func() ([]byte, error)) error {
	line, err := next()
	if err != nil || len(line) == 0 {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\n", line)
	return err
}

// valueJSON is the value if it has changed.
func (w *watched) valueJSON() ([]byte, error) {
	snap, err := w.o.Snapshot()
	if err != nil {
		return nil, err
	}
	v, err := snap.Value().At(w.cmd.Path)
	if err != nil {
		return nil, err
	}
	if w.last != nil && len(inspect.Diff(w.last, snap)) == 0 {
		return nil, nil
	}
	w.last = snap
	return v.MarshalJSON()
}

// valueFrame shows the value, with what has changed since the last frame.
func (w *watched) valueFrame() (string, error) {
	w.follow()
	snap, err := w.o.Snapshot()
	if errors.Is(err, shmem.ErrContended) {
		return w.style.red("the value changes faster than it can be copied") + "\n", nil
	}
	if err != nil {
		return "", err
	}
	st, err := w.o.Status()
	if err != nil {
		return "", err
	}
	v, err := snap.Value().At(w.cmd.Path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", w.cmd.Name, err)
	}
	ch := changesSince(w.last, snap, w.cmd.Path)
	w.last = snap
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  version %d  %s  %s\n", w.style.bold(st.Name), w.stateOf(st),
		snap.Version, ch.perSecond, w.clock(snap.Time))
	attached := fmt.Sprintf("%d attached", len(st.Peers))
	if len(st.Lock.Holders) > 0 {
		attached += ", lock: " + st.Lock.Holders[0].String()
	}
	fmt.Fprintf(&b, "%s\n\n", w.style.faint(attached))
	valueLines{style: w.style, width: w.width, limit: watchLines, changed: ch.paths,
		beside: ch.rates}.print(&b, v)
	ch.printRest(&b, w.style)
	return b.String(), nil
}

// watchLines bounds the lines of an array, and of rates below the value.
const watchLines = 32

// changes are what has changed between two frames, by paths from the value that is shown.
type changes struct {
	perSecond string            // of the whole value
	all       []inspect.Change  // with paths from the root
	paths     map[string]bool   // of all changes
	rates     map[string]string // of numbers
	root      string            // path of the value that is shown
}

// changesSince compares a snapshot with the last one, which may be nil.
func changesSince(last, now *inspect.Snapshot, root string) changes {
	ch := changes{paths: map[string]bool{}, rates: map[string]string{}, root: root}
	if last == nil {
		return ch
	}
	elapsed := now.Time.Sub(last.Time)
	ch.perSecond = perSecond(float64(now.Version-last.Version)/elapsed.Seconds()) + " changes/s"
	for _, d := range inspect.Diff(last, now) {
		if !strings.HasPrefix(d.Path, root) {
			continue
		}
		ch.all = append(ch.all, d)
		ch.paths[ch.local(d)] = true
		if r := rate(d, elapsed); r != "" {
			ch.rates[ch.local(d)] = r + "/s"
		}
	}
	return ch
}

// local is the path of a change from the value that is shown.
func (ch changes) local(d inspect.Change) string {
	return strings.TrimPrefix(strings.TrimPrefix(d.Path, ch.root), ".")
}

// printRest prints the rates of numbers that share a line with others.
func (ch changes) printRest(b *strings.Builder, s style) {
	n := 0
	for _, d := range ch.all {
		r := ch.rates[ch.local(d)]
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

func (e *env) clock(t time.Time) string { return e.style.faint(t.Format("15:04:05.0")) }

// streamView reads a queue or topic with its last n messages.
func (w *watched) streamView(n int) (streamView, error) {
	w.follow()
	if !isStream(w.o) {
		return streamView{}, fmt.Errorf(
			"%s: another segment has taken the name, which is no queue or topic", w.cmd.Name)
	}
	return streamOf(w.o, n)
}

// streamJSON is the queue or topic if it has changed. It has no version that would tell.
func (w *watched) streamJSON() ([]byte, error) {
	v, err := w.streamView(lastMessages)
	if err != nil {
		return nil, err
	}
	line, err := v.MarshalJSON()
	if err != nil || string(line) == w.lastJSON {
		return nil, err
	}
	w.lastJSON = string(line)
	return line, nil
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
	fmt.Fprintf(&b, "%s  %s  %s  %s  %s\n", w.style.bold(st.Name), w.stateOf(st), typeName(v.t),
		rate, w.clock(now))
	fmt.Fprintf(&b, "%s\n\n", w.style.faint(cut(fmt.Sprintf("%d attached, %s", len(st.Peers),
		statsText(v.stats)), w.width)))
	for _, l := range v.lines(w.style, w.width) {
		fmt.Fprintln(&b, l)
	}
	return b.String(), nil
}
