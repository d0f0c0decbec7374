package natsbridge

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame stands before the bytes of a value or message, big-endian:
//
//	0  magic "SHMB"   4 version 1   5 kind   6 length of the frame (u16)
//	8  fingerprint of the type      16 incarnation: when the segment was created
//	24 sequence: version of a box or map, number of a topic's last message, position in a queue
//	32 lost: messages of a topic that were lost before, since the incarnation;
//	   of an entry of a map: when it expires, in ns since 1970, or 0
//	40 writer: a random number of one run of a bridge
//	48 of an entry of a map: its key
//
// It is in the body and not in headers: a key-value bucket has none.
type frame struct {
	kind                                             byte
	fingerprint, incarnation, sequence, lost, writer uint64

	key []byte
}

// packed is the kind of a frame with several messages of a queue: each is its position, its length
// (u32) and its bytes. The sequence is the first position.
const packed = 19

const (
	frameLen     = 48
	frameVersion = 1
	frameMagic   = "SHMB"
	longestFrame = 1<<16 - 1
)

// errFrame is returned for what is no frame of this version.
var errFrame = errors.New("not a frame of a bridge")

// append appends the frame to b.
func (f *frame) append(b []byte) []byte {
	b = append(b, frameMagic...)
	b = append(b, frameVersion, f.kind)
	b = binary.BigEndian.AppendUint16(b, uint16(frameLen+len(f.key)))
	for _, v := range []uint64{f.fingerprint, f.incarnation, f.sequence, f.lost, f.writer} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, f.key...)
}

// parseFrame returns the frame of b and what stands behind it. Another process may have written b.
func parseFrame(kind byte, b []byte) (f frame, body []byte, err error) {
	if f, body, err = anyFrame(b); err == nil && f.kind != kind {
		err = fmt.Errorf("%w: kind %d, want %d", errFrame, f.kind, kind)
	}
	return f, body, err
}

// anyFrame is parseFrame for a frame of any kind.
func anyFrame(b []byte) (f frame, body []byte, err error) {
	if len(b) < frameLen || string(b[:4]) != frameMagic {
		return f, nil, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	n := int(binary.BigEndian.Uint16(b[6:]))
	switch {
	case b[4] != frameVersion:
		return f, nil, fmt.Errorf("%w: version %d, this is %d", errFrame, b[4], frameVersion)
	case n < frameLen || n > len(b):
		return f, nil, fmt.Errorf("%w: a frame of %d in %d bytes", errFrame, n, len(b))
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8+8*i:]) }
	return frame{b[5], at(0), at(1), at(2), at(3), at(4), b[frameLen:n]}, b[n:], nil
}

// appendMessage appends a message of a packed frame.
func appendMessage(b []byte, position uint64, message []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, position)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	return append(b, message...)
}

const messageLen = 12 // what stands before a message in a packed frame

// A message is one of a queue.
type message struct {
	position uint64
	body     []byte
}

// appendMessages appends the messages of a frame of a queue to all.
func appendMessages(all []message, f *frame, body []byte) ([]message, error) {
	switch f.kind {
	case codes[kindQueue]:
		return append(all, message{f.sequence, body}), nil
	case packed:
	default:
		return all, fmt.Errorf("%w: kind %d", errFrame, f.kind)
	}
	for len(body) > 0 {
		if len(body) < messageLen {
			return all, fmt.Errorf("%w: %d bytes more", errFrame, len(body))
		}
		position, n := binary.BigEndian.Uint64(body), binary.BigEndian.Uint32(body[8:])
		if body = body[messageLen:]; uint64(n) > uint64(len(body)) {
			return all, fmt.Errorf("%w: a message of %d in %d bytes", errFrame, n, len(body))
		}
		all, body = append(all, message{position, body[:n:n]}), body[n:]
	}
	return all, nil
}
