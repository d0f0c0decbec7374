package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

type catCmd struct {
	Name string `arg:"" help:"The segment, or a path."`
	Path string `arg:"" optional:"" help:"A part of the value, as Routes[3].Name."`
	JSON bool   `name:"json" xor:"form" help:"JSON, as encoding/json has the Go value."`
	Hex  bool   `xor:"form" help:"The bytes in hex; of a damaged segment those of the file."`
	Raw  bool   `xor:"form" help:"The bytes themselves."`
	Type bool   `xor:"form" help:"The type, with offsets."`
	All  bool   `short:"a" help:"Every element of long arrays, every message of a queue or topic."`
}

func (*catCmd) Help() string {
	return `The value is shown as it was at one moment: neither half of a change in hand, nor what a dead
program had half done. Numbers, texts and flags of a PATH are printed bare, for scripts:

  $ shmem cat config Routes[0].Name
  default

Of a queue or topic it shows what it counts and the last messages that are there, oldest first, each with
its number, and takes none out. With a PATH, or --raw or --hex, it shows the innards.`
}

// arrayLines is how many lines of an array cat shows without --all.
const arrayLines = 64

func (c *catCmd) Run(e *env) error {
	s, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.Type {
		if s.Type() == nil {
			return fmt.Errorf("%s: %w: it has no schema", c.Name, shmem.ErrMismatch)
		}
		fmt.Fprintln(e.out, s.Type().Declaration())
		return nil
	}
	if info := s.Info(); info.State == shmem.Damaged && !c.Hex && !c.Raw {
		return fmt.Errorf("%s: %w\n  --hex shows its bytes", c.Name, info.Err)
	}
	if isStream(s) && c.Path == "" && !c.Raw && !c.Hex {
		return c.stream(e, s)
	}
	p, err := s.Snapshot()
	if err != nil {
		return err
	}
	v, err := p.Value().At(c.Path)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.Name, errRefused, err)
	}
	if p.Torn && p.Changing {
		fmt.Fprintf(e.err, "shmem: %s: somebody is changing the value, or died over it, and it has no undo image: old and new may be mixed\n", c.Name)
	}
	return c.show(e, v)
}

// stream shows a queue or topic.
func (c *catCmd) stream(e *env, s *inspect.Observer) error {
	n := lastMessages
	if c.All {
		n = 0
	}
	v, err := streamOf(s, n)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(v)
	}
	_, err = io.WriteString(e.out, v.text(e))
	return err
}

func (c *catCmd) show(e *env, v inspect.Value) error {
	switch {
	case c.JSON:
		return e.json(v)
	case c.Raw:
		_, err := e.out.Write(v.Bytes())
		return err
	case c.Hex:
		for l := range inspect.Hex(v.Bytes(), v.Offset()) {
			fmt.Fprintln(e.out, l)
		}
		return nil
	case c.Path != "" && v.Kind() == inspect.Text:
		text := fmt.Sprint(v.Any())
		if e.tty { // it could send the terminal anything
			text = printable(text)
		}
		fmt.Fprintln(e.out, text)
		return nil
	case v.Kind() == inspect.Raw:
		for l := range inspect.Hex(v.Bytes(), v.Offset()) {
			fmt.Fprintln(e.out, e.style.faint(l[:min(9, len(l))])+l[min(9, len(l)):])
		}
		return nil
	}
	limit := arrayLines
	if c.All {
		limit = 0
	}
	printLines(e.out, e.style, v, e.width, limit, nil, nil)
	return nil
}

// printLines shows a value; lines whose path begins with one of changed are marked. What beside says of a
// line's path stands behind it, and is taken out of beside.
func printLines(w io.Writer, s style, v inspect.Value, width, limit int, changed map[string]bool, beside map[string]string) {
	var all []inspect.Line
	for l := range v.Lines(width, limit) {
		all = append(all, l)
	}
	column := make([]int, len(all)) // of the labels beside it
	for i := range all {
		if column[i] != 0 {
			continue
		}
		n := 1
		for j := i; j < len(all) && all[j].Depth >= all[i].Depth; j++ {
			if all[j].Depth == all[i].Depth && len(all[j].Label) <= 24 {
				n = max(n, len([]rune(all[j].Label)))
			}
		}
		for j := i; j < len(all) && all[j].Depth >= all[i].Depth; j++ {
			if all[j].Depth == all[i].Depth {
				column[j] = n
			}
		}
	}
	for i, l := range all {
		indent := strings.Repeat("  ", l.Depth)
		label := l.Label
		if (l.Text != "" || l.Note != "") && label != "" {
			label = pad(label, column[i])
		}
		text := l.Text
		switch {
		case changed != nil && isChanged(l, changed):
			text = s.changed(text)
		case text == "all zero" || strings.HasSuffix(text, " zero bytes"):
			text = s.faint(text)
		case l.Kind == inspect.Text:
			text = s.green(text)
		case l.Kind == inspect.Lock && text != "free":
			text = s.magenta(text)
		}
		if label != "" {
			label = s.cyan(label)
			if text != "" {
				label += "  "
			}
		}
		note := l.Note
		if note != "" {
			note = "  " + s.faint(note)
		}
		if r := beside[l.Path]; r != "" && l.Span <= 1 {
			note += "  " + r
			delete(beside, l.Path)
		}
		fmt.Fprintf(w, "%s%s%s%s\n", indent, label, text, note)
	}
}

func isChanged(l inspect.Line, changed map[string]bool) bool {
	if changed[l.Path] {
		return true
	}
	if l.Text == "" {
		return false
	}
	for p := range changed {
		if strings.HasPrefix(p, l.Path) && (len(p) == len(l.Path) || l.Path == "" || p[len(l.Path)] == '.' || p[len(l.Path)] == '[') {
			return true
		}
		if l.Span > 1 { // a line for many elements
			if i := strings.LastIndexByte(l.Path, '['); i >= 0 && strings.HasPrefix(p, l.Path[:i+1]) {
				var n, first int
				if _, err := fmt.Sscanf(p[i+1:], "%d]", &n); err == nil {
					_, _ = fmt.Sscanf(l.Path[i+1:], "%d]", &first)
					if n >= first && n < first+l.Span {
						return true
					}
				}
			}
		}
	}
	return false
}

type setCmd struct {
	Name    string        `arg:"" help:"The segment."`
	Set     []string      `arg:"" name:"path=value" help:"What to set: Limit=10, Routes[3].Name=default."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the lock (${default})."`
}

func (*setCmd) Help() string {
	return `All of it is set in one change, or nothing. Values are checked against the schema first:
numbers (0x too), true and false, texts, durations for a time.Duration, bytes as text or 0x and hex
digits, JSON for structs, arrays and lists:

  $ shmem set config Limit=0x40 'Routes[0]={"Name":"up","Weight":3}'

The command attaches for a moment, takes the box's lock as Update does, and leaves the duty of the
last one to others.`
}

func (c *setCmd) Run(e *env) error {
	if err := plainName(c.Name); err != nil {
		return err
	}
	var all []inspect.Assignment
	for _, s := range c.Set {
		path, value, ok := strings.Cut(s, "=")
		if !ok {
			return usageError{fmt.Errorf("%q: PATH=VALUE is needed", s)}
		}
		all = append(all, inspect.Assignment{Path: path, Value: value})
	}
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	err := inspect.Set(ctx, c.Name, e.opts(), all...)
	var se *shmem.Error
	if errors.As(err, &se) && errors.Unwrap(se) != nil && !known(err) {
		err = fmt.Errorf("%w (%w)", err, errRefused)
	}
	return err
}

// known errors have their own exit codes; others of Set are those of the schema.
func known(err error) bool {
	for _, k := range []error{
		shmem.ErrBusy, shmem.ErrContended, shmem.ErrCorrupt, shmem.ErrForeign, shmem.ErrMismatch, shmem.ErrNoSpace, shmem.ErrNoSlot,
		context.DeadlineExceeded, context.Canceled, errors.ErrUnsupported,
	} {
		if errors.Is(err, k) {
			return true
		}
	}
	return isOS(err)
}

type diffCmd struct {
	Name string        `arg:"" help:"The segment."`
	In   time.Duration `arg:"" optional:"" default:"1s" help:"Between the two looks (${default})."`
}

func (c *diffCmd) Run(e *env) error {
	s, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	a, err := s.Snapshot()
	if err != nil {
		return err
	}
	select {
	case <-time.After(c.In):
	case <-e.ctx.Done():
	}
	b, err := s.Snapshot()
	if err != nil {
		return err
	}
	changes := inspect.Diff(a, b)
	var rows [][]string
	for _, d := range changes {
		rows = append(rows, []string{d.Path, short(d.Old), short(d.New), rate(d, b.Time.Sub(a.Time))})
	}
	if len(rows) > 0 {
		e.table([]column{
			{head: "PATH", least: 10, paint: func(_ int, s string) string { return e.style.cyan(s) }},
			{head: "BEFORE", least: 8}, {head: "AFTER", least: 8}, {head: "PER SECOND", right: true},
		}, rows)
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d changed in %v; versions %d to %d", len(changes), c.In, a.Version, b.Version)))
	return nil
}

func short(v inspect.Value) string {
	if v.Type() == nil && v.Len() == 0 {
		return "-"
	}
	return v.String()
}

func rate(d inspect.Change, in time.Duration) string {
	var n float64
	switch a := d.Old.Any().(type) {
	case uint64:
		b, ok := d.New.Any().(uint64)
		if !ok {
			return ""
		}
		n = float64(int64(b - a))
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

func perSecond(f float64) string {
	sign := "+"
	if f < 0 {
		sign, f = "-", -f
	}
	switch {
	case f == 0:
		return "0"
	case f < 10:
		return fmt.Sprintf("%s%.1f", sign, f)
	case f < 10e3:
		return fmt.Sprintf("%s%.0f", sign, f)
	case f < 10e6:
		return fmt.Sprintf("%s%.0fk", sign, f/1e3)
	}
	return fmt.Sprintf("%s%.0fM", sign, f/1e6)
}
