package main

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/gen"
)

// genCmd writes code for the type of a segment. The work is done by inspect.Type.Generate.
type genCmd struct {
	Lang string `arg:"" enum:"c,python,rust,go" help:"c, python, rust or go."`
	Name string `arg:"" help:"The segment whose type is taken."`
	As   string `placeholder:"IDENT" help:"What the type is called; default: as in Go."`
	Out  string `short:"o" placeholder:"FILE" help:"Where to; default: standard output."`
}

func (*genCmd) Help() string {
	return `The code attaches to the live box: it checks magic, version and fingerprint (and
refuses a segment with another fingerprint, naming both, unless fields were only appended), takes
consistent snapshots without a lock, and stores and updates under the box's own lock, as Load, Store
and Update do. It needs only the language's standard library. The C header is C++17 as well. From a
Go type the same code is made by inspect.TypeFor and Type.Generate.

For a topic, Go code has the type of its messages, for topic.Attach, and Python code follows the
messages. Queues, and topics in C and Rust, are refused: a store would overwrite what other
processes send.`
}

func (c *genCmd) Run(e *env) error {
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer o.Close()
	if o.Type() == nil {
		return fmt.Errorf("%s: %w: it has no schema to generate from", c.Name, shmem.ErrMismatch)
	}
	code, err := o.Type().Generate(inspect.Language(c.Lang), c.As)
	if errors.Is(err, gen.ErrStream) { // a queue or topic: the error says what to use instead
		err = fmt.Errorf("%s: %w: %w", c.Name, errRefused, err)
	}
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err = e.out.Write(code)
		return err
	}
	f, err := createLike(c.Out, o.Info())
	if err != nil {
		return fileError(err)
	}
	_, err = f.Write(code)
	if err = errors.Join(err, f.Close()); err != nil {
		return fileError(err)
	}
	return nil
}
