//go:build race

package lifecycle_test

// raced: everything takes some ten times as long.
const raced = true
