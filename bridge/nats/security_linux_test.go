package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("authority", true)
	return a
}

// sign writes NAME.pem and NAME-key.pem.
func (a *authority) sign(name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, by := a.cert, a.key
	if ca {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	check(a.t, err)
	c, err = x509.ParseCertificate(der)
	check(a.t, err)
	b, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	for suffix, block := range map[string]*pem.Block{
		".pem":     {Type: "CERTIFICATE", Bytes: der},
		"-key.pem": {Type: "PRIVATE KEY", Bytes: b},
	} {
		check(a.t, os.WriteFile(a.file(name+suffix), pem.EncodeToMemory(block), 0o600))
	}
	return c, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// An operator makes users of one account, as nsc does.
type operator struct {
	t             *testing.T
	key, account  nkeys.KeyPair
	token, member string // of the operator and of the account
}

func newOperator(t *testing.T) *operator {
	o := &operator{t: t}
	var err error
	o.key, err = nkeys.CreateOperator()
	check(t, err)
	o.account, err = nkeys.CreateAccount()
	check(t, err)
	o.token, err = jwt.NewOperatorClaims(public(t, o.key)).Encode(o.key)
	check(t, err)
	c := jwt.NewAccountClaims(public(t, o.account))
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit,
		Consumer: jwt.NoLimit,
	}
	o.member, err = c.Encode(o.key)
	check(t, err)
	return o
}

func public(t *testing.T, k nkeys.KeyPair) string {
	s, err := k.PublicKey()
	check(t, err)
	return s
}

// user writes the credentials file of a user who may publish and subscribe to such subjects; none:
// to all.
func (o *operator) user(name string, pub, sub []string) string {
	k, err := nkeys.CreateUser()
	check(o.t, err)
	c := jwt.NewUserClaims(public(o.t, k))
	c.Permissions.Pub.Allow, c.Permissions.Sub.Allow = pub, sub
	token, err := c.Encode(o.account)
	check(o.t, err)
	seed, err := k.Seed()
	check(o.t, err)
	b, err := jwt.FormatUserConfig(token, seed)
	check(o.t, err)
	file := filepath.Join(o.t.TempDir(), name+".creds")
	check(o.t, os.WriteFile(file, b, 0o600))
	return file
}

// serve starts a server in operator mode that demands certificates of clients.
func (o *operator) serve(a *authority) *embedded.Server {
	a.sign("server", false)
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server-key.pem"))
	check(o.t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	claims, err := jwt.DecodeOperatorClaims(o.token)
	check(o.t, err)
	system, err := nkeys.CreateAccount()
	check(o.t, err)
	token, err := jwt.NewAccountClaims(public(o.t, system)).Encode(o.key)
	check(o.t, err)
	resolver := &server.MemAccResolver{}
	check(o.t, resolver.Store(public(o.t, system), token))
	check(o.t, resolver.Store(public(o.t, o.account), o.member))
	s, err := embedded.Run(&server.Options{
		Port: -1, StoreDir: o.t.TempDir(), TrustedOperators: []*jwt.OperatorClaims{claims},
		AccountResolver: resolver, SystemAccount: public(o.t, system), TLS: true, TLSTimeout: 10,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool,
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
	})
	check(o.t, err)
	o.t.Cleanup(s.Close)
	return s
}

// documented returns the subjects of the n-th list in the guide's section on permissions, for a
// route of each kind, whose name is its kind.
func documented(t *testing.T, n int) (all []string) {
	b, err := os.ReadFile("../../docs/bridge.md")
	check(t, err)
	_, section, ok := strings.Cut(string(b), "## Permissions")
	lists := strings.Split(section, "```")
	if !ok || len(lists) < 2*n {
		t.Fatal("the guide has no such list")
	}
	for _, s := range strings.FieldsFunc(lists[2*n-1], func(r rune) bool {
		return r == ',' || r == '\n' || r == ' '
	}) {
		kinds := []string{"box", "topic", "queue", "map"}
		if !strings.Contains(s, "KIND") {
			i := slices.IndexFunc(kinds, func(kind string) bool { return strings.Contains(s, kind) })
			if i < 0 {
				i = slices.Index(kinds, "queue") // dead letters
			}
			kinds = kinds[i : i+1]
		}
		for _, kind := range kinds {
			all = append(all, strings.NewReplacer("KIND", kind, "NAME", kind).Replace(s))
		}
	}
	return all
}

// A safeBuffer is written by loggers.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logs makes what is logged the return value, until the test ends.
func logs(t *testing.T) *safeBuffer {
	b, was := &safeBuffer{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() { slog.SetDefault(was) })
	return b
}

// TestLeast: with certificates of clients, credentials files and the permissions that the guide
// lists, all routes work, and no message is refused. A message that cannot be read goes to the dead
// letters. What is not listed is refused.
func TestLeast(t *testing.T) {
	said := logs(t)
	a, o := newAuthority(t), newOperator(t)
	s := o.serve(a)
	a.sign("client", false)
	dirs := [2]string{}
	for i := range dirs {
		var err error
		dirs[i], err = os.MkdirTemp("/dev/shm", "bridge-least-")
		check(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dirs[i]) })
	}
	routes := []string{"box:box", "topic:topic", "queue:queue", "map:map"}
	c := config{URL: strings.Replace(s.URL(), "nats://", "tls://", 1), CA: a.file("authority.pem"),
		Cert: a.file("client.pem"), Key: a.file("client-key.pem"), Out: routes, Dir: dirs[0]}
	ctx, stop := context.WithCancel(t.Context())
	c.Creds = o.user("admin", nil, nil)
	check(t, once(ctx, io.Discard, &c, true))
	admin, err := c.connect()
	check(t, err)
	defer admin.Close()

	c.NoSetup = true
	inbox := []string{"_INBOX_shmem.>"}
	out, in := c, c
	entries := documented(t, 2)
	out.Creds = o.user("out", append(documented(t, 1), entries...), inbox)
	in.Creds = o.user("in", append(documented(t, 3), entries[:len(entries)-1]...), inbox)
	in.Dir, in.Out, in.In = dirs[1], nil, routes
	done := make(chan error, 2)
	for _, c := range []config{out, in} {
		go func() { done <- serve(ctx, &c) }()
	}
	defer func() {
		stop()
		check(t, errors.Join(<-done, <-done))
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said)
		}
	})
	pass(t, dirs)
	js, err := jetstream.New(admin)
	check(t, err)
	_, err = js.Publish(ctx, "shmem.queue.queue", []byte("no frame"))
	check(t, err)
	until(t, "the dead letter", func() bool { // it is logged once it is stored
		st, err := js.Stream(ctx, "shmem_dead")
		return err == nil && st.CachedInfo().State.Msgs == 1 &&
			strings.Contains(said.String(), "dead letter")
	})
	if text := said.String(); strings.Contains(text, "iolation") ||
		strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "dead letter") {
		t.Errorf("warnings: %s", text)
	}
	refused(t, &out, said)
}

// pass checks that a value, messages and an entry come through.
func pass(t *testing.T, dirs [2]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	box, err := shmem.Open[reading]("box", &shmem.Options{Dir: dirs[0]})
	check(t, err)
	t.Cleanup(func() { _ = box.Close() })
	check(t, box.Store(ctx, reading{N: 7}))
	ticks, err := topic.Open[reading]("topic", &topic.Options{Dir: dirs[0]})
	check(t, err)
	t.Cleanup(func() { _ = ticks.Close() })
	check(t, ticks.Publish(ctx, reading{N: 7}))
	jobs, err := queue.Open[reading]("queue", &queue.Options{Dir: dirs[0]})
	check(t, err)
	t.Cleanup(func() { _ = jobs.Close() })
	check(t, jobs.Send(ctx, reading{N: 7}))
	m, err := kv.Open[int64, reading]("map", &kv.Options{Dir: dirs[0]})
	check(t, err)
	t.Cleanup(func() { _ = m.Close() })
	check(t, m.Set(ctx, 1, reading{N: 7}))

	toBox, err := shmem.AttachWait[reading](ctx, "box", &shmem.Options{Dir: dirs[1]})
	check(t, err)
	defer toBox.Close()
	until(t, "the value", func() bool { v, err := toBox.Load(ctx); return err == nil && v.N == 7 })
	toTicks, err := topic.AttachWait[reading](ctx, "topic", &topic.Options{Dir: dirs[1]})
	check(t, err)
	defer toTicks.Close()
	until(t, "a tick", func() bool { v, _, err := toTicks.Latest(); return err == nil && v.N == 7 })
	toJobs, err := queue.AttachWait[reading](ctx, "queue", &queue.Options{Dir: dirs[1]})
	check(t, err)
	defer toJobs.Close()
	if v, err := toJobs.Recv(ctx); err != nil || v.N != 7 {
		t.Error(v, err)
	}
	toMap, err := kv.AttachWait[int64, reading](ctx, "map", &kv.Options{Dir: dirs[1]})
	check(t, err)
	defer toMap.Close()
	until(t, "an entry", func() bool { v, _, err := toMap.Get(1); return err == nil && v.N == 7 })
}

// refused checks that a bridge that sends cannot write another route, and that a client without a
// certificate or credentials cannot connect.
func refused(t *testing.T, out *config, said *safeBuffer) {
	t.Helper()
	nc, err := out.connect()
	check(t, err)
	defer nc.Close()
	until(t, "connected", nc.IsConnected)
	check(t, nc.Publish("shmem.queue.two", nil))
	check(t, nc.Flush())
	until(t, "a refusal", func() bool {
		return strings.Contains(said.String(), `Permissions Violation for Publish to \"shmem.queue.two\"`)
	})
	bare, anonymous := *out, *out
	bare.Cert, bare.Key = "", ""
	anonymous.Creds = ""
	for what, c := range map[string]config{"certificate": bare, "credentials": anonymous} {
		nc, err := c.connect()
		check(t, err)
		until(t, "a reason", func() bool { return nc.LastError() != nil })
		if nc.IsConnected() {
			t.Errorf("connected without %s", what)
		}
		nc.Close()
	}
}
