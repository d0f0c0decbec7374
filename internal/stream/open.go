package stream

import (
	"context"
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
)

// A Mode says whether a segment may be created and whether it may be there already.
type Mode string

// The modes, by the last word of the operation in errors.
const (
	Open   Mode = "open"   // attach, or create
	Create Mode = "create" // create only
	Attach Mode = "attach" // attach only
)

// A Plan says which segment to open, and of which type.
type Plan struct {
	Op      string // of errors, such as "queue open"
	Name    string
	Mode    Mode
	Options *shmem.Options
	Kind    string // the name of the type that is wanted, such as layout.QueueName

	// Item is the type of a message of this program; nil for a segment without one, or with any.
	Item *format.Type
	// Reserve is spare room behind each message, in bytes.
	Reserve int
	// New returns the type of a segment that is created, whose items begin stride bytes apart. It
	// is not called with Attach.
	New func(stride int) (*format.Type, error)
	// Like returns the type of the segment that is there if its items were of that type, given the
	// one that is stored in it; item is nil where the segment has none, or for the one it has. An
	// error says that the segment is something else.
	Like func(stored, item *format.Type) (*format.Type, error)
	// Capacity, Bytes and Holds are what the caller asks for of a topic that is there; 0 is no
	// claim.
	Capacity, Bytes, Holds int
	Stamped                bool // of a topic: a new one has time stamps, one that is there must
	// Unpinned lets the memory be read without a pin: see mem.Spec.
	Unpinned bool
	// Visitor leaves the cleanup of a segment whose owner died to other attachments.
	Visitor bool
	// Kept makes the lifetime of a segment that is created shmem.Kept where Options leaves it open.
	Kept bool
}

// Open opens a segment, and returns it with its mapping and its type. Every error is a
// *shmem.Error.
func (p *Plan) Open() (*shmem.Segment, *mem.Mapping, *format.Type, error) {
	a, err := p.open()
	if err != nil {
		return nil, nil, nil, p.Error(err)
	}
	return segment.Shmem.Segment(a).(*shmem.Segment), a.Mapping(), a.Type(), nil
}

func (p *Plan) open() (*segment.Attachment, error) {
	config, err := segment.Shmem.Config(p.Options)
	if err != nil {
		return nil, err
	}
	config.DefaultLifetime, config.Unpinned = format.LifetimeShared, p.Unpinned
	if p.Kept {
		config.DefaultLifetime = format.LifetimeKept
	}
	r := segment.Request{
		Name: p.Name, Config: config,
		Create: p.Mode != Attach, Attach: p.Mode != Create, NoCleanup: p.Visitor,
	}
	var made *format.Type
	if r.Create {
		if made, err = p.made(); err != nil {
			return nil, err
		}
		r.Size = made.Size
	}
	r.ItemReserve = p.Reserve
	r.Compose = func(payload int, stored *format.Type) (*format.Type, error) {
		if stored == nil {
			return p.unknown(made, payload)
		}
		return p.typeOf(payload, stored)
	}
	if p.Item != nil {
		r.Grow = p.grow
	}
	return segment.Open(r)
}

// made returns the type of a new segment.
func (p *Plan) made() (*format.Type, error) {
	stride := 0
	if p.Item != nil {
		stride = layout.StrideOf(p.Kind, p.Item, p.Reserve)
	}
	t, err := p.New(stride)
	if err == layout.ErrSize {
		err = fmt.Errorf("%w: a %s of that capacity does not fit in the memory of any machine",
			shmem.ErrBadOption, p.Kind)
	}
	return t, err
}

// unknown returns the type of a segment in which none is stored.
func (p *Plan) unknown(made *format.Type, payload int) (*format.Type, error) {
	if made != nil && payload == made.Size {
		return made, nil
	}
	return nil, fmt.Errorf("the segment is raw bytes, not a %s", p.Kind)
}

// typeOf returns the type of a payload of that many bytes in which a type is stored.
func (p *Plan) typeOf(payload int, stored *format.Type) (*format.Type, error) {
	t, err := p.Like(stored, layout.Item(stored))
	switch {
	case err == layout.ErrNoQueue, err == layout.ErrNoTopic, err == layout.ErrNoMap,
		err == layout.ErrNoCalls, err == layout.ErrNoCache, err == layout.ErrNoPool:
		return nil, fmt.Errorf("the segment is %s, not a %s", layout.Described(stored), p.Kind)
	case err == layout.ErrSize:
		return nil, fmt.Errorf("the segment is no %s of this version", p.Kind)
	case err != nil:
		return nil, err
	case t.Size != payload:
		return nil, fmt.Errorf("the segment has %d bytes, a %s of its capacity has %d",
			payload, p.Kind, t.Size)
	}
	return t, nil
}

// grow returns the type that the segment is to have: the stored one, or one with fields appended to
// its items.
func (p *Plan) grow(stored *format.Type, fit segment.Fit) (*format.Type, error) {
	there := layout.Item(stored)
	item, err := fit("Items[]", p.Item, there, uint64(layout.Stride(stored)))
	if err != nil || item == there {
		return stored, err
	}
	return p.Like(stored, item)
}

// Claim compares an option of the named struct with what the segment was created with; 0 is no
// claim.
func Claim(options, option string, is, asked int) error {
	if asked == 0 || asked == is {
		return nil
	}
	return fmt.Errorf("the segment was created with %s %d, %s.%s asks for %d; "+
		"leave the option out", option, is, options, option, asked)
}

// Error returns the public error of opening with the cause err, which may be that of a lower layer.
func (p *Plan) Error(err error) error { return segment.Shmem.Error(p.Op, p.Name, err) }

// AttachWait calls attach, which attaches to the segment that the plan names, until there is one.
// It returns other errors than fs.ErrNotExist at once, and that of ctx when it is done.
func (p *Plan) AttachWait(ctx context.Context, attach func() error) error {
	config, err := segment.Shmem.Config(p.Options)
	if err != nil {
		return p.Error(err)
	}
	return p.Error(segment.WaitName(ctx, config, p.Name, attach))
}
