// Package world runs several simulated processes in one test process, one step at a time.
//
// A simulated process is a set of threads; a thread is a coroutine. All code that the threads
// share with each other calls [Point] before each access. There the scheduler decides which thread
// goes on, and whether a fault happens first: a kill, a stop, a cancelled context, an error of the
// kernel. All decisions of a run come from one [Chooser], so a seed or a [Schedule] repeats it.
//
// Only one thread runs at any moment. The package therefore needs no locks of its own, and memory
// is sequentially consistent: what weak ordering can do is not simulated.
package world
