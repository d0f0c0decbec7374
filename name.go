package shmem

import (
	"fmt"
	"path/filepath"
	"strings"
)

// MaxName is the longest name of a segment, in bytes. A name that is to work on macOS one day
// has at most 30.
const MaxName = 200

// tempPrefix begins the names of files that are being made where nameless files cannot be had.
const tempPrefix = ".shmem-"

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrBadName, len(name), MaxName)
	case name[0] == '.':
		return fmt.Errorf("%w: it begins with a dot", ErrBadName)
	}
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		case c == '/':
			return fmt.Errorf("%w: it has a slash at byte %d; a directory is set by Options.Dir, and a path can be given with Options.Foreign", ErrBadName, i)
		default:
			return fmt.Errorf("%w: byte %d is %q; a name is made of letters, digits, dot, underscore and hyphen", ErrBadName, i, c)
		}
	}
	return nil
}

// locate is the path of a segment. That of a foreign one may be any path.
func locate(name string, o *Options) (string, error) {
	if o.Foreign && strings.Contains(name, "/") {
		return name, nil
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return filepath.Join(o.Dir, name), nil
}
