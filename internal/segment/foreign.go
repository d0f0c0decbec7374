package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// attachForeign attaches to a file that another program made. It takes no lock and no slot.
func (o *opening) attachForeign() (*Attachment, error) {
	if !o.Attach {
		return nil, badOption("Options.Foreign is for attaching; a new segment has a control block")
	}
	open := sys.OpenAny
	if o.path == filepath.Join(o.cfg.Dir, o.Name) {
		open = sys.Open // a name in the directory: links are not followed
	}
	file, err := open(o.path, !o.cfg.ReadOnly)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: no file %s", fs.ErrNotExist, o.path)
		}
		return nil, o.explainFile(err)
	}
	a := &Attachment{control: control{file: file}, name: o.Name, path: o.path, cfg: o.cfg,
		typ: o.Schema}
	if err := o.mapForeign(a); err != nil {
		_ = file.Close()
		return nil, err
	}
	if a.stat.Blocks*512 >= a.stat.Size { // the pages of a hole would take memory
		a.populate()
	}
	return a, nil
}

func (o *opening) mapForeign(a *Attachment) error {
	st, err := a.file.Stat()
	if err != nil {
		return err
	}
	if err := o.admit(a.file, st); err != nil {
		return err
	}
	a.stat = st
	if err := o.foreignClaims(a); err != nil {
		return err
	}
	if st.Size >= format.HeaderSize {
		_, _, err := readHeader(a.file, st)
		a.copied = errors.Is(err, errs.Copied) && o.cfg.ReadOnly
		if !errors.Is(err, errs.Foreign) && !a.copied {
			return badOption("it is a ShmemBox segment; attach to it without Options.Foreign")
		}
	}
	if o.Foreign != nil && !a.copied {
		return o.Foreign
	}
	rest := st.Size - o.cfg.Offset
	if o.Size == 0 && rest > 0 && rest <= math.MaxInt/2 {
		o.Size = int(rest)
	}
	if rest <= 0 || int64(o.Size) > rest {
		return fmt.Errorf("%w: the file has %d bytes, %d at offset %d are needed",
			errs.Mismatch, st.Size, max(o.Size, 1), o.cfg.Offset)
	}
	if o.Schema != nil {
		if err := a.checkAlign(o.Schema); err != nil {
			return err
		}
	}
	a.size.Store(int64(o.Size))
	a.m, err = mem.Map(mem.Spec{
		Name: a.name, File: a.file, Offset: o.cfg.Offset, Payload: o.Size, Length: o.Size,
		Write: !o.cfg.ReadOnly, Huge: o.cfg.HugePages, Notes: o.cfg.notes,
	})
	return mapError(err)
}

// checkAlign checks that the value of a foreign file is aligned for its type.
func (a *Attachment) checkAlign(schema *format.Type) error {
	if a.cfg.Offset%int64(schema.Align) != 0 {
		return fmt.Errorf("%w: offset %d is not a multiple of the type's alignment %d",
			errs.Mismatch, a.cfg.Offset, schema.Align)
	}
	return nil
}
