package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
)

// MaxName is the longest name of a segment, in bytes.
const MaxName = 200

// tempPrefix begins the names of files in the making, on file systems without nameless files.
const tempPrefix = ".shmem-"

// checkName returns errs.BadName unless name can be the name of a segment. path says how the caller
// would name another directory.
func checkName(name, path string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", errs.BadName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", errs.BadName, len(name), MaxName)
	case name[0] == '.':
		return fmt.Errorf("%w: it begins with a dot", errs.BadName)
	}
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_',
			c == '-':
		case c == '/' && i == 0 && checkName(name[1:], path) == nil:
			return fmt.Errorf("%w: it begins with a slash; what is %q to shm_open is %q here",
				errs.BadName, name, name[1:])
		case c == '/':
			return fmt.Errorf("%w: it has a slash at byte %d; %s", errs.BadName, i, path)
		case c == utf8.RuneError:
			return fmt.Errorf("%w: it is no UTF-8 text at byte %d; "+
				"a name is made of letters, digits, dot, underscore and hyphen", errs.BadName, i)
		default:
			return fmt.Errorf("%w: it has %q at byte %d; "+
				"a name is made of letters, digits, dot, underscore and hyphen", errs.BadName, c, i)
		}
	}
	if why := sys.NameProblem(name); why != "" {
		return fmt.Errorf("%w: %s", errs.BadName, why)
	}
	return nil
}

// locate returns the path of a segment. The name of a foreign file may be any path. The path is
// absolute: the program may change its directory before it closes the segment.
func locate(name string, c *Config) (string, error) {
	if c.Foreign && isPath(name) {
		return filepath.Abs(name)
	}
	const remedy = "set the directory with Options.Dir, or name a path with Options.Foreign"
	if err := checkName(name, remedy); err != nil {
		return "", err
	}
	return join(c.Dir, name), nil
}

// isPath reports whether a name is that of a file anywhere.
func isPath(name string) bool {
	return strings.Contains(name, "/") || strings.ContainsRune(name, filepath.Separator)
}

// join is filepath.Join for an absolute directory, most often one that needs no cleaning.
func join(dir, name string) string {
	if filepath.Separator != '/' ||
		strings.HasSuffix(dir, "/") || strings.Contains(dir, "//") || strings.Contains(dir, "/.") {
		return filepath.Join(dir, name)
	}
	return dir + "/" + name
}

// gone reports whether an error of a path says that nothing is there. Any other error says that the
// path cannot be looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, sys.ErrNotDir)
}

// IsTemp reports whether name is a temporary one: that of a file in the making, or of one that a
// Remove without the gate was about to unlink. No segment is opened by it.
func IsTemp(name string) bool {
	id, ok := strings.CutPrefix(name, tempPrefix)
	return ok && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}
