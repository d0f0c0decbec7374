package gen

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// A schema may be of any program, so a name in it may be any printable text. Generated code has
// identifiers only that spell or a namer made: ASCII letters, digits, underscores and the letters
// of safe, never a word of the language, never a name of the runtime, and each once in its scope.

// safe reports whether a letter that is not ASCII stays as it is. All are letters of identifiers in
// C, C++, Python, Rust and Go, none changes when Python or Rust normalises it, and none looks like
// an ASCII letter.
func safe(r rune) bool {
	switch {
	case r == 0x131, r == 0x132, r == 0x133, r == 0x13f, r == 0x140, r == 0x149, r == 0x17f:
		return false // no NFKC, or a dotless i
	case r >= 0xc0 && r <= 0x17f: // Latin with marks
		return unicode.IsLetter(r)
	}
	return r >= 0x3041 && r <= 0x3096 || r >= 0x30a1 && r <= 0x30fa || // kana
		r >= 0x4e00 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3 // Han, Hangul
}

// spell makes an identifier of any text: what cannot stay becomes uXXXX, its code point. An
// identifier that begins with an underscore means something to Python and C; x stands before it.
func spell(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r < 128 && (r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)), safe(r):
			if i == 0 && (r == '_' || unicode.IsDigit(r)) {
				b.WriteByte('x')
			}
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "u%04x", r)
		}
	}
	return b.String()
}

// spellType makes an identifier of the name of a Go type: main.Pair[int,main.T] becomes
// Pair_int_T. It returns "" for a type without a name.
func spellType(name string) string {
	base, args, generic := strings.Cut(name, "[")
	parts := []string{base}
	if generic {
		parts = append(parts, strings.FieldsFunc(args,
			func(r rune) bool { return r == ',' || r == ']' || r == '[' })...)
	}
	for i, p := range parts {
		parts[i] = spell(p[strings.LastIndexByte(p, '.')+1:])
	}
	return strings.Join(parts, "_")
}

// A namer gives out the names of one scope.
type namer struct {
	taken map[string]bool
	next  map[string]int // the number to try next, by name
}

func newNamer() *namer { return &namer{map[string]bool{}, map[string]int{}} }

// name returns an identifier that is like want, not reserved, and not given out before. It depends
// on the names before it only: a field that is appended to a type changes no other name.
func (n *namer) name(want string, reserved func(string) bool) string {
	if reserved(want) {
		if want += "_"; reserved(want) {
			want = "x" + want
		}
	}
	name := want
	for n.taken[name] || reserved(name) {
		n.next[want]++
		name = strings.TrimRight(want, "_") + "_" + strconv.Itoa(n.next[want]+1)
		if reserved(name) {
			name = "x" + name
		}
	}
	n.taken[name] = true
	return name
}

// words are those that cannot name a field in C, C++, Rust or Python. A field has the same name in
// all of them.
var words = set(`
	auto break case char const continue default do double else enum extern float for goto if
	inline int long register restrict
	return short signed sizeof static struct switch typedef union unsigned void volatile while
	bool true false NULL asm typeof errno unix linux i386 offsetof
	alignas alignof and and_eq bitand bitor catch char8_t char16_t char32_t class co_await
	co_return co_yield compl concept consteval constexpr constinit const_cast decltype delete
	dynamic_cast explicit export friend mutable namespace new noexcept not not_eq nullptr operator
	or or_eq private protected public reinterpret_cast requires static_assert static_cast template
	this thread_local throw try typeid typename using virtual wchar_t xor xor_eq
	as async await crate dyn fn impl in let loop match mod move mut pub ref self Self super
	trait type unsafe use where abstract become box final macro override priv unsized yield gen
	False None True assert def del elif except from global import is lambda nonlocal pass raise
	with
	int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t
	from_buffer from_buffer_copy from_address from_param in_dll mro`)

// libc has the names of C's headers: macros, and after an empty line what else is declared there.
//
//go:embed libc.txt
var libc string

// libcNames returns the macros among them that are in none of the families of macro, and what else
// is declared. Most commands of cmd/shmem need neither.
var libcNames = sync.OnceValues(func() (macros, declared map[string]bool) {
	names := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(libc, "")
	first, second, _ := strings.Cut(names, "\n\n")
	return set(first), set(second)
})

// isMacro reports whether a name is that of a macro in one of the families.
func isMacro(name string) bool { return macro().MatchString(name) }

// macroFamilies are the families, as a regular expression.
var macroFamilies = `^(` + strings.Join([]string{
	`E[A-Z0-9]+`, // errors
	`(ADJ|AF|AT|BC|BUS|CHAR|CLD|CLOCK|CLONE|CMSG|CPU|DN|DT|F|FALLOC|FD|FP|FPE|HUGE|ILL|IN|IN6` +
		`|INADDR|IOC|IP|IPPROTO|IPV6|ITIMER|L|LC|LOCK|M|MADV|MAP|MAX|MCAST|MCL|MFD|MOD|MREMAP|MS` +
		`|MSG|N|NL|O|PF|POLL|POSIX|PROT|PTHREAD|REG|RENAME|RWH|S|SA|SCHED|SCM|SEEK|SEGV|SHUT|SI` +
		`|SIG|SIGEV|SO|SOCK|SOL|SPLICE|STA|STATX|SYNC|SYS|TIOCM|TIOCPKT|TRAP|TTYDEF|W|XATTR)` +
		`_[A-Za-z0-9_]*[A-Za-z0-9]`,
	`(pthread|s6|si|st|va)_[a-z0-9_]*[a-z0-9]`,
	`[A-Z0-9_]+_(MAX|MIN|BIT|WIDTH|C)`,
	`(PRI|SCN)[diouxX][A-Z0-9]+`, `(SIG|SIOC|SIOG|TIOC|TC[GSX]|POLL|FIO)[A-Z0-9_]*[A-Z0-9]`,
}, "|") + `)$`

var macro = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(macroFamilies) })

// reservedField reports whether a name cannot be that of a field.
func reservedField(name string) bool {
	macros, _ := libcNames()
	return words[name] || macros[name] || isMacro(name) ||
		strings.HasPrefix(name, "shmembox_") || strings.HasPrefix(name, "SHMEMBOX_")
}

func set(text string) map[string]bool {
	s := map[string]bool{}
	for _, w := range strings.Fields(text) {
		s[w] = true
	}
	return s
}

// tokens are the identifiers in a program, without comments, texts and fields.
func tokens(program string, text *regexp.Regexp) map[string]bool {
	s := map[string]bool{}
	for _, w := range identifier.FindAllString(text.ReplaceAllString(program, " "), -1) {
		if w[0] != '.' {
			s[w] = true
		}
	}
	return s
}

var (
	identifier = regexp.MustCompile(`\.?[A-Za-z_][A-Za-z0-9_]*`)
	cText      = regexp.MustCompile(`(?s)/\*.*?\*/|"[^"\n]*"`)
	pyText     = regexp.MustCompile(`(?s)""".*?"""|"[^"\n]*"|#[^\n]*`)
)

// comment returns what can be in a comment of any language, and in a string: no quotes, no
// backslash, nothing that ends or begins a comment, no line ends.
func comment(s string) string {
	if s == "" {
		return "unnamed"
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '"', r == '\'', r == '`', r == '\\', r == '$', r == '{', r == '}', r == '#':
			return '?'
		case r >= ' ' && r < 127, safe(r):
			return r
		}
		return '?'
	}, s)
	for _, pair := range []string{"*/", "/*", "//", "??"} {
		for strings.Contains(s, pair) {
			s = strings.ReplaceAll(s, pair, pair[:1]+" "+pair[1:])
		}
	}
	return s
}
