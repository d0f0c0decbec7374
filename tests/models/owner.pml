/*
 * The watch of the owner: a lock whose sleepers are told of the death of any process that owns it,
 * though the owner changes while they sleep.
 *
 * A sleeper watches the process that it has seen own the lock last. A process that frees the lock wakes
 * one sleeper by a baton, and watches that one. The kernel tells each process that watches of the death,
 * at any later moment. The first process that is told retires the slot of the dead one, and rings all;
 * each one looks itself at what it waits for. A process that closes its attachment stops to watch, and
 * rings all if it has woken others; one that frees the lock while it closes wakes all.
 *
 * Each of PROCS processes has one goroutine that locks once, in an attachment of its own; process 0 owns
 * the lock at first. The word names the owner, with the waiters bit W. With PASSER a further process sets
 * W at any moment: it came to wait, gave up and closed. With CLOSE process 0 closes its attachment, before
 * it frees the lock or after it. With DIES only that process dies. one.pml has the batons, lock.pml the
 * word with slots that are used again. Armed words are left out: a waker sees each interest.
 *
 * Property: no live process sleeps for ever, with no timed check at all, if at most one process dies.
 *
 * Broken variants, caught with DIES=1: NO_WATCH (the waker does not watch the one that it wakes), RING_NONE
 * (the one that is told rings none), SEES_ONCE (a sleeper that is rung and cannot go on keeps to the owner
 * that it has seen first), WATCH_BLIND (a death before the watch begins is not noticed); and with CLOSE:
 * CLOSE_QUIET, ALONE_QUIET (a process that closes rings none).
 *
 * DEAD_QUIET (the one that finds the holder dead wakes none) breaks nothing here, whichever process dies: each
 * sleeper is told of the death itself. In lock.pml, where none is told, it is NO_WAKE_DEAD, and breaks.
 */
#ifndef PROCS
#define PROCS 3
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define NONE 255
#define FREE 0
#define DEAD 100
#define NAME(p) (1 + p)

/* shared memory */
byte word = NAME(0);
bool W;
bool interest[PROCS], pending[PROCS], rung[PROCS], baton[PROCS], retired[PROCS];

/* of the processes */
bool dead[PROCS], closed[PROCS], probe[PROCS];
byte saw[PROCS] = NONE;
bool watches[PROCS * PROCS];    /* me * PROCS + the other one */
byte kills;

#define ready (word == FREE || word == DEAD || !W)
#define ownerDead (word != FREE && word != DEAD && dead[word - 1])

/* ring all that wait: one step, since of the processes that ring all at once any may die */
inline ringAll() {
	d_step {
		for (e : 0 .. PROCS - 1) {
			if
			:: interest[e] -> pending[e] = true; rung[e] = true
			:: else
			fi
		}
		e = 0
	}
}

/* process me has been told of the death of x */
inline report(me, x) {
	d_step {
		first = !retired[x]; retired[x] = true; baton[x] = false;       /* owner: retire */
		for (e : 0 .. PROCS - 1) {
			if
#ifndef RING_NONE
			:: first && interest[e] -> pending[e] = true; rung[e] = true /* owner: ring all */
#endif
			:: else
			fi
		}
		e = 0; first = false;
		if
		:: saw[me] == x || word == NAME(x) -> probe[me] = true; rung[me] = true
		:: else
		fi
	}
}

/* process me begins to watch x */
inline watch(me, x) {
	atomic {
		if
		:: closed[me]
		:: !closed[me] && dead[x] ->
#ifndef WATCH_BLIND
			report(me, x)                               /* owner: found dead */
#else
			skip
#endif
		:: !closed[me] && !dead[x] -> watches[me * PROCS + x] = true
		fi
	}
}

inline close(me) {
	d_step {                                            /* owner: close */
		closed[me] = true;
		for (i : 0 .. PROCS - 1) { watches[me * PROCS + i] = false }
		i = 0
	};
#ifndef CLOSE_QUIET
	if
	:: gave -> ringAll()                                /* owner: ring all that were left to its watch */
	:: else
	fi
#endif
}

/* wake one, from behind me on */
inline wakeOne(me) {
	d = 1;
	do
	:: d == PROCS || counted -> break
	:: else ->
		x = (me + d) % PROCS; d++;
		if
		:: !interest[x]
		:: else ->
			atomic {
				if
				:: retired[x] -> k = 3
				:: !retired[x] && baton[x] -> k = 2
				:: else -> baton[x] = true; k = 1
				fi
			};
			if
			:: k == 1 ->
				rung[x] = true;
				if
				:: interest[x] || !baton[x] -> counted = true
				:: else
				fi
			:: k == 2 -> busy = true; rung[x] = true
			:: k == 3 -> atomic { pending[x] = true; rung[x] = true }
			fi;
			gave = true;
#ifndef NO_WATCH
			watch(me, x);                               /* owner: watch the one that is woken */
#endif
			alone = alone || closed[me];
			k = 0
		fi
	od;
#ifdef ALONE_QUIET
	alone = false;
#endif
	if
	:: !counted && busy || alone -> ringAll()              /* owner: not watched */
	:: else
	fi;
	d_step { d = 0; x = 0; counted = false; busy = false; alone = false }
}

proctype P(byte me) {
	byte e, i, d, x, k, c;
	bool first, counted, busy, alone, gave, waited, looks;
	{
		if
		:: me == 0 -> goto critical                     /* it owns the lock at first */
		:: else
		fi;
lock:
		atomic {
			if
			:: word == FREE -> word = NAME(me); W = W || waited; goto critical
			:: word == DEAD -> goto finish                  /* ErrOwnerDied */
			:: else -> c = word - 1
			fi
		};
		if
		:: dead[c] -> goto mark
		:: else
		fi;
		atomic {
			if
			:: word == NAME(c) -> W = true; c = 0; interest[me] = true
			:: else -> c = 0; goto lock
			fi
		};
look:
		atomic {                                        /* owner: look */
			if
			:: ready -> goto leave
			:: else
			fi;
			if
			:: saw[me] == word - 1 || word == NAME(me) -> goto park
#ifdef SEES_ONCE
			:: saw[me] != NONE && saw[me] != word - 1 -> goto park
#else
			:: saw[me] != NONE && saw[me] != word - 1 -> saw[me] = word - 1; x = saw[me]
#endif
			:: saw[me] == NONE -> saw[me] = word - 1; x = saw[me]
			fi
		};
		watch(me, x);                                   /* owner: watch the owner */
		x = 0;
park:
		atomic {
			if
			:: rung[me]
#ifdef BACKSTOP
			:: kills > 0 && (ready || ownerDead) -> probe[me] = true
#endif
			fi;
			rung[me] = false; looks = probe[me] || pending[me]; probe[me] = false; pending[me] = false;
			if
			:: baton[me] && ready -> interest[me] = false
			:: else
			fi;
			baton[me] = false;
			if
			:: ready || looks && ownerDead -> looks = false; goto leave
			:: else -> looks = false; interest[me] = true; goto look
			fi
		};
leave:
		/* the baton that came meanwhile is for itself */
		atomic { interest[me] = false; saw[me] = NONE; waited = true; baton[me] = false; goto lock };

mark:
		atomic {                                        /* owner: mark dead */
			if
			:: word == NAME(c) -> word = DEAD; W = false; c = 0
			:: else -> c = 0; goto lock
			fi
		};
#ifndef DEAD_QUIET
		ringAll();
#endif
		goto finish;

critical:
		skip;                                           /* a death here is ErrOwnerDied */
#ifdef CLOSE
		if
		:: me == 0 -> close(me)
		:: true
		fi;
#endif
		atomic {
			assert(word == NAME(me));
			word = FREE;
			if
			:: W -> W = false
			:: else -> goto finish
			fi
		};
		wakeOne(me);
finish:
#ifdef CLOSE
		if
		:: me == 0 && !closed[me] -> close(me)
		:: else
		fi;
#endif
		skip
	} unless { dead[me] };
	d_step {
		e = 0; i = 0; d = 0; x = 0; k = 0; c = 0; saw[me] = NONE;
		first = false; counted = false; busy = false; alone = false; gave = false;
		waited = false; looks = false
	}
}

inline told(x) {
	atomic { watches[me * PROCS + x] && dead[x] -> watches[me * PROCS + x] = false; report(me, x) }
}

/* the goroutines of a process that the kernel tells of deaths */
proctype Watcher(byte me) {
	byte e;
	bool first;
	{
end:
		do
		:: told(0)
		:: told(1)
		:: told(2)
#if PROCS > 3
		:: told(3)
#endif
		od
	} unless { dead[me] };
	atomic { e = 0; first = false }
}

#ifdef DIES
#define mayDie(p) kills < KILLS && p == DIES && !dead[p]
#else
#define mayDie(p) kills < KILLS && !dead[p]
#endif

proctype Killer() {
end:
	do
	:: atomic { mayDie(0) -> dead[0] = true; kills++ }
	:: atomic { mayDie(1) -> dead[1] = true; kills++ }
	:: atomic { mayDie(2) -> dead[2] = true; kills++ }
#if PROCS > 3
	:: atomic { mayDie(3) -> dead[3] = true; kills++ }
#endif
	od
}

#ifdef PASSER
proctype Passer() {
end:
	atomic { word != FREE && word != DEAD && !W && !dead[word - 1] -> W = true }
}
#endif

init {
	byte j;
	atomic {
		for (j : 0 .. PROCS - 1) { run P(j); run Watcher(j) }
		j = 0;
		run Killer();
#ifdef PASSER
		run Passer()
#endif
	}
}
