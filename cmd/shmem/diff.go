package main

import (
	"fmt"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// diffCmd compares two snapshots of a value.
type diffCmd struct {
	Name string        `arg:"" help:"The segment."`
	In   time.Duration `arg:"" optional:"" default:"1s" help:"Time between the two snapshots (${default})."`
}

func (c *diffCmd) Run(e *env) error {
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer o.Close()
	a, err := o.Snapshot()
	if err != nil {
		return err
	}
	select {
	case <-time.After(c.In):
	case <-e.ctx.Done(): // Ctrl-C: show what has changed until now
	}
	b, err := o.Snapshot()
	if err != nil {
		return err
	}
	changes := inspect.Diff(a, b)
	var rows [][]string
	for _, d := range changes {
		rows = append(rows, []string{d.Path, changeEnd(d.Old), changeEnd(d.New),
			rate(d, b.Time.Sub(a.Time))})
	}
	if len(rows) > 0 {
		e.table([]column{
			{head: "PATH", least: 10, paint: painted(e.style.cyan)},
			{head: "BEFORE", least: 8}, {head: "AFTER", least: 8},
			{head: "PER SECOND", right: true},
		}, rows)
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d changed in %v; versions %d to %d",
		len(changes), c.In, a.Version, b.Version)))
	return nil
}

// changeEnd is the value at one end of a change, - where there was none.
func changeEnd(v inspect.Value) string {
	if v.Type() == nil && v.Len() == 0 {
		return "-"
	}
	return v.String()
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
