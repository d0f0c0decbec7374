//go:build linux && (amd64 || arm64)

package replay

import (
	"testing"
)

// Every flaw can be planted: its text is there.
func TestFlawsApply(t *testing.T) {
	for _, f := range Flaws() {
		if _, err := f.Apply("../.."); err != nil {
			t.Error(err)
		}
	}
}
