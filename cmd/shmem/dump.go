package main

import (
	"fmt"
	"io"

	"github.com/shmembox/shmem/inspect"
)

// dumpPiece is how many bytes cat reads at a time: a file may claim any size. It is a multiple of a
// row.
const dumpPiece = 64 << 10

// bytes shows the bytes of a segment without a schema, or of a file that is none, piece by piece.
// The pieces are not of one moment.
func (c *catCmd) bytes(e *env, o *inspect.Observer) error {
	end := o.Info().Size
	if o.Info().Err != nil {
		end = o.Info().File
	}
	if !c.Raw {
		d := &dump{e: e, plain: c.Hex, end: end}
		return d.all(o)
	}
	b := make([]byte, dumpPiece)
	for off := int64(0); off < end && e.ctx.Err() == nil; {
		n, err := o.ReadAt(b[:min(dumpPiece, end-off)], off)
		if _, err := e.raw.Write(b[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return e.signalled()
}

// A dump prints rows in hex. Of equal rows one after the other only the first is shown, and then a
// star; the last row always is. Holes of the file are not read.
type dump struct {
	e       *env
	plain   bool  // without colours
	end     int64 // of what is shown
	last    string
	starred bool
}

const dumpRow = 16

func (d *dump) all(o *inspect.Observer) error {
	b := make([]byte, dumpPiece)
	for off := int64(0); off < d.end && d.e.ctx.Err() == nil; {
		start, end, err := o.NextData(off)
		if err == io.EOF {
			start, end = d.end, d.end
		} else if err != nil {
			return err
		}
		if start = min(start, d.end); start < d.end {
			start &^= dumpRow - 1
		}
		if start > off {
			if err := d.hole(off, start); err != nil {
				return err
			}
			off = start
		}
		end = min((end+dumpRow-1)&^(dumpRow-1), d.end)
		for off < end && d.e.ctx.Err() == nil {
			n, err := o.ReadAt(b[:min(dumpPiece, end-off)], off)
			if err == io.EOF { // the file was truncated meanwhile
				d.end, end = off+int64(n), off+int64(n)
			} else if err != nil {
				return err
			}
			if err := d.rows(b[:n], off); err != nil {
				return err
			}
			off += int64(n)
		}
	}
	return d.e.signalled()
}

// rows prints the rows of b, whose offset is a multiple of a row.
func (d *dump) rows(b []byte, off int64) error {
	for len(b) > 0 {
		n := min(dumpRow, len(b))
		if err := d.row(b[:n], off); err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// hole prints the rows of a hole: the first, a star for the others, and the last if that ends what
// is shown. Both ends are at rows, except the end of all.
func (d *dump) hole(from, to int64) error {
	var zero [dumpRow]byte
	last := (to - 1) &^ (dumpRow - 1)
	for _, off := range []int64{from, min(from+dumpRow, last), last} {
		if err := d.row(zero[:min(dumpRow, d.end-off)], off); err != nil || off == last {
			return err
		}
	}
	return nil
}

func (d *dump) row(b []byte, off int64) error {
	if string(b) == d.last && off+int64(len(b)) < d.end {
		if d.starred {
			return nil
		}
		d.starred = true
		_, err := fmt.Fprintln(d.e.out, "*")
		return err
	}
	d.last, d.starred = string(b), false
	for l := range inspect.Hex(b, int(off)) {
		if !d.plain {
			const offset = 9 // columns of the offset
			l = d.e.style.faint(l[:min(offset, len(l))]) + l[min(offset, len(l)):]
		}
		if _, err := fmt.Fprintln(d.e.out, l); err != nil {
			return err
		}
	}
	return nil
}
