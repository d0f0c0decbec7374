//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Message is what is sent: 64 bytes.
type Message struct {
	Producer, Sum uint32
	Seq           uint64
	Fill          [6]uint64
}

func (m *Message) fill(p int, seq uint64) {
	m.Producer, m.Seq = uint32(p), seq
	h := seq*0x9E3779B97F4A7C15 + uint64(p)
	s := uint64(0)
	for i := range m.Fill {
		h ^= h >> 29
		h *= 0xBF58476D1CE4E5B9
		m.Fill[i] = h
		s = s*31 + h
	}
	m.Sum = uint32(s>>32) ^ uint32(s)
}

var errTorn = errors.New("a torn message")

func (m *Message) check() (p int, seq uint64, err error) {
	var want Message
	want.fill(int(m.Producer), m.Seq)
	if want != *m || int(m.Producer) >= *producers {
		return 0, 0, errTorn
	}
	return int(m.Producer), m.Seq, nil
}

// sizeOf returns the length of a message of bytes.
func sizeOf(p int, seq uint64) int { return 16 + int((seq*2654435761+uint64(p))>>7%300) }

func fillBytes(b []byte, p int, seq uint64) {
	binary.LittleEndian.PutUint64(b, seq)
	binary.LittleEndian.PutUint32(b[8:], uint32(p))
	for i := 12; i < len(b)-4; i++ {
		b[i] = byte(seq) + byte(i)
	}
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
}

func checkBytes(b []byte) (p int, seq uint64, err error) {
	if len(b) < 16 || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return 0, 0, errTorn
	}
	seq, p = binary.LittleEndian.Uint64(b), int(binary.LittleEndian.Uint32(b[8:]))
	if p >= *producers || len(b) != sizeOf(p, seq) {
		return 0, 0, errTorn
	}
	return p, seq, nil
}
