// Command nats bridges boxes, topics, queues and maps to other machines over NATS JetStream; see
// docs/bridge.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/natsbridge"
)

// A config is what flags and the file of -c say. Flags have the last word.
type config struct {
	URL      string   `json:"url"`
	Creds    string   `json:"creds"`
	CA       string   `json:"ca"`
	Cert     string   `json:"cert"`
	Key      string   `json:"key"`
	Plain    bool     `json:"plain"`
	Dir      string   `json:"dir"`
	Prefix   string   `json:"prefix"`
	Replicas int      `json:"replicas"`
	Leases   int      `json:"leases"`
	NoSetup  bool     `json:"noSetup"`
	HTTP     string   `json:"http"`
	Out      []string `json:"out"`
	In       []string `json:"in"`
}

// list is a flag that can be given several times.
type list struct{ all *[]string }

func (l list) String() string     { return "" }
func (l list) Set(s string) error { *l.all = append(*l.all, s); return nil }

// options are the flags that are not in a file.
type options struct {
	file                   string
	embedded, check, setup bool
	duration               time.Duration
}

// flags defines the flags, which write to c and o.
func flags(c *config, o *options) *flag.FlagSet {
	f := flag.NewFlagSet("nats", flag.ContinueOnError)
	f.SetOutput(io.Discard) // main says what is wrong
	f.StringVar(&o.file, "c", "", "read a JSON file of settings; SIGHUP reads it again")
	f.BoolVar(&o.embedded, "embedded", false, "show all with a server and two hosts of its own")
	f.BoolVar(&o.check, "check", false, "say what would be bridged, try the server, and end")
	f.BoolVar(&o.setup, "setup", false, "create bucket and streams of the routes, and end")
	f.DurationVar(&o.duration, "for", 0, "end after this time")
	f.StringVar(&c.URL, "url", c.URL, "server, such as tls://host:4222")
	f.StringVar(&c.Creds, "creds", c.Creds, "credentials file")
	f.StringVar(&c.CA, "ca", c.CA, "file with the certificate authority of the server")
	f.StringVar(&c.Cert, "cert", c.Cert, "file with the certificate of this client")
	f.StringVar(&c.Key, "key", c.Key, "file with the key of this client")
	f.BoolVar(&c.Plain, "plain", c.Plain, "allow a server on another machine without TLS")
	f.StringVar(&c.Dir, "dir", c.Dir, "directory of the segments (default /dev/shm)")
	f.StringVar(&c.Prefix, "prefix", c.Prefix, "begins names of bucket and streams (default shmem)")
	f.IntVar(&c.Replicas, "replicas", c.Replicas, "replicas of what is created (default 1)")
	f.IntVar(&c.Leases, "leases", c.Leases, "messages of a queue on the way (default 256)")
	f.BoolVar(&c.NoSetup, "no-setup", c.NoSetup, "create no bucket or stream")
	f.StringVar(&c.HTTP, "http", c.HTTP, "serve /healthz, /readyz and /metrics at this address")
	f.Var(list{&c.Out}, "out", "send a segment: box:, topic:, queue: or map:NAME; repeatable")
	f.Var(list{&c.In}, "in", "mirror a segment, KIND:NAME or KIND:NAME=SEGMENT; repeatable")
	return f
}

// read returns the settings of the arguments, and of the file that they name.
func read(args []string) (c config, o options, err error) {
	if err := flags(&config{}, &o).Parse(args); err != nil {
		return c, o, err
	}
	if o.file != "" {
		f, err := os.Open(o.file)
		if err != nil {
			return c, o, err
		}
		defer f.Close()
		d := json.NewDecoder(f)
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			return c, o, fmt.Errorf("%s: %w", o.file, err)
		}
		if _, err := d.Token(); err != io.EOF {
			return c, o, fmt.Errorf("%s: more than one value", o.file)
		}
	}
	f := flags(&c, &o)
	if err := f.Parse(args); err != nil {
		return c, o, err
	}
	switch {
	case f.NArg() > 0:
		return c, o, fmt.Errorf("%q is no flag", f.Arg(0))
	case o.embedded:
		return c, o, nil
	case c.URL == "":
		return c, o, errors.New("no server: use -url, or -embedded to see how it works")
	case len(c.Out)+len(c.In) == 0:
		return c, o, errors.New("no route: use -out or -in; nothing is bridged that is not named")
	}
	if (c.Cert == "") != (c.Key == "") {
		return c, o, errors.New("-cert and -key need each other")
	}
	return c, o, c.checkURL()
}

// checkURL refuses a server on another machine without TLS.
func (c *config) checkURL() error {
	for s := range strings.SplitSeq(c.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" {
			return errors.New("-url has no URL such as tls://host:4222")
		}
		host := u.Hostname()
		ip := net.ParseIP(host)
		local := host == "localhost" || ip != nil && ip.IsLoopback()
		if !local && u.Scheme != "tls" && u.Scheme != "wss" && c.CA == "" && !c.Plain {
			return fmt.Errorf("-url %s: another machine without TLS; use tls:// or -ca, "+
				"or -plain where the network is trusted", u.Redacted())
		}
	}
	return nil
}

// connect connects. It does not wait for the server.
func (c *config) connect() (*nats.Conn, error) {
	o := []nats.Option{
		nats.Name("shmem-bridge"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.CustomInboxPrefix("_INBOX_shmem"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			slog.Warn("nats", "error", err)
		}),
		// A user who is not known yet, or no more, may be later.
		nats.IgnoreAuthErrorAbort(), nats.ReconnectErrHandler(told()),
	}
	if c.Creds != "" {
		f, err := os.Open(c.Creds) // the client would try again and again
		if err != nil {
			return nil, err
		}
		_ = f.Close()
		o = append(o, nats.UserCredentials(c.Creds))
	}
	if c.CA != "" {
		o = append(o, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		o = append(o, nats.ClientCert(c.Cert, c.Key))
	}
	return nats.Connect(c.URL, o...)
}

// told logs why connecting fails, once for each reason.
func told() nats.ConnErrHandler {
	last := ""
	return func(_ *nats.Conn, err error) {
		if err != nil && err.Error() != last {
			last = err.Error()
			slog.Warn("the server cannot be reached", "error", err)
		}
	}
}

// bridge returns a bridge of these settings.
func (c *config) bridge(nc *nats.Conn) (*natsbridge.Bridge, error) {
	b, err := natsbridge.New(nc, &natsbridge.Options{Dir: c.Dir, Prefix: c.Prefix,
		Replicas: c.Replicas, Leases: c.Leases, NoSetup: c.NoSetup, Logger: slog.Default()})
	if err == nil {
		err = b.Out(c.Out...)
	}
	if err == nil {
		err = b.In(c.In...)
	}
	return b, err
}

// open connects, and makes the bridge.
func (c *config) open() (*nats.Conn, *natsbridge.Bridge, error) {
	nc, err := c.connect()
	if err != nil {
		return nil, nil, err
	}
	b, err := c.bridge(nc)
	if err != nil {
		nc.Close()
	}
	return nc, b, err
}

func main() {
	err := run(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		f := flags(&config{}, &options{})
		f.SetOutput(os.Stdout)
		f.Usage()
	case err != nil:
		fmt.Fprintf(os.Stderr, "nats: %s\n", quoted(err))
		os.Exit(1)
	}
}

// quoted returns the text of an error, in which other programs may have written, for a terminal.
func quoted(err error) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // also what turns the direction of text
			return '?'
		}
		return r
	}, err.Error())
}

func run(args []string) error {
	c, o, err := read(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	switch {
	case o.embedded:
		return demo(ctx, os.Stdout)
	case o.check, o.setup:
		return once(ctx, os.Stdout, &c, o.setup)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	slog.Info("JetStream acknowledges before its files are on disk: see sync_interval")
	defer context.AfterFunc(ctx, stopping)()
	return reloading(ctx, args, c, hup)
}

// reloading serves until ctx is done, and reads the settings again at each signal.
func reloading(ctx context.Context, args []string, c config, hup <-chan os.Signal) error {
	for ctx.Err() == nil {
		session, end := context.WithCancel(ctx)
		defer end()
		done := make(chan error, 1)
		go func() { done <- serve(session, &c) }()
		for again := false; !again; {
			select {
			case err := <-done:
				return err
			case <-hup:
			}
			next, _, err := read(args)
			if err == nil {
				err = next.try(&c)
			}
			if err != nil {
				slog.Error("the settings stay as they are", "error", err)
				continue
			}
			end()
			if err := <-done; err != nil {
				return err
			}
			c, again = next, true
		}
	}
	return nil
}

// try returns what is wrong with settings, before they replace those that are used.
func (c *config) try(used *config) error {
	nc, _, err := c.open()
	if err != nil {
		return err
	}
	nc.Close()
	if c.HTTP == "" || c.HTTP == used.HTTP {
		return nil
	}
	l, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return err
	}
	return l.Close()
}

// serve runs a bridge until ctx is done.
func serve(ctx context.Context, c *config) error {
	nc, b, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	if c.HTTP != "" {
		s := &http.Server{Addr: c.HTTP, Handler: b.Handler(), ReadHeaderTimeout: 5 * time.Second}
		l, err := net.Listen("tcp", c.HTTP)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		go func() { _ = s.Serve(l) }()
		defer func() { _ = s.Close() }()
	}
	defer moreThreads(len(c.Out))()
	slog.Info("bridge runs", "out", c.Out, "in", c.In)
	watched, end := context.WithCancel(ctx)
	defer end()
	go watchdog(watched, b.Alive)
	if err := b.Run(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	// What starts processes again would let two bridges take their routes from each other for ever.
	slog.Error("other bridges have all routes; start this one again to take them back")
	<-ctx.Done()
	return nil
}

// moreThreads lets so many more threads run Go code, until the function that it returns is called.
// Each route that sends waits in the kernel for its segment, and the runtime counts such a thread
// as running for up to 10 ms. With as many routes as CPUs no thread would look at the network.
func moreThreads(routes int) (end func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	was := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(was + routes)
	return func() { runtime.GOMAXPROCS(was) }
}

// once is -check and -setup.
func once(ctx context.Context, w io.Writer, c *config, setup bool) error {
	nc, b, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("the server cannot be reached: %w; see -url, -creds and -ca",
			cmp.Or(nc.LastError(), err))
	}
	if setup {
		return b.Setup(ctx)
	}
	for _, s := range b.Stats() {
		fmt.Fprintln(w, s.Route)
	}
	for _, s := range c.Out {
		_, name, _ := strings.Cut(s, ":")
		if _, local, ok := strings.Cut(name, "="); ok {
			name = local
		}
		if _, err := shmem.Stat(c.Dir, name); err != nil {
			fmt.Fprintf(w, "%s: %s (it is bridged once it is there)\n", name, quoted(err))
		}
	}
	if err := b.Check(ctx); err != nil {
		return err
	}
	fmt.Fprintln(w, "the server answers")
	return nil
}
