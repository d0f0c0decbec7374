package format

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

func layout(t testing.TB, payload, reserve uint64, slots int, image bool, schema int, page uint64) *Header {
	t.Helper()
	h, err := Layout(payload, reserve, slots, image, schema, page)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func full(t testing.TB) *Header {
	h := layout(t, 5000, 100, 256, true, 5000, 4096)
	h.Created = 1234567890123456789
	h.CreatorPID, h.CreatorUID, h.CreatorNS = 42, 1000, 4026531836
	h.Program = "gateway"
	copy(h.ID[:], "0123456789abcdef")
	h.Lifetime, h.Form, h.Items, h.Words, h.WordStep = LifetimeShared, FormQueue, 100, 1024, 16
	h.Ino, h.Dev = 17, 42
	return h
}

func pageOf(h *Header) []byte {
	page := make([]byte, HeaderSize)
	h.Encode(page)
	return page
}

// reseal makes the checksum right, as a hostile peer would.
func reseal(page []byte) {
	native.PutUint32(page[OffCheck:], crc32.Checksum(page[:OffCheck], castagnoli))
}

func TestLayoutIsSmall(t *testing.T) {
	if h := layout(t, 4096, 0, 256, true, 2000, 4096); h.TotalSize > 32<<10 {
		t.Errorf("%d bytes for a page of payload", h.TotalSize)
	}
}

func TestLayout(t *testing.T) {
	for _, payload := range []uint64{1, 63, 64, 4095, 4096, 4097, 1 << 20, 1<<40 + 1, math.MaxInt64 / 4} {
		for _, reserve := range []uint64{0, 1, 4096, 1 << 30} {
			for _, slots := range []int{1, 3, 256, 1024} {
				for _, image := range []bool{false, true} {
					for _, schema := range []int{0, 100, InlineSchema, InlineSchema + 1, MaxSchema, MaxSchema + 1} {
						for _, page := range []uint64{4096, 16384, 65536} {
							h, err := Layout(payload, reserve, slots, image, schema, page)
							if payload == math.MaxInt64/4 && reserve > 0 {
								if err == nil {
									t.Fatalf("%d + %d accepted", payload, reserve)
								}
								continue
							}
							if err != nil {
								t.Fatal(err)
							}
							got, err := DecodeHeader(pageOf(h), int64(h.TotalSize))
							if err != nil {
								t.Fatalf("%+v: %v", h, err)
							}
							if *got != *h {
								t.Fatalf("got  %+v\nwant %+v", got, h)
							}
							checkApart(t, h)
							if h.PayloadCap != payload+reserve || h.ControlOff%page != 0 || h.ControlOff-h.PayloadCap >= page ||
								(h.ImageOff != 0) != image || h.WordSize != bits.UintSize/8 ||
								(h.SchemaCap >= uint64(schema)) != (schema == 0 || schema > InlineSchema && schema <= MaxSchema) {
								t.Fatalf("%+v", h)
							}
						}
					}
				}
			}
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	for _, c := range []struct {
		payload, reserve uint64
		slots, schema    int
		page             uint64
	}{
		{0, 10, 1, 0, 4096},
		{1, 0, 0, 0, 4096},
		{1, 0, -1, 0, 4096},
		{1, 0, 1025, 0, 4096},
		{1, 0, 1, -1, 4096},
		{1, 0, 1, 0, 0},
		{1, 0, 1, 0, 2048},
		{1, 0, 1, 0, 5000},
		{1, 0, 1, 0, 1 << 40},
		{math.MaxUint64, 0, 1, 0, 4096},
		{math.MaxUint64, 1, 1, 0, 4096},
		{1, math.MaxUint64, 1, 0, 4096},
		{math.MaxInt64, 0, 1, 0, 4096},
		{1 << 62, 1 << 62, 1, 0, 4096},
	} {
		if h, err := Layout(c.payload, c.reserve, c.slots, true, c.schema, c.page); err == nil {
			t.Errorf("%+v gives %+v", c, h)
		}
	}
}

// checkApart says again, and with no sum that could wrap, what DecodeHeader
// promises.
func checkApart(t *testing.T, h *Header) {
	t.Helper()
	total := h.TotalSize
	inside := func(off, n uint64) bool { return off <= total && n <= total-off }
	before := func(off, n, next uint64) bool { return off <= next && n <= next-off }
	image, schema := h.ImageOff, h.SchemaOff
	if schema == 0 {
		schema = h.SlotsOff
	}
	if image == 0 {
		image = schema
	}
	header := h.HeaderOff()
	imageSize := h.ImageSize()
	slots := uint64(h.SlotCount) * SlotSize
	if total > math.MaxInt64 || h.PayloadCap == 0 ||
		!inside(0, h.PayloadCap) || !inside(image, imageSize) || !inside(schema, h.SchemaCap) ||
		!inside(h.SlotsOff, slots) || !inside(header, HeaderSize) ||
		!before(0, h.PayloadCap, h.ControlOff) || !before(h.ControlOff, 0, image) ||
		!before(image, imageSize, schema) || !before(schema, h.SchemaCap, h.SlotsOff) ||
		!before(h.SlotsOff, slots, header) || header-h.SlotsOff != slots ||
		h.ControlOff%uint64(h.PageSize) != 0 || h.ImageOff%64 != 0 || h.SchemaOff%64 != 0 || h.SlotsOff%64 != 0 ||
		header%HeaderSize != 0 || h.SlotCount < 1 || h.SlotCount > MaxSlots {
		t.Fatalf("parts out of place: %+v", h)
	}
	if h.ImageOff != 0 && imageSize < h.PayloadCap {
		t.Fatalf("an image too small: %+v", h)
	}
}

// TestHeaderStays holds the offsets of docs/format.md.
func TestHeaderStays(t *testing.T) {
	page := pageOf(full(t))
	for off, want := range map[int]uint64{
		16: 40960, 24: 5100, 32: 8192, 40: 8192, 48: 13312, 56: 5056, 64: 20480,
		88: 1234567890123456789, 104: 4026531836, 168: 100, 176: 1024, 184: 17, 192: 42,
	} {
		if got := native.Uint64(page[off:]); got != want {
			t.Errorf("u64 at %d is %d, want %d", off, got, want)
		}
	}
	for off, want := range map[int]uint32{8: 2, 160: 2, 164: 1, 12: 0x01020304, 72: 256, 76: bits.UintSize / 8, 80: 4096, 84: 0, 96: 42, 100: 1000,
		244: crc32.Checksum(page[:244], crc32.MakeTable(crc32.Castagnoli))} {
		if got := native.Uint32(page[off:]); got != want {
			t.Errorf("u32 at %d is %d, want %d", off, got, want)
		}
	}
	if string(page[:8]) != "ShmemBox" || string(page[112:120]) != "gateway\x00" || string(page[144:160]) != "0123456789abcdef" {
		t.Errorf("%q", page[:FixedSize])
	}
	if native.Uint32(page[220:]) != 16 || !bytes.Equal(page[200:220], make([]byte, 20)) ||
		!bytes.Equal(page[224:244], make([]byte, 20)) || !bytes.Equal(page[FixedSize:], make([]byte, HeaderSize-FixedSize)) {
		t.Error("more than the header was written")
	}
	if InlineSchema != 3096 || RecordSize != 40 {
		t.Error("the record has moved")
	}
}

func TestEncodeLeavesTheRest(t *testing.T) {
	page := bytes.Repeat([]byte{0xee}, HeaderSize)
	full(t).Encode(page)
	if !bytes.Equal(page[FixedSize:], bytes.Repeat([]byte{0xee}, HeaderSize-FixedSize)) {
		t.Error("bytes behind the header changed")
	}
	if _, err := DecodeHeader(page, 40960); err != nil {
		t.Error("old bytes shine through:", err)
	}
}

func TestProgramName(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"gateway":                              "gateway",
		"a\x00b":                               "a",
		strings.Repeat("x", 32):                strings.Repeat("x", 32),
		strings.Repeat("x", 40):                strings.Repeat("x", 32),
		strings.Repeat("x", 31) + "é":          strings.Repeat("x", 31),
		strings.Repeat("x", 30) + "é":          strings.Repeat("x", 30) + "é",
		strings.Repeat("\x80", 40):             strings.Repeat("\x80", 28), // no character at all
		strings.Repeat("x", 29) + "\U0001F600": strings.Repeat("x", 29),
	} {
		h := full(t)
		h.Program = in
		got, err := DecodeHeader(pageOf(h), int64(h.TotalSize))
		if err != nil || got.Program != want {
			t.Errorf("%q: %q, %v", in, got.Program, err)
		}
	}
}

func TestDecodeHeaderRefuses(t *testing.T) {
	h := full(t)
	good := pageOf(h)
	size := int64(h.TotalSize)
	if _, err := DecodeHeader(good, size); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(p []byte)
		want   error
		text   string
	}{
		{"magic", func(p []byte) { p[0] = 's' }, ErrNone, ""},
		{"empty", func(p []byte) { clear(p) }, ErrNone, ""},
		{"older", func(p []byte) { native.PutUint32(p[OffVersion:], 1) }, ErrVersion, "version 1"},
		{"newer", func(p []byte) { native.PutUint32(p[OffVersion:], 3) }, ErrVersion, "version 3"},
		{"no lifetime", func(p []byte) { native.PutUint32(p[OffLifetime:], 0); reseal(p) }, ErrCorrupt, "lifetime"},
		{"lifetime 4", func(p []byte) { native.PutUint32(p[OffLifetime:], 4); reseal(p) }, ErrCorrupt, "lifetime"},
		{"form 6", func(p []byte) { native.PutUint32(p[OffForm:], 6); reseal(p) }, ErrCorrupt, "form"},
		{"value with items", func(p []byte) { native.PutUint32(p[OffForm:], 0); reseal(p) }, ErrCorrupt, "items"},
		{"ring of none", func(p []byte) { native.PutUint64(p[OffItems:], 0); reseal(p) }, ErrCorrupt, "items"},
		{"too many items", func(p []byte) { native.PutUint64(p[OffItems:], 5000); reseal(p) }, ErrCorrupt, "items"},
		{"huge items", func(p []byte) { native.PutUint64(p[OffItems:], math.MaxUint64); reseal(p) }, ErrCorrupt, "items"},
		{"words off the payload", func(p []byte) { native.PutUint64(p[OffWords:], 1<<63); reseal(p) }, ErrCorrupt, "items"},
		{"words too close", func(p []byte) { native.PutUint32(p[OffWordStep:], 4); reseal(p) }, ErrCorrupt, "items"},
		{"words too far apart", func(p []byte) { native.PutUint32(p[OffWordStep:], 128); reseal(p) }, ErrCorrupt, "items"},
		{"words unaligned", func(p []byte) { native.PutUint64(p[OffWords:], 1025); reseal(p) }, ErrCorrupt, "items"},
		{"version 0", func(p []byte) { native.PutUint32(p[OffVersion:], 0) }, ErrCorrupt, "version 0"},
		{"other order", func(p []byte) { native.PutUint32(p[OffOrder:], 0x04030201) }, ErrVersion, "byte order"},
		{"no order", func(p []byte) { native.PutUint32(p[OffOrder:], 0) }, ErrCorrupt, "byte order"},
		{"flags", func(p []byte) { native.PutUint32(p[OffFlags:], 1); reseal(p) }, ErrVersion, "flags"},
		{"check", func(p []byte) { p[OffCheck]++ }, ErrCorrupt, "checksum"},
	} {
		p := bytes.Clone(good)
		c.change(p)
		if h, err := DecodeHeader(p, size); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, %v", c.name, h, err)
		}
	}
	u64 := []int{OffTotalSize, OffLeaseOff, OffPayloadCap, OffControlOff, OffImageOff, OffSchemaOff, OffSchemaCap, OffSlotsOff}
	for _, off := range u64 {
		was := native.Uint64(good[off:])
		for _, v := range []uint64{1, was + 1, was - 1, was + 4096, uint64(size), uint64(size) - 4096, 1 << 31, 1 << 32, 1 << 62, 1 << 63,
			math.MaxInt64, math.MaxInt64 - 4095, math.MaxUint64, math.MaxUint64 - 63, math.MaxUint64 - 4095} {
			p := bytes.Clone(good)
			native.PutUint64(p[off:], v)
			reseal(p)
			if got, err := DecodeHeader(p, size); err == nil {
				checkApart(t, got) // a payload one byte shorter is fine
			} else if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d at %d: %v", v, off, err)
			}
		}
	}
	for _, c := range []struct {
		off int
		v   uint32
	}{{OffSlotCount, 0}, {OffSlotCount, 255}, {OffSlotCount, 257}, {OffSlotCount, 1025}, {OffSlotCount, math.MaxUint32},
		{OffWordSize, 0}, {OffWordSize, 16}, {OffPageSize, 0}, {OffPageSize, 1}, {OffPageSize, 4095}, {OffPageSize, 1 << 31}, {OffPageSize, 12288}} {
		p := bytes.Clone(good)
		native.PutUint32(p[c.off:], c.v)
		reseal(p)
		if _, err := DecodeHeader(p, size); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d at %d: %v", c.v, c.off, err)
		}
	}
	// Headers at peace with themselves, of what cannot be.
	for _, c := range []struct {
		name  string
		forge func(h *Header)
	}{
		{"no payload", func(h *Header) { h.PayloadCap = 0 }},
		{"not whole pages", func(h *Header) { h.TotalSize -= 4096; h.SlotsOff -= 4096 }},
		{"no slots", func(h *Header) { h.SlotCount = 0; h.SlotsOff = h.HeaderOff() }},
		{"too many slots", func(h *Header) { h.SlotCount = 1040; h.SlotsOff = h.HeaderOff() - 1040*SlotSize }},
		{"large schema area", func(h *Header) {
			h.TotalSize += 4 << 20
			h.SlotsOff += 4 << 20
			h.SchemaCap = MaxSchema + 64
		}},
		{"schema area of none", func(h *Header) { h.SchemaCap = 0 }},
		{"schema area nowhere", func(h *Header) { h.SchemaOff = 0 }},
		{"image over payload", func(h *Header) { h.ImageOff -= 64 }},
		{"image over schema", func(h *Header) { h.SchemaOff -= 64 }},
		{"schema over slots", func(h *Header) { h.SchemaOff = h.SlotsOff - 64 }},
		{"control block in payload", func(h *Header) { h.ControlOff -= 16384 }},
		{"control block off its page", func(h *Header) { h.ControlOff -= 64 }},
		{"payload and control block in nothing", func(h *Header) { h.PayloadCap = 1 << 62; h.ControlOff = 1 << 62 }},
	} {
		h := layout(t, 5000, 12000, 256, true, 5000, 16384)
		c.forge(h)
		if got, err := DecodeHeader(pageOf(h), int64(h.TotalSize)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, n := range []int64{size - 1, size + 1, size + 4096, size - 4096, math.MaxInt64} {
		if _, err := DecodeHeader(good, n); !errors.Is(err, ErrCorrupt) {
			t.Errorf("file of %d bytes: %v", n, err)
		}
	}
	for _, n := range []int64{-1, 0, 4095, math.MinInt64} {
		if _, err := DecodeHeader(good, n); !errors.Is(err, ErrNone) {
			t.Errorf("file of %d bytes: %v", n, err)
		}
	}
	for _, n := range []int{0, 8, 248, 4095} {
		if _, err := DecodeHeader(good[:n], size); !errors.Is(err, ErrNone) {
			t.Errorf("page of %d bytes: %v", n, err)
		}
	}
}

// TestEveryByteCounts changes each byte of a header to each other value: it
// is an error, each time, for the checksum covers all of them. With the
// checksum made right again it is an error or a header whose parts are in
// place; and bytes that carry a number change the header they give. A check
// taken out of DecodeHeader fails here or in TestDecodeHeaderRefuses.
func TestEveryByteCounts(t *testing.T) {
	h := full(t)
	good := pageOf(h)
	size := int64(h.TotalSize)
	for off := range FixedSize {
		for v := 1; v < 256; v++ {
			p := bytes.Clone(good)
			p[off] ^= byte(v)
			if got, err := DecodeHeader(p, size); err == nil {
				t.Fatalf("byte %d changed by %#x: %+v", off, v, got)
			}
			if off >= OffCheck {
				continue
			}
			reseal(p)
			got, err := DecodeHeader(p, size)
			if err != nil {
				continue
			}
			checkApart(t, got)
			// Behind the NUL of the program name, and in reserved bytes,
			// nothing is said.
			mute := off > OffProgram+len(h.Program) && off < OffID ||
				off >= OffReserved
			if (*got == *h) != mute {
				t.Fatalf("byte %d changed by %#x and sealed: %+v", off, v, got)
			}
		}
	}
	for off := FixedSize; off < HeaderSize; off++ {
		p := bytes.Clone(good)
		p[off] ^= 0xff
		if got, err := DecodeHeader(p, size); err != nil || *got != *h {
			t.Fatalf("byte %d is not of the header: %v", off, err)
		}
	}
}

func TestHeaderMutated(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	good := pageOf(full(t))
	accepted := 0
	for range 200000 {
		p := bytes.Clone(good[:HeaderSize])
		for range 1 + r.IntN(3) {
			off := 16 + 8*r.IntN(9)
			v := native.Uint64(p[off:])
			switch r.IntN(5) {
			case 0:
				v = r.Uint64()
			case 1:
				v = r.Uint64() >> r.IntN(64)
			case 2:
				v += 64 * uint64(r.IntN(200))
			case 3:
				v -= 64 * uint64(r.IntN(200))
			case 4:
				v = -(uint64(r.IntN(200)) * 64)
			}
			native.PutUint64(p[off:], v)
		}
		reseal(p)
		size := int64(native.Uint64(p[OffTotalSize:]))
		if h, err := DecodeHeader(p, size); err == nil {
			checkApart(t, h)
			accepted++
		}
	}
	if accepted == 0 {
		t.Error("nothing was ever accepted: the test sees nothing")
	}
}

func TestRecord(t *testing.T) {
	h := full(t)
	small := of[config](t).AppendBinary(nil)
	large := bytes.Repeat([]byte("schema"), 700)
	for _, c := range []struct {
		name   string
		schema []byte
		kind   RecordKind
		size   int
	}{
		{"none", nil, NoSchema, RecordSize},
		{"inline", small, InlineRecord, RecordSize + len(small)},
		{"inline at most", make([]byte, InlineSchema), InlineRecord, RecordSize + InlineSchema},
		{"area", large, AreaRecord, RecordSize},
		{"too large", make([]byte, 6000), FingerprintOnly, RecordSize},
	} {
		r := h.NewRecord(c.schema, 0xfeed, 5000)
		if r.Kind != c.kind {
			t.Errorf("%s: kind %d", c.name, r.Kind)
		}
		page := bytes.Repeat([]byte{0xee}, HeaderSize)
		if n := r.Encode(page[OffRecord:], c.schema); n != c.size {
			t.Errorf("%s: %d bytes", c.name, n)
		}
		got, err := DecodeRecord(h, page)
		if err != nil || got != r {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		schema := c.schema
		switch c.kind {
		case InlineRecord:
			if schema = got.Inline(page); !bytes.Equal(schema, c.schema) {
				t.Errorf("%s: schema %x", c.name, schema)
			}
		case FingerprintOnly:
			schema = nil
		}
		if err := got.Verify(page, schema); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := got.Verify(page, append(bytes.Clone(schema), 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: a byte more: %v", c.name, err)
		}
		if len(schema) > 0 {
			bad := bytes.Clone(schema)
			bad[len(bad)/2]++
			if err := got.Verify(page, bad); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: another schema: %v", c.name, err)
			}
		}
		for off := OffRecord; off < OffInline-4; off++ {
			for v := 1; v < 256; v++ {
				p := bytes.Clone(page)
				p[off] ^= byte(v)
				m, err := DecodeRecord(h, p)
				if err != nil {
					continue
				}
				s := schema
				if m.Kind == InlineRecord {
					s = m.Inline(p)
				}
				if err := m.Verify(p, s); err == nil {
					t.Fatalf("%s: byte %d changed by %#x: %+v", c.name, off, v, m)
				}
				if m.PayloadSize > h.PayloadCap || m.Kind == AreaRecord &&
					(m.Offset < h.SchemaOff || m.Offset+uint64(m.Length) > h.SchemaOff+h.SchemaCap) {
					t.Fatalf("%s: out of bounds: %+v", c.name, m)
				}
			}
		}
	}
	zero, err := DecodeRecord(h, make([]byte, HeaderSize))
	if err != nil || zero != (Record{}) || zero.Verify(make([]byte, HeaderSize), nil) != nil {
		t.Errorf("an empty page: %+v, %v", zero, err)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	h := full(t)
	bare := layout(t, 100, 0, 1, false, 0, 4096)
	area := h.SchemaOff
	for _, c := range []struct {
		h *Header
		r Record
	}{
		{h, Record{Kind: NoSchema, Length: 1, PayloadSize: 1}},
		{h, Record{Kind: NoSchema, Fingerprint: 1, PayloadSize: 1}},
		{h, Record{Kind: InlineRecord, PayloadSize: 1}},
		{h, Record{Kind: InlineRecord, Length: InlineSchema + 1, PayloadSize: 1}},
		{h, Record{Kind: InlineRecord, Length: 1, Offset: 1, PayloadSize: 1}},
		{h, Record{Kind: InlineRecord, Length: 1}},
		{h, Record{Kind: InlineRecord, Length: 1, PayloadSize: 5101}},
		{h, Record{Kind: AreaRecord, Offset: area, PayloadSize: 1}},
		{h, Record{Kind: AreaRecord, Length: 5057, Offset: area, PayloadSize: 1}},
		{h, Record{Kind: AreaRecord, Length: 5056, Offset: area + 1, PayloadSize: 1}},
		{h, Record{Kind: AreaRecord, Length: 1, Offset: area - 1, PayloadSize: 1}},
		{h, Record{Kind: AreaRecord, Length: 1, Offset: math.MaxUint64, PayloadSize: 1}},
		{h, Record{Kind: AreaRecord, Length: math.MaxUint32, Offset: math.MaxUint64, PayloadSize: 1}},
		{bare, Record{Kind: AreaRecord, Length: 1, Offset: 0, PayloadSize: 1}},
		{h, Record{Kind: FingerprintOnly, Length: 1, PayloadSize: 1}},
		{h, Record{Kind: 4, PayloadSize: 1}},
		{h, Record{Kind: math.MaxUint32, PayloadSize: 1}},
	} {
		page := make([]byte, HeaderSize)
		c.r.head(page[OffRecord:])
		if r, err := DecodeRecord(c.h, page); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: %+v, %v", c.r, r, err)
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	for _, h := range []*Header{full(f), layout(f, 1, 0, 1, false, 0, 4096), layout(f, 1<<20, 1<<20, 1024, true, 1<<16, 16384)} {
		page := pageOf(h)
		schema := of[config](f).AppendBinary(nil)
		r := h.NewRecord(schema, 1, 1)
		r.Encode(page[OffRecord:], schema)
		fixed, record := page[:FixedSize], page[OffRecord:][:RecordSize+len(schema)]
		f.Add(fixed, record, int64(h.TotalSize), true)
		f.Add(fixed, record, int64(h.TotalSize), false)
	}
	// Not the whole page: it is mostly empty, and the fuzzer would spend its
	// time there.
	f.Fuzz(func(t *testing.T, fixed, record []byte, size int64, seal bool) {
		page := make([]byte, HeaderSize)
		copy(page[OffRecord:], record)
		copy(page, fixed)
		if seal {
			reseal(page)
		}
		h, err := DecodeHeader(page, size)
		if err != nil {
			if h != nil || !errors.Is(err, ErrNone) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v, %v", h, err)
			}
			return
		}
		checkApart(t, h)
		if h.TotalSize != uint64(size) {
			t.Fatalf("%d bytes in a file of %d", h.TotalSize, size)
		}
		again, err := DecodeHeader(pageOf(h), size)
		if err != nil || *again != *h && strings.ToValidUTF8(h.Program, "") == h.Program {
			t.Fatalf("%+v\n%+v\n%v", h, again, err)
		}
		r, err := DecodeRecord(h, page)
		if err != nil {
			return
		}
		if r.PayloadSize > h.PayloadCap {
			t.Fatalf("%+v", r)
		}
		if s := r.Inline(page); r.Verify(page, s) == nil {
			Decode(s)
		}
	})
}
