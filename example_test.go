//go:build linux

package shmem_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
)

// The examples run in two processes: another starts this program again, and init calls the
// function of that name there, with the same options.

var others = map[string]func(opts *shmem.Options) error{
	"set":     otherSets,
	"read":    otherReads,
	"leave":   otherLeaks,
	"die":     otherDies,
	"inherit": otherInherits,
	"crash":   otherCrashes,
}

func init() {
	if f := others[os.Getenv("SHMEM_EXAMPLE")]; f != nil {
		if err := f(&shmem.Options{Dir: os.Getenv("SHMEM_EXAMPLE_DIR")}); err != nil {
			fmt.Println("other process:", err)
		}
		os.Exit(0)
	}
}

// another runs one of the functions above in another process, and waits for it.
func another(name string, opts *shmem.Options, inherited ...*os.File) {
	self, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		return
	}
	command := append(strings.Fields(os.Getenv("SHMEMTEST_WRAP")), self) // with an emulator, if there is one
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), "SHMEM_EXAMPLE="+name, "SHMEM_EXAMPLE_DIR="+opts.Dir)
	c.Stdout, c.Stderr, c.ExtraFiles = os.Stdout, os.Stderr, inherited
	if err := c.Run(); err != nil {
		fmt.Println(err)
	}
}

// scratch creates a fresh directory in memory, so that no name exists there. Your program would
// pass nil for the options, and use /dev/shm.
func scratch() (opts *shmem.Options, remove func()) {
	dir, err := os.MkdirTemp("/dev/shm", "example-")
	if err != nil {
		dir, err = os.MkdirTemp("", "example-")
	}
	if err != nil {
		panic(err)
	}
	return &shmem.Options{Dir: dir}, func() {
		if err := os.Remove(dir); err != nil { // it must be empty
			fmt.Println(err)
		}
	}
}

type Settings struct {
	Limit atomic.Int64
}

// Two processes share a struct.
func ExampleOpen() {
	opts, remove := scratch()
	defer remove()

	box, err := shmem.Open[Settings]("settings", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	box.Value().Limit.Store(1)
	another("set", opts) // runs otherSets in another process
	fmt.Println("here:", box.Value().Limit.Load())
	// Output:
	// other process: was 1, setting 42
	// here: 42
}

func otherSets(opts *shmem.Options) error {
	box, err := shmem.Attach[Settings]("settings", opts)
	if err != nil {
		return err
	}
	defer box.Close()
	fmt.Printf("other process: was %d, setting 42\n", box.Value().Limit.Swap(42))
	return nil
}

type Quota struct {
	PerSecond atomic.Int64
}

// Init makes Quota an Initializer.
func (q *Quota) Init() error {
	q.PerSecond.Store(100)
	return nil
}

// A new value is prepared by its Init before any process can see it.
func ExampleCreate() {
	opts, remove := scratch()
	defer remove()

	box, err := shmem.Create[Quota]("quota", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	another("read", opts) // runs otherReads in another process

	_, err = shmem.Create[Quota]("quota", opts)
	fmt.Println("a second one:", errors.Is(err, fs.ErrExist))
	// Output:
	// other process: 100
	// a second one: true
}

func otherReads(opts *shmem.Options) error {
	box, err := shmem.Attach[Quota]("quota", &shmem.Options{Dir: opts.Dir, ReadOnly: true})
	if err != nil {
		return err
	}
	defer box.Close()
	fmt.Println("other process:", box.Value().PerSecond.Load())
	return nil
}

type Session struct {
	Users atomic.Int64
}

// Drop makes Session a Dropper.
func (s *Session) Drop() { fmt.Println("dropped with", s.Users.Load(), "users") }

// The owner's Close drops the value, once. Close of other attachments only detaches.
func ExampleDropper() {
	opts, remove := scratch()
	defer remove()

	owner, err := shmem.Create[Session]("session", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	user, err := shmem.Attach[Session]("session", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	user.Value().Users.Add(1)
	fmt.Println("user:", user.Close())
	fmt.Println("owner:", owner.Close())
	// Output:
	// user: <nil>
	// dropped with 1 users
	// owner: <nil>
}

// A box outlives the process that leaks it, until another one owns it.
func ExampleBox_Leak() {
	opts, remove := scratch()
	defer remove()

	another("leave", opts) // runs otherLeaks in another process, which ends

	box, err := shmem.Attach[Settings]("kept", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close() // unlinks it: Own has made this attachment the owner
	fmt.Println("found", box.Value().Limit.Load(), "owner:", box.Owned())
	if err := box.Own(); err != nil {
		fmt.Println(err)
	}
	fmt.Println("owner:", box.Owned())
	// Output:
	// found 7 owner: false
	// owner: true
}

func otherLeaks(opts *shmem.Options) error {
	box, err := shmem.Create[Settings]("kept", opts)
	if err != nil {
		return err
	}
	box.Value().Limit.Store(7)
	return box.Leak()
}

// A process waits until another one has created the box, and is told when its name is gone.
func ExampleAttachWait() {
	opts, remove := scratch()
	defer remove()

	var other sync.WaitGroup
	defer other.Wait()
	other.Go(func() { another("leave", opts) }) // runs otherLeaks in another process

	box, err := shmem.AttachWait[Settings](context.Background(), "kept", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	for box.Segment().Lifetime() != shmem.Kept {
		time.Sleep(time.Millisecond) // the other process has not finished
	}
	fmt.Println("found", box.Value().Limit.Load())
	if err := shmem.Remove(opts.Dir, "kept"); err != nil {
		fmt.Println(err)
	}
	<-box.Unlinked()
	fmt.Println("linked:", box.Linked())
	// Output:
	// found 7
	// linked: false
}

// Events tells who comes, who leaves and who dies.
func ExampleSegment_Events() {
	opts, remove := scratch()
	defer remove()

	var other sync.WaitGroup
	defer other.Wait()
	box, err := shmem.Create[Settings]("settings", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	for event, err := range box.Segment().Events(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		switch {
		case event.Peer.ID == box.Segment().ID():
			fmt.Println("this process:", event.Kind)
			other.Go(func() { another("crash", opts) }) // runs otherCrashes in another process
		case event.Kind == shmem.Died:
			fmt.Println("another process:", event.Kind)
			return
		default:
			fmt.Println("another process:", event.Kind)
		}
	}
	// Output:
	// this process: attached
	// another process: attached
	// another process: died
}

func otherCrashes(opts *shmem.Options) error {
	if _, err := shmem.Attach[Settings]("settings", opts); err != nil {
		return err
	}
	os.Exit(0) // without Close, as if killed
	return nil
}

// A segment of bytes is seen as a value.
func ExampleBoxOf() {
	opts, remove := scratch()
	defer remove()

	segment, err := shmem.CreateSegment("points", 8, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer segment.Close()
	b := binary.NativeEndian.AppendUint32(nil, 3)
	if _, err := segment.WriteAt(binary.NativeEndian.AppendUint32(b, 4), 0); err != nil {
		fmt.Println(err)
	}

	type Point struct{ X, Y int32 }
	box, err := shmem.BoxOf[Point](segment)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%+v\n", *box.Value())
	// Output:
	// {X:3 Y:4}
}

type Server struct {
	Name  shmem.Text[[16]byte]
	Ports shmem.Vec[uint16, [4]uint16]
}

// A Text stands for a string, which cannot be shared.
func ExampleText() {
	var s Server
	fmt.Println(s.Name.Set("gateway"))
	fmt.Println(s.Name, s.Name.Len(), "of", s.Name.Cap())
	fmt.Println(s.Name.Set("a name that is too long"))
	// Output:
	// <nil>
	// gateway 7 of 16
	// shmem: text set: a text of 23 bytes does not fit into 16
}

// A Vec stands for a slice, which cannot be shared.
func ExampleVec() {
	var s Server
	if err := s.Ports.Append(80, 443); err != nil {
		fmt.Println(err)
	}
	for _, port := range s.Ports.All() {
		*port += 8000
	}
	b, err := json.Marshal(s)
	fmt.Println(string(b), err)
	fmt.Println(s.Ports.Append(1, 2, 3))
	// Output:
	// {"Name":"","Ports":[8080,8443]} <nil>
	// shmem: vec append: 3 more items do not fit into a list of 4 that has 2
}

func ExampleList() {
	opts, remove := scratch()
	defer remove()

	for _, name := range []string{"b", "a"} {
		box, err := shmem.Create[Settings](name, opts)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer box.Close()
	}
	for info, err := range shmem.List(opts.Dir) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(info.Name, info.State, info.Type, info.Size, info.Owner.PID == os.Getpid())
	}
	// Output:
	// a live shmem_test.Settings 8 true
	// b live shmem_test.Settings 8 true
}

// What a dead process leaves blocks no other process, and Reclaim removes it.
func ExampleReclaim() {
	opts, remove := scratch()
	defer remove()

	another("die", opts) // runs otherDies in another process
	for info, err := range shmem.Reclaim(opts.Dir) {
		fmt.Println(info.Name, info.State, err)
	}
	// Output:
	// left garbage <nil>
}

func otherDies(opts *shmem.Options) error {
	_, err := shmem.Create[Settings]("left", opts)
	if err != nil {
		return err
	}
	os.Exit(0) // without Close, as if killed
	return nil
}

// A file that another program made can be attached to as it is.
func ExampleAttach_foreign() {
	opts, remove := scratch()
	defer remove()
	path := filepath.Join(opts.Dir, "sensor")
	defer os.Remove(path) // Close does not unlink another program's file

	// The other program: 16 bytes of its own, then a struct of two int32.
	file := make([]byte, 24)
	binary.NativeEndian.PutUint32(file[16:], 20)
	binary.NativeEndian.PutUint32(file[20:], 45)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		fmt.Println(err)
		return
	}

	type Reading struct{ Celsius, Humidity int32 }
	box, err := shmem.Attach[Reading](path, &shmem.Options{Foreign: true, Offset: 16, ReadOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	fmt.Printf("%+v\n", *box.Value())
	// Output:
	// {Celsius:20 Humidity:45}
}

// An anonymous segment is passed to a child process as a file descriptor.
func ExampleFromFile() {
	opts, remove := scratch()
	defer remove()

	segment, err := shmem.CreateAnonymous(8, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer segment.Close()
	box, err := shmem.BoxOf[Settings](segment)
	if err != nil {
		fmt.Println(err)
		return
	}
	box.Value().Limit.Store(1)

	file, err := segment.File()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	another("inherit", opts, file) // runs otherInherits in another process
	fmt.Println("here:", box.Value().Limit.Load())
	// Output:
	// other process: was 1, setting 2
	// here: 2
}

func otherInherits(opts *shmem.Options) error {
	file := os.NewFile(3, "inherited") // the first of ExtraFiles
	segment, err := shmem.FromFile(file, opts)
	if err != nil {
		return err
	}
	defer segment.Close()
	box, err := shmem.BoxOf[Settings](segment)
	if err != nil {
		return err
	}
	fmt.Printf("other process: was %d, setting 2\n", box.Value().Limit.Swap(2))
	return nil
}

// The error of a type that is not the segment's names each field that differs.
func ExampleMismatchError() {
	opts, remove := scratch()
	defer remove()

	type Old struct {
		Limit uint64
		Burst uint32
	}
	type New struct {
		Limit uint32
		Burst uint32
	}
	box, err := shmem.Create[Old]("limits", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()

	_, err = shmem.Attach[New]("limits", opts)
	if mismatch, ok := errors.AsType[*shmem.MismatchError](err); ok {
		for _, d := range mismatch.Differences {
			fmt.Println(d)
		}
	}
	// Output:
	// field Limit: here uint32 at 0, in the segment uint64 at 0
	// field Burst: here uint32 at 4, in the segment uint32 at 8
}

// The error of a type that cannot be shared says what to use instead.
func ExampleTypeError() {
	type User struct {
		Name string
	}
	_, err := shmem.Open[User]("users", nil)
	fmt.Println(err)
	// Output:
	// shmem: open users: shmem_test.User.Name: string holds a Go pointer; use a [N]byte or shmem.Text
}
