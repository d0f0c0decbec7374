package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// catCmd shows a value, a part of it, or the messages of a queue or topic.
type catCmd struct {
	Name string `arg:"" help:"The segment, or a path."`
	Path string `arg:"" optional:"" help:"A part of the value, as Routes[3].Name; the key of a kv.Map or kv.Cache."`
	JSON bool   `name:"json" xor:"form" help:"JSON, as encoding/json has the Go value; integers beyond 2^53 are strings."`
	Hex  bool   `xor:"form" help:"The bytes in hex; of a damaged segment those of the file."`
	Raw  bool   `xor:"form" help:"The bytes themselves."`
	Type bool   `xor:"form" help:"The type, with offsets."`
	All  bool   `short:"a" help:"Every element of long arrays, every message of a queue or topic, every entry of a map or cache."`
}

func (*catCmd) Help() string {
	return `The value is shown as it was at one moment, never half changed, also where a process
died changing it. Numbers, texts and flags of a PATH are printed bare, for scripts, on one line: in
a text, what a terminal would act on is escaped, as \n and \x1b, and --raw prints the bytes:

  $ shmem cat config Routes[0].Name
  default

Of a queue or topic it shows the counters and the last messages, oldest first, each with its number,
and receives none. With a PATH, or --raw or --hex, it shows the memory of the queue or topic
itself. Of a service of package rpc it shows what its calls are doing.

Of a kv.Map or kv.Cache it shows some entries, all of them with --all. PATH is a key then, written
as it is shown there: its value is printed. The keys and values of a cache are bytes: --raw prints
them, and in JSON those that are no text are in base64.`
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
		return fmt.Errorf("%s: %w", c.Name, info.Err)
	}
	if c.Path == "" && !c.JSON && (o.Type() == nil || c.Hex || c.Raw) {
		return c.bytes(e, o)
	}
	if isMap(o) && (c.Path != "" || !c.Raw && !c.Hex) {
		return c.mapped(e, o)
	}
	if isCache(o) && (c.Path != "" || !c.Raw && !c.Hex) {
		return c.cached(e, o)
	}
	if isService(o) && c.Path == "" && !c.Raw && !c.Hex {
		return c.service(e, o)
	}
	if isPool(o) && c.Path == "" && !c.Raw && !c.Hex {
		return c.pool(e, o)
	}
	if isStream(o) && c.Path == "" && !c.Raw && !c.Hex {
		return c.stream(e, o)
	}
	// A copy of one moment; it waits for no writer, and no writer for it.
	snap, err := o.SnapshotAt(c.Path)
	if err != nil {
		return e.snapshotError(c.Name, err)
	}
	if snap.Torn && snap.Changing {
		fmt.Fprintf(e.err, "shmem: %s: a process is changing the value, or died changing it, and "+
			"there is no undo image: old and new may be mixed\n", clean(c.Name))
	}
	return c.show(e, snap.Value())
}

// snapshotError makes an error of the path one of a refusal.
func (e *env) snapshotError(name string, err error) error {
	var se *shmem.Error
	if errors.As(err, &se) {
		return err
	}
	return fmt.Errorf("%s: %w: %w", name, errRefused, err)
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
		return e.valueJSON(v, "  ")
	case c.Raw:
		_, err := e.raw.Write(v.Bytes())
		return err
	case c.Hex:
		for l := range inspect.Hex(v.Bytes(), v.Offset()) {
			fmt.Fprintln(e.out, l)
		}
		return nil
	case c.Path != "" && isBare(v):
		fmt.Fprintln(e.out, bare(v))
		return nil
	}
	limit := arrayLines
	if c.All {
		limit = 0
	}
	valueLines{style: e.style, width: e.width, limit: limit}.print(e.out, v)
	return nil
}

// isBare reports whether a value is printed bare where a path leads to it: what has no parts.
func isBare(v inspect.Value) bool {
	switch v.Kind() {
	case inspect.Bool, inspect.Int, inspect.Uint, inspect.Float, inspect.Complex, inspect.Text:
		return true
	}
	return false
}

// bare is a value for scripts, on one line. Only --raw and --json show a text exactly.
func bare(v inspect.Value) string {
	if v.Kind() == inspect.Text {
		return cleanLine(string(v.Bytes()[:v.Len()]))
	}
	return v.String()
}

// valueJSON prints a value as JSON, with a newline behind it. With an indent each part has a line.
func (e *env) valueJSON(v inspect.Value, indent string) error {
	if err := v.WriteJSON(e.raw, indent); err != nil {
		return err
	}
	_, err := e.raw.Write([]byte{'\n'})
	return err
}
