package shmem

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// What this process tells of itself, for people.

var pidNamespace = sync.OnceValue(sys.PIDNamespace)

var pid = sync.OnceValue(func() uint32 { return uint32(os.Getpid()) })

var program = sync.OnceValue(func() string { return filepath.Base(os.Args[0]) })

func randomID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

func hexString(id [16]byte) string { return hex.EncodeToString(id[:]) }

func randomUpTo(d time.Duration) time.Duration { return mathrand.N(d) }

func putUint32(b []byte, v uint32) { binary.NativeEndian.PutUint32(b, v) }
func putUint64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }
