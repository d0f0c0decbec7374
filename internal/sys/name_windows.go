package sys

import (
	"path/filepath"
	"strings"
)

func NameProblem(name string) string {
	switch {
	case strings.HasSuffix(name, "."):
		return "Windows drops the dot at its end; choose another name"
	case !filepath.IsLocal(name):
		return "it is a device of Windows, as CON and NUL are; choose another name"
	}
	return ""
}
