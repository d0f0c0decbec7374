package docs_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// tables returns the rows of every table whose header row has these cells, in the document's order.
func tables(t *testing.T, d document, header string) (found [][][]string) {
	t.Helper()
	inside, wanted := false, false
	for _, line := range d.lines {
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		row := strings.Split(strings.Trim(line, "|"), "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		switch {
		case !inside:
			inside, wanted = true, strings.Join(row, "|") == header
			if wanted {
				found = append(found, nil)
			}
		case wanted && !strings.HasPrefix(row[0], "-"):
			found[len(found)-1] = append(found[len(found)-1], row)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no table %q", d.file, header)
	}
	return found
}

// compare holds rows of offset, type and field to constants, in both directions.
func compare(t *testing.T, what string, rows [][]string, at map[string]int) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range rows {
		off, err := strconv.Atoi(r[0])
		want, ok := at[r[2]]
		if err != nil || !ok || off != want {
			t.Errorf("%s: %s at %s, in the code at %d", what, r[2], r[0], want)
		}
		seen[r[2]] = true
	}
	for name := range at {
		if !seen[name] {
			t.Errorf("%s: %s is not in docs/format.md", what, name)
		}
	}
}

var header = map[string]int{
	"magic": format.OffMagic, "version": format.OffVersion, "order": format.OffOrder,
	"totalSize": format.OffTotalSize, "payloadCap": format.OffPayloadCap,
	"controlOff": format.OffControlOff, "imageOff": format.OffImageOff,
	"schemaOff": format.OffSchemaOff, "schemaCap": format.OffSchemaCap,
	"slotsOff": format.OffSlotsOff, "slotCount": format.OffSlotCount, "wordSize": format.OffWordSize,
	"pageSize": format.OffPageSize, "flags": format.OffFlags, "created": format.OffCreated,
	"creatorPID": format.OffCreatorPID, "creatorUID": format.OffCreatorUID, "creatorNS": format.OffCreatorNS,
	"program": format.OffProgram, "id": format.OffID, "reserved": format.OffReserved,
	"lifetime": format.OffLifetime, "form": format.OffForm, "items": format.OffItems, "words": format.OffWords, "wordStep": format.OffWordStep,
	"ino": format.OffIno, "dev": format.OffDev, "leaseOff": format.OffLeaseOff,
	"leaseCount": format.OffLeaseCount, "leaseSize": format.OffLeaseSize, "hints": format.OffHints,
	"reserve": format.OffReserve,
	"events":  format.OffEvents, "eventsArmed": format.OffEventsArmed, "gone": format.OffGone,
	"check": format.OffCheck,
	"owner": format.OffOwner, "slotHigh": format.OffSlotHigh,
	"lock": format.OffLock, "lockArmed": format.OffLockArmed,
	"seq": format.OffSeq, "seqArmed": format.OffSeqArmed,
	"readers": format.OffReaders, "readersArmed": format.OffReadersArmed,
	"kind": format.OffRecordKind, "length": format.OffRecordLength,
	"fingerprint": format.OffRecordFingerprint,
	"payloadSize": format.OffRecordPayloadSize, "offset": format.OffRecordOffset,
	"recordCheck": format.OffRecordCheck, "inline": format.OffInline,
}

var slot = map[string]int{
	"gen": format.SlotGen, "bell": format.SlotBell, "sleeping": format.SlotSleeping, "reader": format.SlotReader,
	"interest": format.SlotInterest, "pending": format.SlotPending, "pid": format.SlotPID, "flags": format.SlotFlags,
	"pidNS": format.SlotPIDNS, "started": format.SlotStarted, "baton": format.SlotBaton,
}

var locks = map[string]int{
	"Mutex.word": layout.MutexWord, "Mutex.armed": layout.MutexArmed,
	"RWMutex.word": layout.RWMutexWord, "RWMutex.armed": layout.RWMutexArmed,
	"RWMutex.drained": layout.RWMutexDrained, "RWMutex.marks": layout.RWMutexMarks,
	"Semaphore.word": layout.SemaphoreWord, "Semaphore.armed": layout.SemaphoreArmed,
	"Semaphore.limit": layout.SemaphoreLimit, "Semaphore.freed": layout.SemaphoreFreed,
	"Semaphore.reserved": layout.SemaphoreReserved, "Semaphore.waited": layout.SemaphoreWaited,
	"Semaphore.holds": layout.SemaphoreHolds,
	"Event.state":     layout.EventState, "Event.armed": layout.EventArmed,
	"Cond.count": layout.CondCount, "Cond.armed": layout.CondArmed,
	"Once.word": layout.OnceWord, "Once.armed": layout.OnceArmed, "Once.done": layout.OnceDone,
}

// TestFormat compares the tables of docs/format.md with the constants that the code uses.
func TestFormat(t *testing.T) {
	d := parse(t, filepath.Join(root, "docs/format.md"))
	found := tables(t, d, "offset|type|field|")
	if len(found) != 2 {
		t.Fatalf("%d tables of offsets, want those of the header and of a slot", len(found))
	}
	compare(t, "header", found[0], header)
	compare(t, "slot", found[1], slot)

	var rows [][]string
	for _, r := range tables(t, d, "lock|offset|type|field|")[0] {
		rows = append(rows, []string{r[1], r[2], r[0] + "." + r[3]})
	}
	compare(t, "locks", rows, locks)

	parts := map[string]*format.Type{"Topic": layout.TopicHeader, "Hold": layout.Hold}
	for _, r := range tables(t, d, "part|offset|type|field|")[0] {
		if off := layout.Offset(parts[r[0]], r[3]); strconv.Itoa(off) != r[1] {
			t.Errorf("%s.%s at %s, in the code at %d", r[0], r[3], r[1], off)
		}
	}
	parts = map[string]*format.Type{"Map": layout.MapHeader, "Stripe": layout.Stripe}
	for _, r := range tables(t, d, "map part|offset|type|field|")[0] {
		if off := layout.Offset(parts[r[0]], r[3]); strconv.Itoa(off) != r[1] {
			t.Errorf("%s.%s at %s, in the code at %d", r[0], r[3], r[1], off)
		}
	}
	parts = map[string]*format.Type{"Cache": layout.CacheHeader, "Shard": layout.Shard}
	for _, r := range tables(t, d, "cache part|offset|type|field|")[0] {
		if off := layout.Offset(parts[r[0]], r[3]); strconv.Itoa(off) != r[1] {
			t.Errorf("%s.%s at %s, in the code at %d", r[0], r[3], r[1], off)
		}
	}
	for _, r := range tables(t, d, "pool part|offset|type|field|")[0] {
		if off := layout.Offset(layout.PoolHeader, r[3]); strconv.Itoa(off) != r[1] {
			t.Errorf("%s.%s at %s, in the code at %d", r[0], r[3], r[1], off)
		}
	}
	text := strings.Join(d.lines, "\n") + blocksOf(d)
	for _, s := range []string{
		fmt.Sprintf("version %d", format.Version),
		fmt.Sprintf("records of %d bytes", format.SlotSize),
		fmt.Sprintf("The header has %d bytes, a hold %d", layout.TopicHeader.Size, layout.Hold.Size),
		fmt.Sprintf("The header has %d bytes, a stripe %d", layout.MapHeader.Size, layout.Stripe.Size),
		fmt.Sprintf("The header has %d bytes, a shard %d", layout.CacheHeader.Size, layout.Shard.Size),
		fmt.Sprintf("[%d]u64 | marks", layout.RWMutexReaders),
		fmt.Sprintf("[%d]u64 | holds", layout.SemaphoreHolders),
		fmt.Sprintf("up to %d bytes", format.InlineSchema),
		fmt.Sprintf("1 to %d", format.MaxSlots),
		fmt.Sprintf("the last %d bytes", format.HeaderSize),
		fmt.Sprintf("Bytes 0 to %d never change", format.FixedSize-1),
	} {
		if !strings.Contains(text, s) {
			t.Errorf("docs/format.md does not say %q", s)
		}
	}
}

func blocksOf(d document) string {
	var b strings.Builder
	for _, x := range d.blocks {
		b.WriteString(x.text)
	}
	return b.String()
}
