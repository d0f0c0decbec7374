//go:build race

package shmem_test

// raced: everything takes some ten times as long.
const raced = true
