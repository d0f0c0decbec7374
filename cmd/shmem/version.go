package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/shmembox/shmem/internal/format"
)

// versionCmd says which version this is.
type versionCmd struct {
	JSON bool `name:"json" help:"JSON."`
}

func (*versionCmd) Help() string {
	return `The version of the module, the commit that it was built from, where the build knows it,
the version of the format of segments, of the JSON of this command, and of Go.`
}

// jsonForm is the version of the JSON of all commands; see docs/command.schema.json.
const jsonForm = 1

type jsonVersion struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "" if the build does not know it
	Modified bool   `json:"modified"`
	Time     string `json:"time"` // of the commit
	Format   int    `json:"format"`
	JSON     int    `json:"json"`
	Go       string `json:"go"`
	System   string `json:"system"`
}

// versionOf returns what a build knows of itself.
func versionOf(b *debug.BuildInfo, ok bool) jsonVersion {
	v := jsonVersion{Version: "(devel)", Format: format.Version, JSON: jsonForm,
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if !ok {
		return v
	}
	v.Version = cmp.Or(b.Main.Version, v.Version)
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (c *versionCmd) Run(e *env) error {
	v := versionOf(debug.ReadBuildInfo())
	if c.JSON {
		return e.json(v)
	}
	fmt.Fprintln(e.out, version())
	fmt.Fprintf(e.out, "format of segments %d, JSON %d, %s %s\n", v.Format, v.JSON, v.Go, v.System)
	return nil
}
