package main

import (
	"fmt"
	"io"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// catCmd shows a value, a part of it, or the messages of a queue or topic.
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
	return `The value is shown as it was at one moment, never half changed, also where a process
died changing it. Numbers, texts and flags of a PATH are printed bare, for scripts:

  $ shmem cat config Routes[0].Name
  default

Of a queue or topic it shows the counters and the last messages, oldest first, each with its number,
and receives none. With a PATH, or --raw or --hex, it shows the memory of the queue or topic
itself.`
}

// arrayLines is how many lines of an array cat shows without --all.
const arrayLines = 64

func (c *catCmd) Run(e *env) error {
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer o.Close()
	if c.Type {
		if o.Type() == nil {
			return fmt.Errorf("%s: %w: it has no schema", c.Name, shmem.ErrMismatch)
		}
		fmt.Fprintln(e.out, o.Type().Declaration())
		return nil
	}
	if info := o.Info(); info.Err != nil && !c.Hex && !c.Raw {
		return fmt.Errorf("%s: %w\n  --hex shows its bytes", c.Name, info.Err)
	}
	if isStream(o) && c.Path == "" && !c.Raw && !c.Hex {
		return c.stream(e, o)
	}
	// A copy of one moment; it waits for no writer, and no writer for it.
	snap, err := o.Snapshot()
	if err != nil {
		return err
	}
	v, err := snap.Value().At(c.Path)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.Name, errRefused, err)
	}
	if snap.Torn && snap.Changing {
		fmt.Fprintf(e.err, "shmem: %s: a process is changing the value, or died changing it, and "+
			"there is no undo image: old and new may be mixed\n", c.Name)
	}
	return c.show(e, v)
}

// stream shows a queue or topic.
func (c *catCmd) stream(e *env, o *inspect.Observer) error {
	n := lastMessages
	if c.All {
		n = 0
	}
	v, err := streamOf(o, n)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(v)
	}
	_, err = io.WriteString(e.out, v.text(e))
	return err
}

// show prints the value in the form that was asked for.
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
		if e.tty { // escape sequences in the value must not reach the terminal
			text = printable(text)
		}
		fmt.Fprintln(e.out, text)
		return nil
	case v.Kind() == inspect.Raw:
		for l := range inspect.Hex(v.Bytes(), v.Offset()) {
			const offset = 9 // columns of the offset
			fmt.Fprintln(e.out, e.style.faint(l[:min(offset, len(l))])+l[min(offset, len(l)):])
		}
		return nil
	}
	limit := arrayLines
	if c.All {
		limit = 0
	}
	valueLines{style: e.style, width: e.width, limit: limit}.print(e.out, v)
	return nil
}
