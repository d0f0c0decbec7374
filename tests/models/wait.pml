/*
 * Waiting on a word of shared memory: armed counter, interest, pending, bell, sleeping flag,
 * leader and followers.
 *
 * The word is like a lock: 1 is taken, 0 is free; it returns to its old value. Goroutines wait while
 * it is 1. Wakers take it (0 to 1) and release it (1 to 0, then Wake), several times; waker 0 holds it
 * at the start. There is one object, so one bucket and one bit of the masks. The object's
 * armed word is shared; each attachment has its own bell, sleeping, interest and pending.
 * A woken goroutine leaves as soon as it has seen 0 (TAKERS: it takes the word and releases it).
 *
 * Two counters are modelled by the result of their comparison. Both are assumed not to wrap around:
 *   rung[a]: the bell of a differs from what its leader read last;
 *   kept[w]: armed has not changed since waker w loaded it (with RESTART: the real counter).
 *
 * KILLS wakers die, at any step of their release and Wake. Without BACKSTOP a goroutine checks the
 * word only when it is woken. Property, at the end of every run: a goroutine sleeps on a free word
 * only if the waker of the word's last change was killed before the end of its Wake; with BACKSTOP
 * not even then. No goroutine is stuck anywhere else (invalid end states), so there is always a leader.
 *
 * CANCEL: one goroutine may give up at any moment while it sleeps.
 *
 * Broken variants: RESTART, CLEAR_FIRST (with a kill), LOOK_FIRST, NO_LOOK, ARM_FIRST,
 * BELL_LATE, SLEEP_FLAG_LATE, BELL_FIRST, KEEP_LEAD, LEAVE_DRAINED, PLAIN_CLEAR, FOLLOWER_LOOKS,
 * INTEREST_LATE, WAKE_FIRST, STRICT (with a kill and without BACKSTOP: then the backstop is missed).
 */
#ifndef GS
#define GS 2                /* goroutines */
#endif
#ifdef SPREAD
#define AS GS               /* attachments with waiters */
#define AT(g) (g)           /* the attachment of goroutine g */
#else
#define AS 1
#define AT(g) 0
#endif
#ifndef WAKERS
#define WAKERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2            /* releases of each waker, one in all for waker 0 */
#endif
#ifndef WAITS
#define WAITS 1             /* waits of each goroutine */
#endif
#ifndef KILLS
#define KILLS 0
#endif

/* shared memory */
bit word = 1;
bool armed;                 /* the low bit */
#ifdef RESTART
byte count;                 /* the broken counter: cleared to 0 */
#endif
bool interest[AS], pending[AS], rung[AS], sleeping[AS];
bool infutex[AS];           /* the kernel's: a goroutine is in FUTEX_WAIT on this bell */

/* of the process */
bool lead[AS] = true;       /* the token of the leader: a channel with room for one */
bool sig[GS];               /* a goroutine's channel with room for one */
bool reg[GS];               /* registered in the bucket (under the process's mutex) */

bool kept[WAKERS];
bool killed[WAKERS], up[WAKERS];
byte kills, done;

/* ghosts */
byte last = 255;            /* the waker that changed the word last, while its Wake is not done */

#ifdef RESTART
#define arm() count++
#else
inline arm() {              /* armed := (armed + 2) | 1, by CAS */
	d_step { armed = true; for (q : 0 .. WAKERS - 1) { kept[q] = false } q = 0 }
}
#endif

inline register() {
#if defined(ARM_FIRST)
	arm();
	d_step { reg[g] = true; interest[a] = true }
#else
	d_step { reg[g] = true; interest[a] = true };       /* wait: register, interest */
	arm()                                               /* wait: arm */
#endif
}

#if GS == 1
#define othersAt(a) false
#elif GS == 2
#define othersAt(a) (AT(1 - g) == a && reg[1 - g])
#else
#define othersAt(a) ((g != 0 && AT(0) == a && reg[0]) || (g != 1 && AT(1) == a && reg[1]) || (g != 2 && AT(2) == a && reg[2]))
#endif

inline unregister() {       /* under the process's mutex */
#ifdef INTEREST_LATE
	reg[g] = false;
	if
	:: !othersAt(a) -> interest[a] = false
	:: else
	fi
#else
	atomic {
		reg[g] = false;
		sig[g] = false;
		if
		:: !othersAt(a) -> interest[a] = false
		:: else
		fi
	}
#endif
}

/* the leader's scan of its fellows' words, after it has armed for them: here it is one word, checked once */
inline scan() {
	d_step {
		for (q : 0 .. GS - 1) {
			if
			:: q != g && AT(q) == a && reg[q] && word == 0 -> sig[q] = true
			:: else
			fi
		}
		q = 0
	}
}

/* wake(w): Wake by waker w */
inline wake() {
	d_step {                                            /* wake: load armed */
#ifdef RESTART
		c = count;
		any = (count > 0);
#else
		any = armed;
#endif
		kept[w] = true
	};
	if
	:: any ->
#ifdef CLEAR_FIRST
		clear();
#endif
		for (i : 0 .. AS - 1) {
			if
			:: interest[i] ->                           /* wake: interest */
#ifdef BELL_FIRST
				rung[i] = true;
				if
				:: sleeping[i] -> infutex[i] = false
				:: else
				fi;
				pending[i] = true
#else
				pending[i] = true;                      /* wake: pending */
				rung[i] = true;                         /* wake: bell */
				if
				:: sleeping[i] -> infutex[i] = false    /* wake: FUTEX_WAKE */
				:: else
				fi
#endif
			:: else
			fi
		}
		i = 0;
#ifndef CLEAR_FIRST
		clear()                                         /* wake: disarm */
#endif
	:: else
	fi
}

inline clear() {            /* CAS(armed, g, g &^ 1) */
	d_step {
#if defined(RESTART)
		if
		:: count == c -> count = 0
		:: else
		fi;
		c = 0
#elif defined(PLAIN_CLEAR)
		armed = false;
		for (q : 0 .. WAKERS - 1) { kept[q] = false }
		q = 0
#else
		if
		:: kept[w] && armed -> armed = false; for (q : 0 .. WAKERS - 1) { kept[q] = false } q = 0
		:: else
		fi
#endif
	}
}

proctype Waker(byte w) {
	byte n, i, q;
	bool any;
#ifdef RESTART
	byte c;
#endif
	{
		n = (w == 0 -> 1 : ROUNDS);
		do
		:: n == 0 -> break
		:: else ->
			n--;
			if
			:: w == 0
			:: w != 0 ->
end_take:       atomic { word == 0 -> word = 1; last = 255 }
			fi;
#ifdef WAKE_FIRST
			wake();
			atomic { word = 0; last = w };
#else
			atomic { word = 0; last = w; up[w] = true };    /* the change */
			wake();
#endif
			atomic {
				up[w] = false; kept[w] = false; any = false;
				if
				:: last == w -> last = 255
				:: else
				fi
			}
		od
	} unless { killed[w] };
	atomic { n = 0; i = 0; any = false; q = 0; kept[w] = false }
}

proctype Killer() {
end:
	do
	:: atomic { kills < KILLS && up[0] -> up[0] = false; killed[0] = true; kills++ }
	:: atomic { kills < KILLS && up[1] -> up[1] = false; killed[1] = true; kills++ }
#if WAKERS > 2
	:: atomic { kills < KILLS && up[2] -> up[2] = false; killed[2] = true; kills++ }
#endif
	od
}

#ifdef CANCEL
#define cancelled (g == 0)
#else
#define cancelled false
#endif

proctype Goroutine(byte g) {
	byte q, n;
	byte a;
	bool drained, cancel;
	a = AT(g);
	n = WAITS;
again:
#ifdef NO_LOOK
	if
	:: word == 0 -> goto leave
	:: else
	fi;
	register();
	goto park;
#else
	register();
#endif
look:
	if
	:: word == 0 -> goto leave                          /* wait: check */
	:: else
	fi;
park:
	/* a select of three channels */
end_park:
	atomic {
		if
		:: sig[g] -> sig[g] = false
		:: lead[a] -> lead[a] = false; goto leader
		:: cancelled -> goto leave
		fi
	};
	/* woken by the leader: arm again, then check */
#ifdef FOLLOWER_LOOKS
	goto look;
#endif
#ifdef LOOK_FIRST
	if
	:: word == 0 -> goto leave
	:: else
	fi;
	arm();
	goto park;
#else
	arm();
	goto look;
#endif

leader:
#ifdef BELL_LATE
	atomic { drained = pending[a]; pending[a] = false };
	rung[a] = false;
#else
	rung[a] = false;                                    /* lead: b = bell */
	d_step { drained = pending[a]; pending[a] = false };/* lead: drain */
#endif
	if
	:: drained ->
		drained = false;
#ifdef LEAVE_DRAINED
		if
		:: word == 0 -> goto pass
		:: else
		fi;
#endif
#ifdef LOOK_FIRST
		scan();
		if
		:: word == 0 -> goto pass
		:: else
		fi;
		arm()
#else
#ifndef FOLLOWER_LOOKS
		arm();                                          /* lead: arm again */
#endif
		scan();                                         /* lead: check for the fellows */
#endif
#ifdef NO_LOOK
		if
		:: word == 0 -> goto pass
		:: else
		fi
#endif
	:: else
	fi;
#if !defined(LOOK_FIRST) && !defined(NO_LOOK)
	if
	:: word == 0 -> goto pass                           /* lead: check */
	:: else
	fi;
#endif
	if
	:: cancel -> cancel = false; goto pass
	:: else
	fi;
#ifndef SLEEP_FLAG_LATE
	sleeping[a] = true;                                 /* lead: sleeping */
#endif
	atomic {                                            /* lead: FUTEX_WAIT(bell, b) */
		if
		:: rung[a] -> goto woken
		:: else -> infutex[a] = true
		fi
	};
#ifdef SLEEP_FLAG_LATE
	sleeping[a] = true;
#endif
end_futex:
	atomic {
		if
		:: !infutex[a]
		:: cancelled -> cancel = true; infutex[a] = false   /* rings its own bell */
#ifdef BACKSTOP
		:: word == 0 -> drained = true; infutex[a] = false
#endif
		fi
	};
woken:
	sleeping[a] = false;                                /* lead: awake */
#ifdef BACKSTOP
	if
	:: drained -> scan(); drained = false               /* lead: the full scan */
	:: else
	fi;
#endif
	goto leader;
pass:
#ifndef KEEP_LEAD
	lead[a] = true;                                     /* lead: pass on */
#endif
leave:
	unregister();                                       /* wait: unregister */
	n--;
	if
	:: n > 0 -> goto again
	:: else
	fi;
	atomic { done++; cancel = false; drained = false }
}

/* what must hold when no process can take a step */
proctype Judge() {
	byte g;
	timeout;
	if
	:: done == GS
	:: else ->
		assert(word == 1 || last != 255);
#if defined(BACKSTOP) || defined(STRICT)
		assert(word == 1);
#endif
	fi
}

init {
	byte j;
	atomic {
		for (j : 0 .. GS - 1) { run Goroutine(j) }
		for (j : 0 .. WAKERS - 1) { run Waker(j) }
		j = 0;
		run Killer();
		run Judge()
	}
}
