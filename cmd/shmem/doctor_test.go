package main

import (
	"io/fs"
	"testing"
)

func TestLsMode(t *testing.T) {
	for m, want := range map[fs.FileMode]string{
		fs.ModeDir | fs.ModeSticky | 0o777: "drwxrwxrwt",
		fs.ModeDir | fs.ModeSticky | 0o770: "drwxrwx--T",
		fs.ModeDir | 0o755:                 "drwxr-xr-x",
	} {
		if got := lsMode(m); got != want {
			t.Errorf("%v: %s, want %s", m, got, want)
		}
	}
}
