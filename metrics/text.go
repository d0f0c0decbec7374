package metrics

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ContentType is the type of what WriteText writes, for the header of a response.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteText scans and writes the samples in the text format of Prometheus. It writes nothing if the
// scan fails. The error is that of Scan or of w.
func (s *Scanner) WriteText(w io.Writer) error {
	samples, err := s.Scan()
	if err != nil {
		return err
	}
	return WriteText(w, samples)
}

// WriteText writes samples, which are in the order of Table, in the text format of Prometheus. The
// error is that of w.
func WriteText(w io.Writer, samples []Sample) error {
	const room = 32 << 10
	b := make([]byte, 0, room)
	var last *Metric
	for _, s := range samples {
		m := s.Metric
		if m != last {
			b = append(b, "# HELP "+m.Name+" "+helpEscapes.Replace(m.Help)+"\n"...)
			b = append(b, "# TYPE "+m.Name+" "+m.Type.String()+"\n"...)
			last = m
		}
		b = append(b, m.Name...)
		for i, name := range m.Labels {
			b = append(b, "{,"[min(i, 1)])
			b = append(b, name+`="`+labelEscapes.Replace(s.Labels[i])+`"`...)
		}
		if len(m.Labels) > 0 {
			b = append(b, '}')
		}
		b = append(b, ' ')
		b = append(strconv.AppendFloat(b, s.Value, 'g', -1, 64), '\n')
		if len(b) > room/2 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(b)
	return err
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// label returns a text from a segment as the value of a label: what is not printable, and the
// backslash, are escaped as Go does. Different texts stay different: else a hostile name could make
// two equal time series, which Prometheus refuses with all others.
func label(s string) string {
	plain := true
	for i, r := range s {
		if !strconv.IsPrint(r) || r == '\\' || r == utf8.RuneError && !isRuneError(s[i:]) {
			plain = false
			break
		}
	}
	if !plain {
		var b strings.Builder
		for len(s) > 0 {
			_, n := utf8.DecodeRuneInString(s)
			q := strconv.Quote(s[:n])
			if q = q[1 : len(q)-1]; q == `\"` {
				q = `"`
			}
			b.WriteString(q)
			s = s[n:]
		}
		s = b.String()
	}
	return s
}

// cut returns at most n bytes of a label, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// isRuneError reports whether s begins with U+FFFD itself, and not with bytes that are no UTF-8.
func isRuneError(s string) bool { return strings.HasPrefix(s, string(utf8.RuneError)) }
