package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The command line is parsed here, from the tags of the verbs' structs, and by no library: those that are
// good at it look up home directories with os/user, which links the program against the C library
// wherever there is a C compiler; it is to be static. Tags of fields:
//
//	help         what it is; ${default} stands for the default
//	arg          it has its place instead of a name; the last one may be a slice
//	optional     this place may be empty
//	name, short  the flag; default: the field's name in lower case, and no letter
//	default      its value where it is not given
//	env          the variable with which it can be given as well
//	enum         the values that it can have
//	placeholder  what the help shows for its value
//	xor          of those with the same word here one can be given
//	hidden       the help does not show it
//	cmd          of main's struct: it is a verb
//
// A verb's method Help has more to say.

type flag struct {
	name, short, help, placeholder, def, env, xor string
	enum                                          []string
	arg, optional, hidden, given                  bool
	v                                             reflect.Value
}

func (f *flag) isBool() bool  { return f.v.Kind() == reflect.Bool }
func (f *flag) isSlice() bool { return f.v.Kind() == reflect.Slice }

func (f *flag) set(text string) (err error) {
	if f.enum != nil && !slices.Contains(f.enum, text) {
		return fmt.Errorf("%s is one of %s, not %q", f.title(), strings.Join(f.enum, ", "), text)
	}
	need := ""
	switch p := f.v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = append(*p, text)
	case *bool:
		*p, err = strconv.ParseBool(text)
		need = "true or false"
	case *int:
		*p, err = strconv.Atoi(text)
		need = "a whole number"
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
		need = "a number"
	case *time.Duration:
		*p, err = time.ParseDuration(text)
		need = "a duration as 500ms or 2s"
	default:
		panic("a flag of type " + f.v.Type().String())
	}
	if err != nil {
		return fmt.Errorf("%s %s: %s is needed", f.title(), text, need)
	}
	return nil
}

func (f *flag) title() string {
	if f.arg {
		return "<" + f.name + ">"
	}
	return "--" + f.name
}

// flagsOf are the flags and arguments that a struct's fields are, with their defaults.
func flagsOf(s reflect.Value) (all []*flag) {
	for i := range s.NumField() {
		field := s.Type().Field(i)
		tag := field.Tag
		if _, verb := tag.Lookup("cmd"); verb || !field.IsExported() {
			continue
		}
		f := &flag{
			name: cmp.Or(tag.Get("name"), strings.ToLower(field.Name)), short: tag.Get("short"), placeholder: tag.Get("placeholder"),
			def: tag.Get("default"), env: tag.Get("env"), xor: tag.Get("xor"), v: s.Field(i),
		}
		f.help = strings.ReplaceAll(tag.Get("help"), "${default}", f.def)
		if e := tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		_, f.arg = tag.Lookup("arg")
		_, f.optional = tag.Lookup("optional")
		_, f.hidden = tag.Lookup("hidden")
		all = append(all, f)
	}
	return all
}

func setDefaults(all []*flag) error {
	for _, f := range all {
		def := f.def
		if v, ok := os.LookupEnv(f.env); ok && f.env != "" && v != "" {
			def = v
		}
		if def != "" {
			if err := f.set(def); err != nil {
				return err
			}
		}
	}
	return nil
}

type runner interface{ Run(*env) error }

type verb struct {
	name, help string
	run        runner
	flags      []*flag
}

type parser struct {
	global []*flag
	verbs  []*verb
}

func newParser(c *cli) *parser {
	s := reflect.ValueOf(c).Elem()
	p := &parser{global: flagsOf(s)}
	for i := range s.NumField() {
		tag := s.Type().Field(i).Tag
		if _, ok := tag.Lookup("cmd"); ok {
			p.verbs = append(p.verbs, &verb{
				strings.ToLower(s.Type().Field(i).Name), tag.Get("help"), s.Field(i).Addr().Interface().(runner), flagsOf(s.Field(i)),
			})
		}
	}
	return p
}

// Errors of parse that are answers.
var errHelp, errVersion = errors.New("help"), errors.New("version")

// parse finds the verb, which is ls where there is none, and sets its fields. The verb is also there
// beside errHelp.
func (p *parser) parse(args []string) (v *verb, err error) {
	if err := setDefaults(p.global); err != nil {
		return nil, err
	}
	var places []string
	begin := func(name string) error {
		i := slices.IndexFunc(p.verbs, func(v *verb) bool { return v.name == name })
		if i < 0 {
			return fmt.Errorf("there is no verb %q", name)
		}
		v = p.verbs[i]
		return setDefaults(v.flags)
	}
	find := func(match func(*flag) bool) *flag {
		all := p.global
		if v != nil {
			all = slices.Concat(v.flags, all)
		}
		if i := slices.IndexFunc(all, func(f *flag) bool { return !f.arg && match(f) }); i >= 0 {
			return all[i]
		}
		return nil
	}
	give := func(f *flag, value string) error {
		f.given = true
		return f.set(value)
	}
	help := false
	for only := false; len(args) > 0; {
		a := args[0]
		args = args[1:]
		switch {
		case a == "--" && !only:
			only = true
		case only || a == "-" || !strings.HasPrefix(a, "-"):
			if v == nil {
				err = begin(a)
			} else {
				places = append(places, a)
			}
		case a == "--help", a == "-h":
			help = true
		case a == "--version":
			return nil, errVersion
		case strings.HasPrefix(a, "--"):
			name, value, has := strings.Cut(a[2:], "=")
			f := find(func(f *flag) bool { return f.name == name })
			switch {
			case f == nil:
				err = fmt.Errorf("there is no flag --%s", name)
			case has:
				err = give(f, value)
			case f.isBool():
				err = give(f, "true")
			case len(args) == 0:
				err = fmt.Errorf("--%s: a value is needed", name)
			default:
				err = give(f, args[0])
				args = args[1:]
			}
		default:
			for rest := a[1:]; rest != "" && err == nil; {
				letter := rest[:1]
				rest = rest[1:]
				f := find(func(f *flag) bool { return f.short == letter })
				switch {
				case f == nil:
					err = fmt.Errorf("there is no flag -%s", letter)
				case f.isBool():
					err = give(f, "true")
				case rest != "":
					err = give(f, strings.TrimPrefix(rest, "="))
					rest = ""
				case len(args) == 0:
					err = fmt.Errorf("-%s: a value is needed", letter)
				default:
					err = give(f, args[0])
					args = args[1:]
				}
			}
		}
		if err != nil && !help {
			return nil, err
		}
	}
	if help {
		return v, errHelp
	}
	if v == nil {
		if err := begin("ls"); err != nil {
			return nil, err
		}
	}
	return v, v.fill(places)
}

// fill gives the arguments their places.
func (v *verb) fill(places []string) error {
	given := map[string]*flag{}
	for _, f := range v.flags {
		switch {
		case !f.arg:
			if g := given[f.xor]; g != nil && f.given {
				return fmt.Errorf("%s and %s cannot both be given", g.title(), f.title())
			}
			if f.xor != "" && f.given {
				given[f.xor] = f
			}
			continue
		case len(places) == 0 && !f.optional:
			return fmt.Errorf("%s: %s is needed", v.name, f.title())
		case len(places) == 0:
			continue
		}
		n := 1
		if f.isSlice() {
			n = len(places)
		}
		for _, a := range places[:n] {
			if err := f.set(a); err != nil {
				return err
			}
		}
		places = places[n:]
	}
	if len(places) > 0 {
		return fmt.Errorf("%s: there is no place for %q", v.name, places[0])
	}
	return nil
}

// help shows what there is, or what a verb does.
func (p *parser) help(v *verb, columns int) string {
	columns = min(max(columns, 40), 100)
	var b strings.Builder
	if v == nil {
		fmt.Fprintf(&b, "Usage: shmem <verb> [flags]\n\n%s", prose(help+"\n\n"+exitCodes, columns))
	} else {
		fmt.Fprintf(&b, "Usage: shmem %s", v.name)
		for _, f := range v.flags {
			if !f.arg {
				continue
			}
			t := f.title()
			if f.isSlice() {
				t += " ..."
			}
			if f.optional {
				t = "[" + t + "]"
			}
			b.WriteString(" " + t)
		}
		fmt.Fprintf(&b, " [flags]\n\n%s", prose(v.help, columns))
		if h, ok := v.run.(interface{ Help() string }); ok {
			b.WriteString("\n" + prose(h.Help(), columns))
		}
	}
	section := func(title string, rows [][2]string) {
		if len(rows) == 0 {
			return
		}
		n := 0
		for _, r := range rows {
			n = max(n, min(width(r[0]), 24))
		}
		fmt.Fprintf(&b, "\n%s:\n", title)
		for _, r := range rows {
			label := r[0]
			if width(label) > n {
				fmt.Fprintf(&b, "  %s\n", label)
				label = ""
			}
			for _, l := range fold(r[1], columns-n-4) {
				fmt.Fprintf(&b, "  %s  %s\n", pad(label, n), l)
				label = ""
			}
		}
	}
	rows := func(all []*flag, args bool) (r [][2]string) {
		for _, f := range all {
			switch {
			case f.arg != args || f.hidden:
			case args:
				r = append(r, [2]string{f.title(), f.help})
			default:
				l, h := "    --"+f.name, f.help
				if f.short != "" {
					l = "-" + f.short + ", --" + f.name
				}
				if !f.isBool() {
					l += "=" + cmp.Or(f.placeholder, strings.ToUpper(f.name))
				}
				if f.env != "" {
					h += " ($" + f.env + ")"
				}
				r = append(r, [2]string{l, h})
			}
		}
		return r
	}
	if v == nil {
		var all [][2]string
		for _, v := range p.verbs {
			all = append(all, [2]string{v.name, v.help})
		}
		section("Verbs", all)
	} else {
		section("Arguments", rows(v.flags, true))
		section("Flags", rows(v.flags, false))
	}
	section("Flags of all verbs", append(rows(p.global, false), [2]string{"-h, --help", "Show this, or what a verb does."}, [2]string{"    --version", "Show the version."}))
	if v == nil {
		b.WriteString("\n\"shmem <verb> --help\" says more. Without a verb it is ls.\n")
	}
	return b.String()
}

// prose folds text, but for lines that are indented.
func prose(text string, columns int) string {
	var b strings.Builder
	var words []string
	flush := func() {
		if len(words) > 0 {
			b.WriteString(strings.Join(fold(strings.Join(words, " "), columns), "\n") + "\n")
		}
		words = nil
	}
	for _, l := range strings.Split(text, "\n") {
		if l != "" && l[0] != ' ' {
			words = append(words, l)
			continue
		}
		flush()
		b.WriteString(l + "\n")
	}
	flush()
	return b.String()
}
