//go:build race

package shmem_test

// raced says that this is a race build, in which everything takes about ten times as long.
const raced = true
