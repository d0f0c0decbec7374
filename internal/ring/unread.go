package ring

import "encoding/binary"

// Where the positions of a ring are in its memory: those of an MPMCHeader and of an SPSCHeader.
const (
	tailAt = 0
	headAt = 128
)

// unreadChunk is how many bytes of words are read at a time.
const unreadChunk = 64 << 10

// A Stored is a ring in memory that is read piece by piece. An SPSC has no words.
type Stored struct {
	Items  uint64
	Words  uint64 // where the words of the slots begin
	Step   uint64 // bytes from word to word
	Single bool   // an SPSC
}

// Unread returns how many messages of a ring the next receiver would get, given that no process
// is attached: every holder is dead. It stops counting at limit; 0 is no limit. read reads
// len(b) bytes of the ring's memory at off. The messages of an SPSC are the positions that are
// published and not released. Those of an SPSCBytes are bytes: there UnreadRecords counts the
// messages.
//
// A ready slot has a message, and so has a taken one: a lease whose holder is dead is redelivered.
// A claim whose producer is dead is skipped. A word that cannot be counts as a message, so that
// nothing is thrown away that is not understood; an error of read means the same for the whole
// ring.
func (r Stored) Unread(limit int, read func(b []byte, off int64) error) (n int, err error) {
	var b [headAt + 8]byte
	if err := read(b[:], 0); err != nil {
		return 0, err
	}
	head := binary.NativeEndian.Uint64(b[headAt:])
	if r.Single {
		tail := binary.NativeEndian.Uint64(b[tailAt:])
		return int(min(tail-head, r.Items)), nil
	}
	// From the head on: where there are messages, the first word has one.
	first := head % r.Items
	n, err = r.unreadWords(first, r.Items, limit, read)
	if err != nil || limit > 0 && n >= limit {
		return n, err
	}
	more, err := r.unreadWords(0, first, limit, read)
	return n + more, err
}

// Long reports whether UnreadSoon cannot look at all slots.
func (r Stored) Long() bool { return !r.Single && r.Items > r.chunk() }

// chunk returns how many slots are read at a time.
func (r Stored) chunk() uint64 { return max(unreadChunk/r.Step, 1) }

// UnreadSoon reports whether Unread is not 0, by two calls of read. all says that this is certain;
// else the ring has more words, and there is no message in those that were read.
func (r Stored) UnreadSoon(read func(b []byte, off int64) error) (some, all bool, err error) {
	if !r.Long() {
		n, err := r.unreadShort(read)
		return n > 0, true, err
	}
	var b [8]byte
	if err := read(b[:], headAt); err != nil {
		return false, false, err
	}
	first := binary.NativeEndian.Uint64(b[:]) % r.Items
	n, err := r.unreadWords(first, min(r.Items, first+r.chunk()), 1, read)
	return n > 0, false, err
}

// unreadShort is Unread with a limit of 1, in any order of the words.
func (r Stored) unreadShort(read func(b []byte, off int64) error) (int, error) {
	if r.Single {
		return r.Unread(1, read)
	}
	return r.unreadWords(0, r.Items, 1, read)
}

// unreadWords counts the messages of the slots from..to.
func (r Stored) unreadWords(from, to uint64, limit int,
	read func(b []byte, off int64) error) (n int, err error) {
	b := make([]byte, r.Step*min(r.chunk(), to-from))
	for from < to {
		k := min(r.chunk(), to-from)
		c := b[:r.Step*(k-1)+8] // no more behind the last word
		if err := read(c, int64(r.Words+r.Step*from)); err != nil {
			return n, err
		}
		for i := 0; i < len(c); i += int(r.Step) {
			switch word(binary.NativeEndian.Uint64(c[i:])).state() {
			case free, end, claimed, skipped:
				continue
			}
			if n++; limit > 0 && n >= limit {
				return n, nil
			}
		}
		from += k
	}
	return n, nil
}

// UnreadRecords is Unread for an SPSCBytes of size bytes, which begin at data. A record that cannot
// be counts as a message, and what is behind it does not.
func UnreadRecords(size uint64, data int64, limit int,
	read func(b []byte, off int64) error) (n int, err error) {
	var b [headAt + 8]byte
	if err := read(b[:], 0); err != nil {
		return 0, err
	}
	head := binary.NativeEndian.Uint64(b[headAt:])
	have := binary.NativeEndian.Uint64(b[tailAt:]) - head
	if have > size || have%8 != 0 || head%8 != 0 || size%8 != 0 {
		return 1, nil
	}
	w := window{read: read, data: data, size: size}
	for at := head % size; have > 0 && (limit == 0 || n < limit); {
		length, err := w.word(at)
		rest := size - at
		switch {
		case err != nil:
			return n, err
		case length == wrap && at > 0 && have >= rest:
			have, at = have-rest, 0
			continue
		}
		n++
		if length > size || recordSize+round8(length) > min(have, rest) {
			return n, nil
		}
		next := recordSize + round8(length)
		have, at = have-next, (at+next)%size
	}
	return n, nil
}

// A window is a part of a ring's bytes that was read.
type window struct {
	read  func(b []byte, off int64) error
	data  int64
	size  uint64
	b     []byte
	begin uint64
}

// word returns the word at a multiple of 8.
func (w *window) word(at uint64) (uint64, error) {
	if at < w.begin || at-w.begin >= uint64(len(w.b)) {
		w.b, w.begin = make([]byte, min(unreadChunk, w.size-at)), at
		if err := w.read(w.b, w.data+int64(at)); err != nil {
			return 0, err
		}
	}
	return binary.NativeEndian.Uint64(w.b[at-w.begin:]), nil
}
