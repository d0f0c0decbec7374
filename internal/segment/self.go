package segment

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"

	"github.com/shmembox/shmem/internal/sys"
)

// What this process writes about itself into headers and slots. It is for people: the protocol
// never relies on it.

var pidNamespace = sync.OnceValue(sys.PIDNamespace)

var pid = sync.OnceValue(func() uint32 { return uint32(os.Getpid()) })

var program = sync.OnceValue(func() string { return programOf(os.Args) })

// programOf returns the name of a program that was started with args. A process can be started
// without any.
func programOf(args []string) string {
	if len(args) > 0 && args[0] != "" {
		return filepath.Base(args[0])
	}
	path, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	return filepath.Base(path)
}

func randomID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

func hexString(id [16]byte) string { return hex.EncodeToString(id[:]) }

func putUint32(b []byte, v uint32) { binary.NativeEndian.PutUint32(b, v) }
func putUint64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }
