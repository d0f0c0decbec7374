package calls

import "sync/atomic"

// A Header is the part of a table that belongs to no call. The armed words are the caller's.
type Header struct {
	ReadyArmed atomic.Uint32 // of servers that wait for a call
	_          [124]byte
	FreeArmed  atomic.Uint32 // of clients that wait for a free slot
	_          [124]byte

	Canceled    atomic.Uint64 // count of calls that were canceled after they had begun
	CancelArmed atomic.Uint32 // of servers that wait for such a call
	_           [116]byte

	ServersUsed atomic.Uint64 // records of servers from this one on were never taken
	Freed       atomic.Uint64 // count of calls of dead clients
	Requeued    atomic.Uint64 // count of calls that went to another server
	Joined      atomic.Uint64 // count of servers that came
	JoinArmed   atomic.Uint32 // of clients that wait for a server
	_           [92]byte
}

// A Server is the record of an attachment that serves.
type Server struct {
	ID      atomic.Uint64 // of the attachment; 0: none
	Handled atomic.Uint64 // count of calls that this one, and those before it, have replied to
	Failed  atomic.Uint64 // of these, the ones for which the handler returned an error
	_       [104]byte
}

// A Slot is a call. Word says who may write the rest: see State.
type Slot struct {
	Word  atomic.Uint64
	Armed atomic.Uint32 // of the client, which waits for the reply
	Room  atomic.Uint32 // of the server, which waits for room for another reply

	// Written by the client.
	Client   atomic.Uint64 // id of its attachment
	Since    atomic.Uint64 // when it asked, in ns since the machine started
	Deadline atomic.Uint64 // when it gives up, likewise; 0: never
	Request  atomic.Uint64 // bytes of the request, where they vary
	_        [16]byte
	Meta     [4]atomic.Uint64
	Received atomic.Uint64 // replies of a stream that the client has read
	_        [24]byte

	// Written by the server.
	Reply  atomic.Uint64    // bytes of the reply, where they vary
	Status atomic.Uint64    // see Outcome
	Text   atomic.Uint64    // bytes of the text of an error
	Sent   atomic.Uint64    // replies of a stream that were written
	Kinds  [4]atomic.Uint64 // hashes of the errors that the handler's is
	_      [64]byte
}

// A State says how far a call is, and who goes on.
type State uint64

// The states. The id in the word is that of the process in brackets.
const (
	Free     State = iota
	Taken          // [client] writes the request
	Asked          // a server may take it
	Begun          // [server] runs the handler
	Canceled       // [server] runs the handler, for no one
	Done           // the client reads the reply
)

// A Word is what the word of a slot says: the state, a generation and the id of a process.
type Word uint64

const (
	idBits  = 31
	genBits = 30
	genMask = 1<<genBits - 1
)

func newWord(s State, gen, id uint64) Word {
	return Word(uint64(s)<<(idBits+genBits) | gen&genMask<<idBits | id&(1<<idBits-1))
}

// State returns the state. It may be one that does not exist.
func (w Word) State() State { return State(w >> (idBits + genBits)) }

// ID returns the id of the process that goes on; 0: any.
func (w Word) ID() uint32 { return uint32(w) & (1<<idBits - 1) }

func (w Word) gen() uint64 { return uint64(w) >> idBits & genMask }

// to returns the word of the same call in another state.
func (w Word) to(s State, id uint32) Word { return newWord(s, w.gen(), uint64(id)) }

// next returns the free word of the next call.
func (w Word) next() Word { return newWord(Free, w.gen()+1, 0) }

// Same reports whether both words are of one call.
func (w Word) Same(v Word) bool { return w.gen() == v.gen() }
