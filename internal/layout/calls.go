package layout

import (
	"errors"

	"github.com/shmembox/shmem/internal/format"
)

// CallsName is the name that the type of a service has in its schema.
const CallsName = "rpc.Service"

// A CallForm says what the requests and replies of a service are.
type CallForm int

// The forms of a service.
const (
	TypedCalls  CallForm = iota + 1 // a value each
	BytesCalls                      // bytes, up to a size
	StreamCalls                     // a value, and any number of replies
)

// callForms are the names of the first field, by form.
var callForms = [...]string{TypedCalls: "Calls", BytesCalls: "Bytes", StreamCalls: "Streams"}

// The other fields of that type.
const (
	serversField = "Servers"
	readyField   = "Ready"
	callsField   = "Slots"

	callField    = "Call"
	padField     = "Pad"
	textField    = "Text"
	requestField = "Request"
	repliesField = "Replies"
)

// ErrNoCalls is returned for a type that is not laid out as a service.
var ErrNoCalls = errors.New("it is no service of this version")

// The structs in the payload of a service. Tests compare each with the Go struct of package calls
// that has its name.
var (
	// CallHeader begins an rpc.Service.
	CallHeader = record("calls.Header", 512,
		half("ReadyArmed", 0), half("FreeArmed", 128),
		word("Canceled", 256), half("CancelArmed", 264),
		word("ServersUsed", 384), word("Freed", 392), word("Requeued", 400),
		word("Joined", 408), half("JoinArmed", 416))

	// CallServer is the record of an attachment that serves.
	CallServer = record("calls.Server", 128, word("ID", 0), word("Handled", 8), word("Failed", 16))

	// CallSlot is a call.
	CallSlot = record("calls.Slot", 256,
		word("Word", 0), half("Armed", 8), half("Room", 12),
		word("Client", 16), word("Since", 24), word("Deadline", 32), word("Request", 40),
		words("Meta", 64, 4), word("Received", 96),
		word("Reply", 128), word("Status", 136), word("Text", 144), word("Sent", 152),
		words("Kinds", 160, 4))
)

// CallText is how many bytes there are for the text of an error.
const CallText = 256

// callAlign is where a request and a reply begin: on a cache line.
const callAlign = 64

func words(name string, at, n int) format.Field {
	return format.Field{Name: name, Offset: at, Type: arrayOf(Word, n)}
}

func arrayOf(t *format.Type, n int) *format.Type {
	return &format.Type{Kind: format.Array, Size: n * t.Size, Align: t.Align, Len: n, Elem: t}
}

// CallCounts says how many of each part a service has.
type CallCounts struct {
	Calls   int // at a time
	Servers int
	Window  int // replies that a stream has room for; 1 where there are no streams
}

// A Calls is the layout of an rpc.Service. Offsets are in bytes from the start of the payload. The
// header is at 0.
//
//	Header; Servers [n]CallServer; Ready [n]Word; Slots [n]slot
//
// A slot is a CallSlot, the text of an error, the request and the replies.
type Calls struct {
	Type           *format.Type // of the whole payload
	Request, Reply *format.Type // of bytes: an array of the largest size
	Form           CallForm
	CallCounts

	ServersAt, ReadyAt, SlotsAt int // offsets
	Stride                      int // from slot to slot
	TextAt, RequestAt, ReplyAt  int // from the beginning of a slot
	ReplyStride                 int // from reply to reply of a stream
}

// CallBytes returns the type of a request or reply of at most n bytes.
func CallBytes(n int) *format.Type { return arrayOf(octet, n) }

// NewCalls lays out a service.
func NewCalls(form CallForm, request, reply *format.Type, n CallCounts) (*Calls, error) {
	if request == nil || reply == nil || request.Align > callAlign || reply.Align > callAlign ||
		n.Calls < 1 || n.Servers < 1 || n.Window < 1 || form != StreamCalls && n.Window != 1 {
		return nil, ErrSize
	}
	parts := []Part{
		{Name: callField, Type: CallSlot},
		{Name: textField, Type: octet, Len: CallText},
		{Name: requestField, Type: request, Align: callAlign},
		{Name: repliesField, Type: reply, Len: n.Window, Align: callAlign},
	}
	slot, err := Struct("rpc.slot", parts...)
	if err == nil {
		if pad := roundUp(slot.Size, pairAlign) - slot.Size; pad > 0 {
			parts = append(parts, Part{Name: padField, Type: octet, Len: pad})
			slot, err = Struct("rpc.slot", parts...)
		}
	}
	if err != nil {
		return nil, err
	}
	t, err := Struct(CallsName, Part{Name: callForms[form], Type: CallHeader},
		Part{Name: serversField, Type: CallServer, Len: n.Servers, Align: pairAlign},
		Part{Name: readyField, Type: Word, Len: (n.Calls + 63) / 64, Align: pairAlign},
		Part{Name: callsField, Type: slot, Len: n.Calls, Align: pairAlign})
	if err != nil {
		return nil, err
	}
	return &Calls{
		Type: t, Request: request, Reply: reply, Form: form, CallCounts: n,
		ServersAt: Offset(t, serversField), ReadyAt: Offset(t, readyField),
		SlotsAt: Offset(t, callsField), Stride: slot.Size,
		TextAt: Offset(slot, textField), RequestAt: Offset(slot, requestField),
		ReplyAt: Offset(slot, repliesField), ReplyStride: reply.Size,
	}, nil
}

// IsKind reports whether t is the type of a queue, topic, map, cache, pool or service, whose value
// is no box.
func IsKind(t *format.Type) bool {
	return Stream(t) != "" || IsMap(t) || IsCalls(t) || IsCache(t) || IsPool(t)
}

// IsCalls reports whether t is the type of an rpc.Service. The value of such a segment is no box.
func IsCalls(t *format.Type) bool {
	if t == nil || t.Kind != format.Struct || t.Name != CallsName || len(t.Fields) != 4 {
		return false
	}
	request, reply := callTypes(t)
	return callForm(t) != 0 && request != nil && reply != nil
}

func callForm(t *format.Type) CallForm {
	for form, name := range callForms {
		if name != "" && name == First(t) {
			return CallForm(form)
		}
	}
	return 0
}

// callSlot returns the type of a slot, nil if there is none.
func callSlot(t *format.Type) *format.Type {
	last := t.Fields[len(t.Fields)-1]
	if last.Name != callsField || last.Type.Kind != format.Array ||
		last.Type.Elem.Kind != format.Struct {
		return nil
	}
	return last.Type.Elem
}

// callTypes returns the types of requests and replies.
func callTypes(t *format.Type) (request, reply *format.Type) {
	slot := callSlot(t)
	if slot == nil {
		return nil, nil
	}
	for _, f := range slot.Fields {
		switch {
		case f.Name == requestField:
			request = f.Type
		case f.Name == repliesField && f.Type.Kind == format.Array:
			reply = f.Type.Elem
		}
	}
	return request, reply
}

// CallsLike lays out a service of other requests and replies with the form and the sizes of a
// stored one; nil stands for those that it has. It is ErrNoCalls if stored is no service.
func CallsLike(stored, request, reply *format.Type) (*Calls, error) {
	if !IsCalls(stored) {
		return nil, ErrNoCalls
	}
	is, isReply := callTypes(stored)
	if request == nil {
		request = is
	}
	if reply == nil {
		reply = isReply
	}
	return NewCalls(callForm(stored), request, reply, CallCounts{
		Calls: Len(stored, callsField), Servers: Len(stored, serversField),
		Window: Len(callSlot(stored), repliesField),
	})
}

// CallsOf is the layout of a stored service. It is ErrNoCalls unless that is, to the byte, what
// NewCalls makes.
func CallsOf(stored *format.Type) (*Calls, error) {
	c, err := CallsLike(stored, nil, nil)
	if err != nil || c.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoCalls
	}
	return c, nil
}
