//go:build unix

// Command ffmpeg passes the frames of ffmpeg to two programs, one in Go and one in Python with
// numpy: first through shared memory, and then through pipes, to compare.
//
//	go run ./examples/ffmpeg
//
// Through shared memory that is ffmpeg | shmem pump, a topic, and two readers that read each frame
// where it is. Through pipes it is ffmpeg | tee. For each way it prints the time, the processor
// time of all programs, and how much they copied by read and write, as the kernel counts it. The
// example needs ffmpeg, python3 and numpy.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

//go:embed reader.py
var script string

// Frame is a picture of 1280×720 RGB pixels.
type Frame [1280 * 720 * 3]byte

const size = len(Frame{})

var (
	frames = flag.Int("frames", 300, "number of frames")
	name   = flag.String("name", "ffmpeg-example", "name of the topic")
)

// A view is what a reader has seen: two readers of the same frames have the same.
type view struct{ Frames, Sum, Lost uint64 }

// look adds every 64th byte of a frame.
func (v *view) look(f []byte) {
	v.Frames++
	for i := 0; i < len(f); i += 64 {
		v.Sum += uint64(f[i])
	}
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch flag.Arg(0) {
	case "":
		err = compare(ctx)
	case "-":
		err = readPipe()
	default:
		err = readTopic(ctx, flag.Arg(0))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// readTopic is the Go reader. It has a hold, so publishers wait for it and it loses nothing.
func readTopic(ctx context.Context, name string) error {
	t, err := topic.Attach[Frame](name, nil)
	if err != nil {
		return err
	}
	defer t.Close()
	s, err := t.Subscribe(topic.Now)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("ready")
	var v view
	for {
		switch err := s.RecvFunc(ctx, func(f *Frame) error { v.look(f[:]); return nil }); {
		case errors.Is(err, io.EOF):
			return json.NewEncoder(os.Stdout).Encode(v)
		case err != nil:
			return err
		}
	}
}

// readPipe is the Go reader of a pipe.
func readPipe() error {
	fmt.Println("ready")
	var v view
	for f := make([]byte, size); ; {
		if _, err := io.ReadFull(os.Stdin, f); err == io.EOF {
			return json.NewEncoder(os.Stdout).Encode(v)
		} else if err != nil {
			return err
		}
		v.look(f)
	}
}

// compare measures both ways, and checks that the readers have seen the same.
func compare(ctx context.Context) error {
	python, err := tools()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ffmpeg-example-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := &comparison{dir: dir, python: python}
	if err := errors.Join(os.WriteFile(c.at("reader.py"), []byte(script), 0o600),
		c.run(ctx, nil, nil, "go", "build", "-o", c.at("shmem"),
			"github.com/shmembox/shmem/cmd/shmem")); err != nil {
		return err
	}
	fmt.Printf("%d frames of %d bytes, looked at by two programs\n", *frames, size)
	shared, err := c.measured("shared memory", func() ([2]view, error) { return c.shared(ctx) })
	if err != nil {
		return err
	}
	piped, err := c.measured("pipes", func() ([2]view, error) { return c.piped(ctx) })
	if err != nil {
		return err
	}
	for i, reader := range []string{"go", "numpy"} {
		if s, p := shared[i], piped[i]; s.Lost == 0 && s != p || s.Frames+s.Lost != p.Frames {
			return fmt.Errorf("%s has seen something else: %+v, by pipe %+v", reader, s, p)
		}
	}
	fmt.Println("both ways the readers have seen the same")
	return nil
}

// tools checks that the programs are installed, and returns a Python that has numpy.
func tools() (python string, err error) {
	for _, p := range []string{"ffmpeg", "python3", "tee", "go"} {
		if _, err := exec.LookPath(p); err != nil {
			return "", fmt.Errorf("this example needs %s: %w", p, err)
		}
	}
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import numpy").Run() == nil {
			return python, nil
		}
	}
	return "", errors.New("this example needs numpy (Debian: apt install python3-numpy)")
}

// A comparison has a directory for the programs that it makes.
type comparison struct{ dir, python string }

func (c *comparison) at(name string) string { return filepath.Join(c.dir, name) }

// run runs a program to its end. Its error has what the program wrote to standard error.
func (c *comparison) run(ctx context.Context, in io.Reader, out io.Writer, name string,
	args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout = in, out
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, stderr.Bytes())
	}
	return nil
}

// measured prints what a way costs: time, processor time of the child processes, bytes copied by
// them.
func (c *comparison) measured(name string, f func() ([2]view, error)) ([2]view, error) {
	cpu, copied, start := children(), throughKernel(), time.Now()
	v, err := f()
	if err != nil {
		return v, fmt.Errorf("%s: %w", name, err)
	}
	d := time.Since(start)
	fmt.Printf("%-14s %5.2f s  CPU %5.2f s  copied by read and write %6.0f MB, %.1f times what "+
		"was filmed",
		name, d.Seconds(), (children() - cpu).Seconds(), float64(throughKernel()-copied)/1e6,
		float64(throughKernel()-copied)/float64(*frames*size))
	if v[1].Lost > 0 {
		fmt.Printf("  (numpy was too slow for %d frames)", v[1].Lost)
	}
	fmt.Println()
	return v, nil
}

// children returns the processor time of the child processes that have ended.
func children() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// throughKernel returns how many bytes these processes have read and written. This process adds a
// few.
func throughKernel() (n int64) {
	b, _ := os.ReadFile("/proc/self/io")
	for l := range strings.Lines(string(b)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(l), ": "); k == "rchar" || k == "wchar" {
			x, _ := strconv.ParseInt(v, 10, 64)
			n += x
		}
	}
	return n
}

// film returns a command that writes frames of a test picture to w.
func film(ctx context.Context, w *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-f", "lavfi", "-i",
		"testsrc2=size=1280x720:rate=60",
		"-frames:v", strconv.Itoa(*frames), "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	return cmd
}

// shared passes frames through a topic: the readers attach to it first, then ffmpeg begins.
func (c *comparison) shared(ctx context.Context) (v [2]view, err error) {
	pump := func(in io.Reader, args ...string) error {
		return c.run(ctx, in, nil, c.at("shmem"),
			append([]string{"pump", *name, "--frame", strconv.Itoa(size)}, args...)...)
	}
	if _, err := shmem.Stat("", *name); !errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("%s: %w", *name, errors.Join(err, fs.ErrExist))
	}
	// makes the topic; there are no frames yet
	if err := pump(nil, "--topic", "--capacity", "16", "--hold", "1", "--keep"); err != nil {
		return v, err
	}
	defer shmem.Remove("", *name)
	module, err := os.Create(c.at("video.py"))
	if err != nil {
		return v, err
	}
	err = errors.Join(c.run(ctx, nil, module, c.at("shmem"), "gen", "python", *name),
		module.Close())
	if err != nil {
		return v, err
	}
	return c.readers(ctx, [2]string{*name, *name}, [2]*os.File{}, func() error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		ffmpeg := film(ctx, w)
		err = ffmpeg.Start()
		w.Close() // ffmpeg has it
		if err != nil {
			return err
		}
		return errors.Join(pump(r, "--end"), ffmpeg.Wait())
	})
}

// piped passes frames through pipes: tee copies them to both readers.
func (c *comparison) piped(ctx context.Context) (v [2]view, err error) {
	var r, w [3]*os.File // from ffmpeg, and to either reader
	for i := range r {
		if r[i], w[i], err = os.Pipe(); err != nil {
			return v, err
		}
		defer r[i].Close()
		defer w[i].Close()
	}
	return c.readers(ctx, [2]string{"-", "-"}, [2]*os.File{r[1], r[2]}, func() error {
		ffmpeg := film(ctx, w[0])
		tee := exec.CommandContext(ctx, "tee", "/dev/fd/3")
		tee.Stdin, tee.Stdout, tee.ExtraFiles = r[0], w[1], []*os.File{w[2]}
		if err := errors.Join(ffmpeg.Start(), tee.Start()); err != nil {
			return err
		}
		for _, f := range w {
			f.Close()
		}
		return errors.Join(ffmpeg.Wait(), tee.Wait())
	})
}

// readers starts both readers, calls send when they are ready, and returns what they have seen.
// from and in are the argument and the standard input of each.
func (c *comparison) readers(ctx context.Context, from [2]string, in [2]*os.File,
	send func() error) (v [2]view, err error) {
	self, err := os.Executable()
	if err != nil {
		return v, err
	}
	cmds := [2]*exec.Cmd{
		exec.CommandContext(ctx, self, from[0]),
		exec.CommandContext(ctx, c.python, "-B", c.at("reader.py"), strconv.Itoa(size), from[1],
			c.dir),
	}
	var lines [2]*bufio.Reader
	for i, cmd := range cmds {
		cmd.Stderr = os.Stderr
		if in[i] != nil {
			cmd.Stdin = in[i]
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return v, err
		}
		lines[i] = bufio.NewReader(out)
		if l, err := lines[i].ReadString('\n'); l != "ready\n" {
			return v, fmt.Errorf("a reader does not start: %q (%v)", l,
				errors.Join(err, cmd.Wait()))
		}
	}
	if err := send(); err != nil {
		return v, err
	}
	for i, cmd := range cmds {
		if err := errors.Join(json.NewDecoder(lines[i]).Decode(&v[i]), cmd.Wait()); err != nil {
			return v, err
		}
	}
	return v, nil
}
