package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// diffCmd compares two snapshots of a value.
type diffCmd struct {
	Name string        `arg:"" help:"The segment."`
	In   time.Duration `arg:"" optional:"" default:"1s" help:"Time between the two snapshots (${default})."`
	Path string        `arg:"" optional:"" help:"A part of the value."`
	JSON bool          `name:"json" help:"A line of JSON for each change: path, old and new value."`
}

func (*diffCmd) Help() string {
	return `It takes no lock. Of a queue, topic, map, cache or service "shmem watch" shows what
changes; with a PATH, diff compares the memory of it.`
}

func (c *diffCmd) Run(e *env) error {
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer o.Close()
	if kind := kindOfSegment(o); kind != kindBox && kind != kindBytes && c.Path == "" {
		return e.unfit(o, c.Name, "compares values of boxes")
	}
	a, err := o.SnapshotAt(c.Path)
	if err != nil {
		return e.snapshotError(c.Name, err)
	}
	if c.In < 0 {
		c.In = 0
	}
	select {
	case <-time.After(c.In):
	case <-e.ctx.Done(): // Ctrl-C: show what has changed until now
	}
	b, err := o.SnapshotAt(c.Path)
	if err != nil {
		return e.snapshotError(c.Name, err)
	}
	if c.JSON {
		return c.json(e, a, b)
	}
	var rows [][]string
	n := 0
	for d := range inspect.Changes(a, b) {
		if n++; n <= maxChanges {
			rows = append(rows, []string{d.Path, changeEnd(d.Old), changeEnd(d.New),
				rate(d, b.Time.Sub(a.Time))})
		}
	}
	if len(rows) > 0 {
		e.table([]column{
			{head: "PATH", least: 10, paint: painted(e.style.cyan)},
			{head: "BEFORE", least: 8}, {head: "AFTER", least: 8},
			{head: "PER SECOND", right: true},
		}, rows)
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d changed in %v; versions %d to %d",
		n, b.Time.Sub(a.Time).Round(time.Millisecond), a.Version, b.Version)))
	if n > len(rows) {
		fmt.Fprintf(e.out, "%d more are not shown; --json has all\n", n-len(rows))
	}
	return nil
}

// json prints a line for each change.
func (c *diffCmd) json(e *env, a, b *inspect.Snapshot) error {
	enc := json.NewEncoder(safeWriter{e.raw})
	enc.SetEscapeHTML(false)
	for d := range inspect.Changes(a, b) {
		j := jsonChange{Path: d.Path, Old: end(d.Old), New: end(d.New)}
		if err := enc.Encode(j); err != nil {
			return err
		}
	}
	return nil
}

type jsonChange struct {
	Path string     `json:"path"`
	Old  *jsonValue `json:"old"` // null where there was none
	New  *jsonValue `json:"new"`
}

func end(v inspect.Value) *jsonValue {
	if isNone(v) {
		return nil
	}
	return &jsonValue{v}
}

// isNone reports whether a value is that of a change where there was none.
func isNone(v inspect.Value) bool { return v.Type() == nil && v.Len() == 0 }

// changeEnd is the value at one end of a change, - where there was none.
func changeEnd(v inspect.Value) string {
	if isNone(v) {
		return "-"
	}
	const most = 1000 // bytes
	return v.Short(most)
}

// rate is how fast an integer changes, and "" for other values.
func rate(d inspect.Change, in time.Duration) string {
	var n float64
	switch a := d.Old.Any().(type) {
	case uint64:
		b, ok := d.New.Any().(uint64)
		if !ok {
			return ""
		}
		n = float64(int64(b - a)) // a counter may go down, or wrap
	case int64:
		b, ok := d.New.Any().(int64)
		if !ok {
			return ""
		}
		n = float64(b - a)
	default:
		return ""
	}
	return perSecond(n / in.Seconds())
}
