//go:build !linux

package shmemtest

import "testing"

func nestedLinux(t *testing.T) {}
