package mem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

func file(t testing.TB, size int64) sys.FD {
	t.Helper()
	fd, err := sys.CreateAnonymous("mem-test")
	if err == nil {
		err = fd.Allocate(0, size)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fd.Close() })
	return fd
}

func mapped(t testing.TB, s Spec) *Mapping {
	t.Helper()
	m, err := Map(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !m.Closed() {
			m.Drain()
			m.Retire()
		}
	})
	return m
}

// TestPlaces compares the structs that are laid over the control block with package format.
func TestPlaces(t *testing.T) {
	var w Words
	var s Slot
	for name, p := range map[string]struct{ got, want uintptr }{
		"owner":         {unsafe.Offsetof(w.Owner), 0},
		"slotHigh":      {unsafe.Offsetof(w.SlotHigh), format.OffSlotHigh - format.OffOwner},
		"lock":          {unsafe.Offsetof(w.Lock), format.OffLock - format.OffOwner},
		"lockArmed":     {unsafe.Offsetof(w.LockArmed), format.OffLockArmed - format.OffOwner},
		"seq":           {unsafe.Offsetof(w.Seq), format.OffSeq - format.OffOwner},
		"seqArmed":      {unsafe.Offsetof(w.SeqArmed), format.OffSeqArmed - format.OffOwner},
		"readers":       {unsafe.Offsetof(w.Readers), format.OffReaders - format.OffOwner},
		"readersArmed":  {unsafe.Offsetof(w.ReadersArmed), format.OffReadersArmed - format.OffOwner},
		"events":        {unsafe.Offsetof(w.Events), format.OffEvents - format.OffOwner},
		"eventsArmed":   {unsafe.Offsetof(w.EventsArmed), format.OffEventsArmed - format.OffOwner},
		"gone":          {unsafe.Offsetof(w.Gone), format.OffGone - format.OffOwner},
		"fingerprint":   {unsafe.Offsetof(w.Fingerprint), format.OffRecordFingerprint - format.OffOwner},
		"slot gen":      {unsafe.Offsetof(s.Gen), format.SlotGen},
		"slot bell":     {unsafe.Offsetof(s.Bell), format.SlotBell},
		"slot sleeping": {unsafe.Offsetof(s.Sleeping), format.SlotSleeping},
		"slot reader":   {unsafe.Offsetof(s.Reader), format.SlotReader},
		"slot interest": {unsafe.Offsetof(s.Interest), format.SlotInterest},
		"slot pending":  {unsafe.Offsetof(s.Pending), format.SlotPending},
		"slot pid":      {unsafe.Offsetof(s.PID), format.SlotPID},
		"slot flags":    {unsafe.Offsetof(s.Flags), format.SlotFlags},
		"slot pidNS":    {unsafe.Offsetof(s.PIDNS), format.SlotPIDNS},
		"slot started":  {unsafe.Offsetof(s.Started), format.SlotStarted},
		"slot baton":    {unsafe.Offsetof(s.Baton), format.SlotBaton},
		"slot size":     {unsafe.Sizeof(s), format.SlotSize},
	} {
		if p.got != p.want {
			t.Errorf("%s is at %d, want %d", name, p.got, p.want)
		}
	}
}

func TestViews(t *testing.T) {
	fd := file(t, 8192)
	m := mapped(t, Spec{File: fd, Payload: 100, Length: 8192, Write: true})
	for _, off := range []int{0, 8, 92} {
		if p, err := At[uint64](m, off); off%8 == 0 && (err != nil || Of(p) != m || Offset(m, p) != off) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	for _, off := range []int{-1, -8, 93, 96, 100, math.MaxInt, math.MinInt, int(unsafe.Alignof(uint64(0))) / 2} {
		if _, err := At[uint64](m, off); !errors.Is(err, ErrBounds) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	if _, err := SliceAt[uint32](m, 4, 24); err != nil {
		t.Error(err)
	}
	for _, n := range []int{25, -1, int(^uint(0) >> 1), int(^uint(0)>>1) / 2} {
		if _, err := SliceAt[uint32](m, 4, n); !errors.Is(err, ErrBounds) {
			t.Errorf("%d values: %v", n, err)
		}
	}
	if _, err := Control[Words](m, 8192-format.HeaderSize); err != nil {
		t.Error(err)
	}
	if _, err := Control[Words](m, 8192-8); !errors.Is(err, ErrBounds) {
		t.Error(err)
	}
	if Of(new(int)) != nil || Of(m) != nil {
		t.Error("ordinary memory is taken for a mapping")
	}
}

// TestFind: Of finds the mapping of any address in any of many mappings, in the arena and outside.
func TestFind(t *testing.T) {
	fd := file(t, 300<<10)
	var all []*Mapping
	for range 200 {
		n := 4096 * (1 + rand.IntN(70))
		all = append(all, mapped(t, Spec{Name: "gone", File: fd, Payload: n, Length: n, Write: true}))
	}
	check := func() {
		t.Helper()
		for _, m := range all {
			for _, off := range []int{0, m.Size() / 2, m.Size() - 1} {
				p, err := At[byte](m, off)
				if err != nil || Of(p) != m {
					t.Fatalf("byte %d of a mapping of %d: %v", off, m.Size(), err)
				}
			}
		}
	}
	check()
	gone := all[:100]
	all = all[100:]
	var stale []*byte
	for _, m := range gone {
		p, _ := At[byte](m, 0)
		stale = append(stale, p)
		m.MarkExposed()
		m.Drain()
		m.Retire()
	}
	for _, p := range stale {
		if m := Of(p); m != nil && (!m.Closed() || m.Pin() || m.PinNested() || m.Name() != "gone") {
			t.Fatal("a retired mapping is found as if it were open")
		}
	}
	for range 100 {
		m := mapped(t, Spec{File: fd, Payload: 4096, Length: 4096, Write: true})
		all = append(all, m)
		for _, p := range stale {
			if m.Contains(uintptr(unsafe.Pointer(p))) {
				t.Fatal("addresses that the user may still have are used again")
			}
		}
	}
	check()
}

// TestNotExposed: addresses that no user has are used again.
func TestNotExposed(t *testing.T) {
	if overlays {
		t.Log("race builds map over the heap, which reuses its addresses")
		return
	}
	fd := file(t, 4096)
	seen := map[uintptr]bool{}
	for range 100 {
		m := mapped(t, Spec{File: fd, Payload: 4096, Length: 4096, Write: true})
		seen[uintptr(m.base)] = true
		m.Drain()
		m.Retire()
	}
	if len(seen) > 10 {
		t.Errorf("100 mappings, one after the other, had %d addresses", len(seen))
	}
}

// TestUnpinned: memory that is read without a pin reads as zero when it is retired, and its addresses
// are used again by such mappings of the same length only.
func TestUnpinned(t *testing.T) {
	if PinReads {
		t.Log("race builds pin")
		return
	}
	fd := file(t, 8192)
	spec := Spec{File: fd, Payload: 4096, Length: 4096, Write: true, Unpinned: true}
	first := mapped(t, spec)
	p, err := At[uint64](first, 8)
	if err != nil {
		t.Fatal(err)
	}
	*p = 7
	first.Drain()
	first.Retire()
	if *p != 0 || !first.Closed() {
		t.Errorf("%d in retired memory, closed is %v", *p, first.Closed())
	}
	for range 10 {
		spec.Unpinned = false
		if m := mapped(t, spec); m.base == first.base {
			t.Fatal("a mapping lies there whose end faults")
		}
	}
	spec.Unpinned = true
	if m := mapped(t, spec); m.base != first.base || *p != 7 {
		t.Errorf("%d; the addresses are not used again", *p)
	}
}

func needsFaults(t *testing.T) {
	t.Helper()
	if os.Getenv("SHMEMTEST_WRAP") != "" {
		t.Skip("an emulator does not tell the address of a fault: needs a real processor")
	}
}

func TestGuard(t *testing.T) {
	needsFaults(t)
	fd, err := sys.CreateAnonymous("mem-test")
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if err := fd.Allocate(0, 8192); err != nil {
		t.Fatal(err)
	}
	m := mapped(t, Spec{File: fd, Payload: 8192, Length: 8192, Write: true})
	p, _ := At[uint64](m, 4096)
	if f := m.Guard(func() { *p = 1 }); f != nil {
		t.Error(f)
	}
	if err := fd.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if f := m.Guard(func() { *p = 1 }); f == nil || f.Addr != uintptr(unsafe.Pointer(p)) {
		t.Errorf("truncated: %v, want a fault at %p", f, p)
	}
	defer func() {
		if r := recover(); r != "own" {
			t.Errorf("the caller's panic became %v", r)
		}
	}()
	m.Guard(func() { panic("own") })
}

// TestPinAfterDrain: a Pin that fails is not a call in flight, so PinNested fails too.
func TestPinAfterDrain(t *testing.T) {
	m := mapped(t, Spec{File: file(t, 4096), Payload: 4096, Length: 4096, Write: true})
	m.Drain()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 2_000_000 {
				if m.Pin() {
					t.Error("a drained mapping can be pinned")
				}
			}
		})
		wg.Go(func() {
			for range 2_000_000 {
				if m.PinNested() {
					t.Error("PinNested succeeds although no call is in flight")
					return
				}
			}
		})
	}
	wg.Wait()
	m.Retire()
}

// TestSlotBound: a wrong SlotHigh of a peer does not exceed the slots, also where an int has 32 bits.
func TestSlotBound(t *testing.T) {
	p := Peers{Words: new(Words), slots: make([]Slot, 4)}
	for high, want := range map[uint32]int{0: 0, 3: 3, 5: 4, 1 << 31: 4, ^uint32(0): 4} {
		if p.Words.SlotHigh.Store(high); p.SlotBound() != want {
			t.Errorf("%d of 4 slots: %d, want %d", high, p.SlotBound(), want)
		}
	}
}

// TestDrain: Drain waits for calls in flight and makes Pin fail. Resume undoes it.
func TestDrain(t *testing.T) {
	m := mapped(t, Spec{File: file(t, 4096), Payload: 4096, Length: 4096, Write: true})
	for range 3 {
		if !m.Pin() {
			t.Fatal("an open mapping cannot be pinned")
		}
		drained := make(chan bool)
		go func() { m.Drain(); close(drained) }()
		<-m.Closing()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					if m.Pin() {
						t.Error("a draining mapping can be pinned")
						m.Unpin()
					}
				}
			})
		}
		wg.Wait()
		select {
		case <-drained:
			t.Fatal("drained with a call in flight")
		case <-time.After(time.Millisecond):
		}
		m.Unpin()
		<-drained
		m.Resume()
	}
}

// TestUnpinOpen: UnpinOpen keeps the pin once Drain has begun.
func TestUnpinOpen(t *testing.T) {
	m := mapped(t, Spec{File: file(t, 4096), Payload: 4096, Length: 4096, Write: true})
	if !m.Pin() || !m.UnpinOpen() || !m.Pin() {
		t.Fatal("an open mapping")
	}
	drained := make(chan bool)
	go func() { m.Drain(); close(drained) }()
	<-m.Closing()
	if m.UnpinOpen() {
		t.Fatal("a draining mapping is unpinned")
	}
	select {
	case <-drained:
		t.Fatal("drained with a call in flight")
	case <-time.After(time.Millisecond):
	}
	m.Unpin()
	<-drained
}

// TestDrainUnlocked: DrainUnlocked waits for locks for a limited time, and calls that unlock
// succeed meanwhile.
func TestDrainUnlocked(t *testing.T) {
	m := mapped(t, Spec{File: file(t, 4096), Payload: 4096, Length: 4096, Write: true})
	m.MarkExposed()
	var held atomic.Bool
	looked := make(chan bool, 1)
	holds := func(time.Time) bool {
		select {
		case looked <- true:
		default:
		}
		return held.Load()
	}
	m.HoldsLocks.Store(&holds)

	held.Store(true)
	drained := make(chan bool)
	go func() { m.DrainUnlocked(); close(drained) }()
	<-looked
	if m.Pin() || !m.PinNested() {
		t.Fatal("only calls that unlock succeed")
	}
	held.Store(false)
	select {
	case <-drained:
		t.Fatal("drained while a call unlocks")
	case <-time.After(time.Millisecond):
	}
	m.Unpin()
	<-drained
	if m.PinNested() {
		t.Fatal("a call unlocks in a drained mapping")
	}

	m.Resume()
	held.Store(true)
	start := time.Now()
	if m.DrainUnlocked(); time.Since(start) < UnlockTime {
		t.Errorf("waited for %v instead of %v", time.Since(start), UnlockTime)
	}
}

// TestCopies: copies at all offsets and of all lengths do what copy does, and change nothing else.
func TestCopies(t *testing.T) {
	const half = 512
	m := mapped(t, Spec{File: file(t, 4096), Payload: 2 * half, Length: 2 * half, Write: true})
	want := make([]byte, 2*half)
	local := make([]byte, half)
	fill := func(b []byte) {
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
	}
	for range 3000 {
		fill(m.Payload())
		copy(want, m.Payload())
		fill(local)
		off := rand.IntN(half / 2)
		n := rand.IntN(half / 2)
		words := 0
		switch rand.IntN(5) {
		case 0:
			m.Store(off, local[:n])
			copy(want[off:], local[:n])
		case 1:
			m.Move(half+off, off, n, nil)
			copy(want[half+off:], want[off:off+n])
		case 2:
			m.Move(off, half+off, n, func() { words++ })
			copy(want[off:], want[half+off:half+off+n])
			if n > 64 && words == 0 {
				t.Error("reached was not called")
			}
		case 3:
			off &^= 7
			m.Load(local[:n], off)
			if !bytes.Equal(local[:n], want[off:off+n]) {
				t.Fatalf("Load of %d bytes at %d", n, off)
			}
		case 4:
			m.LoadPart(local[:n], off)
			if !bytes.Equal(local[:n], want[off:off+n]) {
				t.Fatalf("LoadPart of %d bytes at %d", n, off)
			}
		}
		if !bytes.Equal(m.Payload(), want) {
			t.Fatalf("%d bytes at %d: bytes outside the range changed", n, off)
		}
	}
}

// TestWordsWhole: no copy splits an aligned word.
func TestWordsWhole(t *testing.T) {
	const n = 256
	m := mapped(t, Spec{File: file(t, 4096), Payload: 2 * n, Length: 2 * n, Write: true})
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := byte(0); ; v++ {
			select {
			case <-stop:
				return
			default:
				m.Store(0, bytes.Repeat([]byte{v}, n))
				m.Move(n, 0, n, nil)
			}
		}
	})
	dst := make([]byte, n)
	for range 20000 {
		m.Load(dst, n)
		for w := 0; w < n; w += int(word) {
			if x := dst[w : w+int(word)]; !bytes.Equal(x, bytes.Repeat(x[:1], int(word))) {
				t.Fatalf("torn word % x", x)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func TestReadOnly(t *testing.T) {
	needsFaults(t)
	page := os.Getpagesize()
	fd := file(t, int64(2*page))
	m := mapped(t, Spec{File: fd, Payload: 8, Length: 2 * page, Control: page, Slot: true})
	p, _ := At[uint64](m, 0)
	if f := m.Guard(func() { *p = 1 }); f == nil {
		t.Error("the payload of a read-only mapping can be written")
	}
	c, _ := Control[atomic.Uint64](m, page)
	if f := m.Guard(func() { c.Store(1) }); f != nil {
		t.Errorf("its control block cannot: %v", f.Err)
	}
}

// TestCell stores values in cells that are larger than they are: what is behind a value in its cell
// is zero, and the cells beside it stay as they were.
func TestCell(t *testing.T) {
	m := mapped(t, Spec{File: file(t, 1<<16), Payload: 1 << 16, Length: 1 << 16, Write: true})
	p := m.Payload()[:1<<14]
	src := make([]byte, 4096)
	for i := range src {
		src[i] = byte(i%250 + 1)
	}
	zero := make([]byte, len(p))
	for _, n := range []int{0, 1, 7, 8, 13, 63, 64, 65, 127, 128, 2048, 3001} {
		for _, more := range []int{0, 8, 16, 72} {
			size := (n+7)&^7 + more
			const off = 64
			want := bytes.Repeat([]byte{0xee}, len(p))
			copy(want[off:], src[:n])
			copy(want[off+n:off+size], zero)
			copy(p, bytes.Repeat([]byte{0xee}, len(p)))
			m.StoreCell(off, src[:n], size)
			if !bytes.Equal(p, want) {
				t.Fatalf("StoreCell of %d bytes in %d", n, size)
			}
			copy(p[off+n:off+size], bytes.Repeat([]byte{0xee}, size))
			m.Clear(off+n, size-n)
			if !bytes.Equal(p, want) {
				t.Fatalf("Clear of %d bytes behind %d", size-n, n)
			}
		}
	}
	for _, c := range []struct{ off, n, stride, cell int }{
		{0, 1, 23, 23}, {0, 1, 0, 0}, {0, 1, 16, 16}, {0, 1 << 16, 24, 24}, {8, 2731, 24, 24}, {2, 1, 24, 24},
		{0, -1, 24, 24}, {0, 1, 24, 32}, {0, 1, 32, 16},
	} {
		if _, err := TableAt[[3]uint64](m, c.off, c.n, c.stride, c.cell); err == nil {
			t.Errorf("a table of %+v", c)
		}
	}
	table, err := TableAt[[3]uint64](m, 8, 5, 40, 40)
	if err != nil || table.Len() != 5 || len(table.Rest(4)) != 16 {
		t.Fatal(table, err)
	}
	table.At(4)[2] = 7
	table.Rest(3)[15] = 9
	if binary.NativeEndian.Uint64(p[8+4*40+16:]) != 7 || p[8+4*40-1] != 9 {
		t.Error("a value is not where it should be")
	}
	for _, i := range []int{-1, 5} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("there is a value %d", i)
				}
			}()
			table.At(i)
		}()
	}
}
