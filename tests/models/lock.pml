/*
 * The robust lock word: Lock, Unlock, Recover, with kills at any step and slots that are reused.
 *
 * The word is 0 (free), DEAD, or the id (slot, generation) of the holder, with the waiters bit W.
 * Slot i belongs to process i. A killed process may be followed by a newcomer, which takes the
 * same slot with generation + 1, and locks or stays idle for ever.
 * A waiter sleeps on the value of the word that it loaded. wait.pml proves the sleeping; here it is
 * one atomic step. A wake-up is one step for each sleeper, so that a waker may die in between.
 *
 * The backstop is the timed check of a sleeper. It is enabled only in two cases:
 *   - the word still names the holder that the sleeper saw (in the box's lock: any holder), and that
 *     holder is dead: a death wakes no sleeper;
 *   - the word differs, and a waker was killed before its last wake-up.
 * In every other case a waker must wake the sleeper: one that is never woken is an invalid end state.
 *
 * Properties: mutual exclusion; no live process that wants the lock is stuck; no Lock succeeds after
 * a death in the critical section that is not repaired.
 *
 * With -DBOX: the box's own lock, which takes over the lock of a dead holder and repairs, without DEAD.
 *
 * Broken variants: NO_GEN, NO_BACKSTOP, WAKE_FIRST, NO_WAKE, TWO_STEPS, BLIND_DEAD,
 * TAKE_DEAD, DEAD_IS_FREE, RECOVER_STORES, NO_WAKE_DEAD, FAIL_IS_FREE, FAIL_NO_WAKE;
 * with BOX: BOX_DROPS_W; for the search for livelocks: NO_PROBE.
 */
#ifndef PROCS
#define PROCS 3
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1            /* locks of each process, before it ends */
#endif

#define FREE 0
#define DEAD 1
#define W 128
#define ID(s, g) (2 + ((g) - 1) * PROCS + (s))
#define OWNER(c) ((c) & 127)
#define SLOT(c) ((OWNER(c) - 2) % PROCS)
#define GEN(c) ((OWNER(c) - 2) / PROCS + 1)

byte word;
byte gen[PROCS];
bool held[PROCS];              /* the slot's lock byte; the kernel frees it when the process ends */
bool asleep[PROCS];

bool killed[PROCS], up[PROCS];
byte kills;

/* ghosts */
byte inside;                /* processes in the critical section */
bool incs[PROCS];
bool dirty;                 /* a holder died and no process has repaired yet */
bool waking[PROCS];            /* between the change of the word and the last wake-up */
bool lostwaker;             /* a process was killed there */

#define isdead(c) (OWNER(c) > DEAD && (!held[SLOT(c)] || gen[SLOT(c)] != GEN(c)))
#ifdef NO_GEN
#define looksdead(c) (OWNER(c) > DEAD && !held[SLOT(c)])
#else
#define looksdead(c) isdead(c)
#endif

#ifdef NO_BACKSTOP
#define backstop(c) false
#elif defined(BOX)
#define backstop(c) (looksdead(word) || (word != c && lostwaker))
#else
#define backstop(c) ((word == c && looksdead(c)) || (word != c && lostwaker))
#endif

inline enter() { inside++; incs[me] = true; assert(inside == 1) }
inline leave() { inside--; incs[me] = false }

inline wakeall() {
	for (i : 0 .. PROCS - 1) { asleep[i] = false }         /* wake: ring */
	i = 0;
	waking[me] = false
}

proctype P(byte me) {
	byte c, id, i, n;
attach:
	{
		atomic { up[me] = true; held[me] = true };      /* the slot's byte first, */
		atomic { gen[me]++; id = ID(me, gen[me]); n = ROUNDS };  /* then the generation */
		if
		:: gen[me] > 1 -> goto idle                     /* a newcomer that never locks */
		:: goto next
		fi;
idle:
end_idle:
		false;
next:
		if
		:: n == 0 -> goto finish
		:: else -> n--
		fi;

lock:
#ifdef TWO_STEPS
		/* locked first, the owner's name after that (127, the name of no process, counts as alive) */
		atomic {
			if
			:: word == FREE -> word = 127; enter()
			:: else -> goto look
			fi
		};
		atomic { word = id | (word & W); goto critical };
#else
		atomic {                                        /* lock: CAS(0, me) */
			if
			:: word == FREE -> word = id; enter(); assert(!dirty); goto critical
			:: else
			fi
		};
#endif
look:
		atomic {                                        /* lock: load */
			c = word;
			if
			:: c == FREE -> c = 0; goto lock
			:: c == DEAD ->
#ifdef DEAD_IS_FREE
				word = id; enter(); assert(!dirty); c = 0; goto critical
#else
				c = 0; goto died
#endif
			:: else
			fi
		};
#ifdef TWO_STEPS
		if
		:: OWNER(c) == 127 -> goto setw
		:: else
		fi;
#endif
		/* is the owner alive? the generation, then the lock byte */
#ifdef NO_PROBE
		goto setw;
#endif
#ifndef NO_GEN
		if
		:: gen[SLOT(c)] != GEN(c) -> goto gone
		:: else
		fi;
#endif
		if
		:: !held[SLOT(c)] -> goto gone
		:: else
		fi;
setw:
		atomic {                                        /* lock: CAS(c, c|W) */
			if
			:: word != c -> c = 0; goto lock
			:: else -> word = c | W; c = c | W
			fi
		};
		atomic {                                        /* lock: sleep on c */
			if
			:: word != c -> c = 0; goto lock
			:: else -> asleep[me] = true
			fi
		};
		atomic {
			if
			:: !asleep[me]
			:: backstop(c) -> asleep[me] = false        /* the timed check */
			fi;
			c = 0;
			goto lock
		};

gone:
#ifdef BOX
		atomic {                                        /* box: CAS(dead, me|W), recover */
			if
			:: word != c -> c = 0; goto lock
			:: else ->
#ifdef BOX_DROPS_W
				word = id;
#else
				word = id | (c & W);
#endif
				c = 0;
				enter()
			fi
		};
		dirty = false;
		goto critical;
#else
		atomic {                                        /* lock: CAS(c, DEAD) */
			if
#ifndef BLIND_DEAD
			:: word != c -> c = 0; goto lock
#endif
			:: else ->
#ifdef TAKE_DEAD
				word = id | (c & W); c = 0; enter(); assert(!dirty); goto critical
#else
				word = DEAD;
				if
				:: (c & W) -> waking[me] = true
				:: else -> c = 0; goto died
				fi
#endif
			fi;
			c = 0
		};
#ifdef NO_WAKE_DEAD
		waking[me] = false;
#else
		wakeall();                                      /* lock: wake all */
#endif
#endif

died:   /* ErrOwnerDied */
progress_died:
		if
		:: goto finish
		:: goto recover
		fi;

recover:
#ifdef RECOVER_STORES
		atomic {
			c = word;
			if
			:: c != DEAD -> c = 0; goto next
			:: else -> c = 0
			fi
		};
		atomic { word = id; enter() };
#else
		atomic {                                        /* recover: CAS(DEAD, me) */
			if
			:: word == DEAD -> word = id; enter()
			:: else -> goto again                       /* not dead: nil */
			fi
		};
#endif
		if
		:: dirty = false                                /* recover: repair */
		:: goto failed                                  /* recover: repair returned an error */
		fi;
		goto unlock;
again:  n++;
		goto next;

failed:
		atomic {                                        /* recover: CAS(me, DEAD) */
			assert(OWNER(word) == id);
			c = word;
			leave();
#ifdef FAIL_IS_FREE
			word = FREE;
#else
			word = DEAD;
#endif
			if
			:: (c & W) -> waking[me] = true; c = 0
			:: else -> c = 0; goto finish
			fi
		};
#ifdef FAIL_NO_WAKE
		waking[me] = false;
#else
		wakeall();                                      /* recover: wake all */
#endif
		goto finish;

critical:
progress_in:
		skip;                                           /* a death here is ErrOwnerDied */
unlock:
#ifdef WAKE_FIRST
		wakeall();
#endif
		atomic {                                        /* unlock: CAS(me, 0) */
			if
			:: word == id -> leave(); word = FREE; goto next
			:: else
			fi
		};
		atomic {                                        /* unlock: CAS(me|W, 0) */
			assert(word == (id | W));
			leave();
			word = FREE;
			waking[me] = true
		};
#if defined(WAKE_FIRST) || defined(NO_WAKE)
		waking[me] = false;
#else
		wakeall();                                      /* unlock: wake all */
#endif
		goto next;
finish:
progress_end:
		atomic { up[me] = false };
		goto over
	} unless { killed[me] };

	/* dead; Killer has freed the slot's byte */
	atomic { c = 0; id = 0; i = 0; n = 0; killed[me] = false };
	if
	:: goto attach                                      /* a newcomer in the same slot */
	:: goto over
	fi;
over:
	atomic { c = 0; id = 0; i = 0; n = 0 }
}

inline kill(k) {
	d_step {
		up[k] = false; held[k] = false; killed[k] = true; asleep[k] = false; kills++;
		if
		:: incs[k] -> incs[k] = false; inside--; dirty = true
		:: else
		fi;
		if
		:: waking[k] -> waking[k] = false; lostwaker = true
		:: else
		fi
	}
}

proctype Killer() {
end:
	do
	:: atomic { kills < KILLS && up[0] -> kill(0) }
	:: atomic { kills < KILLS && up[1] -> kill(1) }
#if PROCS > 2
	:: atomic { kills < KILLS && up[2] -> kill(2) }
#endif
	od
}

init {
	byte j;
	atomic {
		for (j : 0 .. PROCS - 1) { run P(j) }
		j = 0;
		run Killer()
	}
}
