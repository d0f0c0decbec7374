// Package waittest attaches to segments without a value, for tests of the layers below shmem. It
// imports sys, format, mem and wait, and writes the same records as an attach of package segment.
package waittest

import (
	"errors"
	"os"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// A Seg is an attachment to a bare segment.
type Seg struct {
	M    *mem.Mapping
	Self format.ID
	fd   sys.FD
}

// A How says how to attach.
type How int

const (
	ReadWrite      How = iota
	ReadWish           // the payload is read-only, the attachment has a slot
	ReadPermission     // the file can only be read, and the attachment has no slot
	foreign            // no control block
	Foreign        = foreign
)

// Create creates the file at path, for a payload of n bytes.
func Create(path string, n, slots int) error {
	h, err := format.Layout(uint64(n), 0, slots, false, 0, uint64(os.Getpagesize()))
	if err != nil {
		return err
	}
	fd, err := sys.CreateExclusive(path, 0o600)
	if err != nil {
		return err
	}
	defer fd.Close()
	if err := fd.Allocate(0, int64(h.TotalSize)); err != nil {
		return err
	}
	page := make([]byte, format.HeaderSize)
	h.Encode(page)
	return fd.WriteAt(page[:format.FixedSize], int64(h.HeaderOff()))
}

// Attach attaches to the file at path.
func Attach(path string, how How) (*Seg, error) {
	fd, err := sys.Open(path, how != ReadPermission)
	if err != nil {
		return nil, err
	}
	s, err := attach(fd, how)
	if err != nil {
		_ = fd.Close()
	}
	return s, err
}

func attach(fd sys.FD, how How) (*Seg, error) {
	st, err := fd.Stat()
	if err != nil {
		return nil, err
	}
	page := make([]byte, format.HeaderSize)
	if _, err := fd.ReadAt(page, st.Size-format.HeaderSize); err != nil {
		return nil, err
	}
	h, err := format.DecodeHeader(page, st.Size)
	if err != nil {
		return nil, err
	}
	spec := mem.Spec{
		File: fd, Payload: int(h.PayloadCap), Length: int(h.TotalSize), Control: int(h.ControlOff),
		Write: how == ReadWrite || how == foreign, Slot: how == ReadWrite || how == ReadWish,
	}
	if how == foreign {
		m, err := mem.Map(spec)
		return &Seg{m, format.NoID, fd}, err
	}
	self := format.NoID
	if how != ReadPermission {
		if self, err = takeSlot(fd, h); err != nil {
			return nil, err
		}
	}
	m, err := mem.Map(spec)
	if err != nil {
		return nil, err
	}
	return &Seg{m, self, fd}, m.JoinPeers(fd, self, h)
}

// takeSlot does under the gate what attaching does, in the same order.
func takeSlot(fd sys.FD, h *format.Header) (format.ID, error) {
	for fd.Lock(sys.GateByte, false) != nil {
	}
	defer fd.Unlock(sys.GateByte, 1)
	m, err := mem.Map(mem.Spec{
		File: fd, Payload: int(h.PayloadCap), Length: int(h.TotalSize), Control: int(h.ControlOff),
		Write: true,
	})
	if err != nil {
		return 0, err
	}
	defer m.Retire()
	if err := m.JoinPeers(fd, 0, h); err != nil {
		return 0, err
	}
	for i := range m.Peers.Len() {
		if fd.Lock(sys.SlotByte+int64(i), false) != nil {
			continue
		}
		s := m.Peers.Slot(i)
		gen := format.NextGen(s.Gen.Load())
		s.Gen.Store(gen)
		s.Interest.Store(0)
		s.Pending.Store(0)
		s.Baton.Store(0)
		s.Flags.Store(format.SlotCarries)
		s.Sleeping.Store(0)
		s.Reader.Store(0)
		s.PIDNS.Store(sys.PIDNamespace())
		s.PID.Store(uint32(os.Getpid()))
		if w := m.Peers.Words; w.SlotHigh.Load() < uint32(i)+1 {
			w.SlotHigh.Store(uint32(i) + 1)
		}
		return format.MakeID(gen, uint32(i)), nil
	}
	return 0, errors.New("no slot is free")
}

// Close detaches.
func (s *Seg) Close() {
	s.M.Drain()
	s.M.Retire()
	_ = s.fd.Close()
}

// File returns the open file, which has the locks of the attachment.
func (s *Seg) File() sys.FD { return s.fd }
