/*
 * Waking as many as can go on: batons in slots, waiters that are chosen, and how a baton is passed on.
 * wait.pml shows that a bell wakes a leader; here a bell is one step.
 *
 * GS goroutines wait in AS attachments for units of OBJS objects, all in one bucket. A unit is a message
 * or a permit; with LOCK the only unit of an object is a lock with a waiters bit, which may be handed
 * over (HANDOFF); goroutine READ only reads: it leaves the lock free. Goroutine g needs one unit; with
 * UNLIKE it needs 1 + g. Wakers add a unit at a time and wake one waiter. With LOCK they are newcomers,
 * which take the lock and free it, and never wait.
 *
 * A slot has the bits interest ("unchosen waiters here"), pending ("look at all of them") and rung, and
 * a baton: the object of which one waiter is to go on. Only the leader of an attachment drains them, and
 * the last waiter that leaves its bucket.
 *
 * CANCEL=g: goroutine g may give up at any moment while it waits; CLOSE: all of the last attachment may.
 * KILLS: attachments and wakers die at any step. With LOCK no holder dies: the watch of the holder, in
 * lock.pml, is for that.
 *
 * WATCH: each attachment is watched by a process that stays; when it has died its slot gets no baton
 * any more, and all are rung. Only attachments die then, no wakers.
 *
 * Property, at the end of every run: no goroutine of a living attachment sleeps that could go on. None
 * checks its condition unless it is woken, except with BACKSTOP.
 *
 * Broken variants: LOSE_PASS, LOSE_CHAIN, LOSE_STRANDED, NO_RECHECK, SWALLOW, SWALLOW_UNLIKE, NO_ARM,
 * CLEAR_ALWAYS, STOP_AT_OTHER, NO_OWN_BELL, TAKE_PLAIN (with LOCK), LOSE_READER (with READ), KILLS without BACKSTOP or WATCH,
 * and with WATCH: KEEPS_SLOT (the slot may get batons), RING_NONE.
 */
#ifndef GS
#define GS 2
#endif
#ifndef AS
#define AS 2
#endif
#define AT(g) (g % AS)
#ifndef OBJS
#define OBJS 1
#endif
#define OBJ(g) (g % OBJS)
#ifdef UNLIKE
#define NEED(g) (1 + g)
#define ALIKE false
#else
#define NEED(g) 1
#define ALIKE true
#endif
#ifndef WAKERS
#define WAKERS 1
#endif
#ifndef PUTS
#define PUTS 1
#endif
#define OBJW(w) (w % OBJS)
#ifndef KILLS
#define KILLS 0
#endif
#if defined(CLOSE)
#define GIVES_UP(g) (AT(g) == AS - 1)
#elif defined(CANCEL)
#define GIVES_UP(g) (g == CANCEL)
#else
#define GIVES_UP(g) false
#endif
#ifdef HANDOFF
#define TELL(x) told = x
#else
#define TELL(x) skip
#endif
#ifdef READ
#define READS(g) (g == READ)
#else
#define READS(g) false
#endif
#define NONE 255
#define RETIRED 200             /* the baton of an attachment whose death was reported */
#define CALLERS (WAKERS + GS)   /* of Wake: waker w is w, goroutine g is WAKERS + g */

/* shared memory */
#ifdef LOCK
byte units[OBJS] = 1;
bool waits[OBJS];               /* the waiters bit */
#define ready(g) (units[OBJ(g)] == 1 || !waits[OBJ(g)])
#else
byte units[OBJS];
#define ready(g) (units[OBJ(g)] >= NEED(g))
#endif
bool armed[OBJS];
bool interest[AS], pending[AS], rung[AS];
byte baton[AS];                 /* 1 + the object; 0: none */
bool again[AS];                 /* the baton was rung again: its waker may have died */

/* of the processes */
bool mu[AS];                    /* the mutex of the bucket */
bool lead[AS] = true;           /* the token of the leader */
byte leader[AS] = NONE;
bool linked[GS], signal[GS];    /* in the bucket's list: not chosen; the goroutine's channel */

byte kept[CALLERS];             /* 1 + the object whose armed word has not changed since it was loaded */
bool dead[AS], gone[WAKERS], up[WAKERS], holds[AS], done[GS];
byte kills;

inline forget(ob) { for (q : 0 .. CALLERS - 1) { if :: kept[q] == 1 + ob -> kept[q] = 0 :: else fi } q = 0 }
inline arm(ob) { d_step { armed[ob] = true; forget(ob) } }
inline disarm(c, ob) {                                  /* one: disarm */
	d_step {
		if
		:: kept[c] == 1 + ob && armed[ob] -> armed[ob] = false; forget(ob)
		:: else
		fi;
		kept[c] = 0
	}
}

/* link and unlink, under mu[x]: with the last one goes the interest */
inline link(g, x) { d_step { linked[g] = true; interest[x] = true } }
inline unlink(g, x) {                                   /* one: unlink */
	d_step {
		linked[g] = false; interest[x] = false;
		for (q : 0 .. GS - 1) { if :: linked[q] && AT(q) == x -> interest[x] = true :: else fi }
		q = 0
	}
}

#define waitsAt(g, x, ob) (linked[g] && AT(g) == x && OBJ(g) == ob)

/* choose one waiter of x for ob, and arm for the others before it is told. pick: which; some: one is there */
inline choose(x, ob) {
	atomic { !mu[x] -> mu[x] = true; h = 0; pick = NONE; some = false; isArmed = false };
	do
	:: atomic { h >= GS -> h = 0; break }
	:: atomic { h < GS && !waitsAt(h, x, ob) -> h++ }
	:: atomic { h < GS && waitsAt(h, x, ob) -> some = true };
		if
		:: pick == NONE && ready(h) -> pick = h; unlink(h, x)       /* one: choose */
		:: else ->
#ifndef NO_ARM
			if
			:: !isArmed -> arm(ob); isArmed = true;                   /* one: arm for the others */
				if
				:: pick == NONE && ready(h) -> pick = h; unlink(h, x)
				:: else
				fi
			:: else
			fi
#endif
		fi;
		h++
	od;
	atomic {
		if
		:: pick != NONE -> signal[pick] = true
		:: else
		fi;
		mu[x] = false; isArmed = false
	}
}

/* choose all waiters of x that can go on, at any object, and arm for the others */
inline dispatch(x) {
	atomic { !mu[x] -> mu[x] = true; h = 0 };
	do
	:: atomic { h >= GS -> h = 0; break }
	:: atomic { h < GS && !(linked[h] && AT(h) == x) -> h++ }
	:: atomic { h < GS && linked[h] && AT(h) == x -> skip };
		if
		:: ready(h) -> unlink(h, x); signal[h] = true
		:: else ->
			arm(OBJ(h));
			if
			:: ready(h) -> unlink(h, x); signal[h] = true
			:: else
			fi
		fi;
		h++
	od;
	mu[x] = false
}

/* the bell for the leader of one's own attachment, if it is chosen */
inline ringOwn(x) {
	if
	:: leader[x] != NONE && signal[leader[x]] -> rung[x] = true
	:: else
	fi
}

inline loadArmed(c, ob) { d_step { any = armed[ob]; if :: any -> kept[c] = 1 + ob :: else fi } }

/* ring all attachments that are interested; own: the caller's (AS: one without waiters) */
inline ringAll(own) {
	e = 0;
	do
	:: e == AS -> break
	:: else ->
		if
		:: interest[e] && e == own -> dispatch(e); ringOwn(e)
		:: interest[e] && e != own -> atomic { pending[e] = true; rung[e] = true }
		:: else
		fi;
		e++
	od;
	e = 0
}

/* Wake by caller c */
inline wakeAll(c, ob, own) {
	loadArmed(c, ob);
	if
	:: any ->
		ringAll(own);
		disarm(c, ob)
	:: else
	fi;
	any = false
}

/* WakeN of one waiter, told says whether it was told; n: still to be woken; left: another one is interested; busy: a baton is there already */
inline wakeN(c, ob, own) {
	loadArmed(c, ob);                                   /* one: load armed */
	if
	:: any ->
		n = 1; d = 1;
		do
		:: d > AS -> break
		:: else ->
			i = (own + d) % AS; d++;
			if
			:: !interest[i]                                 /* one: interest */
			:: interest[i] && n == 0 -> left = true; break
			:: interest[i] && n == 1 && i == own ->
				choose(i, ob);
				if :: pick != NONE -> n = 0; TELL(true) :: else fi;
				ringOwn(i)
			:: interest[i] && n == 1 && i != own ->
				TELL(true);
				atomic {                                    /* one: put the baton */
					if
					:: baton[i] == 0 -> baton[i] = 1 + ob; k = 1
					:: baton[i] == 1 + ob -> k = 2
					:: else -> k = 3
					fi
				};
				if
				:: k == 1 ->
					rung[i] = true;                         /* one: bell */
#ifdef NO_RECHECK
					n = 0
#else
					if
					:: interest[i] || baton[i] != 1 + ob -> n = 0   /* one: interest again */
					:: else
					fi
#endif
				:: k == 2 -> busy = true;
					if
					:: !again[i] && baton[i] == 1 + ob -> atomic { again[i] = true; rung[i] = true }  /* one: ring again */
					:: else
					fi
				:: k == 3 -> atomic { pending[i] = true; rung[i] = true }
#ifdef STOP_AT_OTHER
					; n = 0
#endif
				fi;
				k = 0
			fi
		od;
#ifdef CLEAR_ALWAYS
		left = false;
#endif
		if
		:: n == 1 && busy -> kept[c] = 0; wakeAll(c, ob, own)
		:: (n == 0 || !busy) && !left -> disarm(c, ob)
		:: (n == 0 || !busy) && left -> kept[c] = 0
		fi;
		d_step { n = 0; left = false; busy = false; d = 0; i = 0; pick = 0; some = false; any = false }
	:: else
	fi
}

/* free the lock. reserve: it may keep the waiters bit, so that it is reserved for those that wait */
inline free(ob) {
	atomic {
		any = waits[ob]; reserve = false;
		if
		:: waits[ob] = false
#ifdef HANDOFF
		:: any -> reserve = true
#endif
		fi;
		units[ob] = 1
	}
}

/* if none was told a reserved lock becomes free */
inline unreserve(ob) {
	atomic {
		if
		:: reserve && !told && units[ob] == 1 -> waits[ob] = false  /* one: reserved for none */
		:: else
		fi;
		reserve = false; told = false
	}
}

#define LOCALS byte q, h, pick, n, d, i, k, e; bool some, isArmed, any, left, busy, told, reserve
#define CLEAR told = false; reserve = false; q = 0; h = 0; pick = 0; n = 0; d = 0; i = 0; k = 0; e = 0; some = false; isArmed = false; any = false; left = false; busy = false

proctype Waker(byte w) {
	LOCALS;
	byte p;
	{
		p = PUTS;
		do
		:: p == 0 -> break
		:: else -> p--;
#ifdef LOCK
end_taken:	atomic { units[OBJW(w)] == 1 -> units[OBJW(w)] = 0 }; /* it keeps the bit of a reserved one */
			atomic { free(OBJW(w)); up[w] = true };
			if
			:: any -> wakeN(w, OBJW(w), AS); unreserve(OBJW(w))
			:: else
			fi;
#else
			atomic { units[OBJW(w)]++; up[w] = true };
			wakeN(w, OBJW(w), AS);
#endif
			up[w] = false
		od
	} unless { gone[w] };
	atomic { CLEAR; p = 0; kept[w] = 0; up[w] = false }
}

proctype Killer() {
	byte x;
end:
	do
	:: atomic { kills < KILLS && !dead[x] && !holds[x] -> dead[x] = true; kills++ }
	:: x < AS - 1 -> x++
#ifndef WATCH
	:: atomic { kills < KILLS && up[0] -> gone[0] = true; kills++ }
#endif
#if WAKERS > 1 && !defined(WATCH)
	:: atomic { kills < KILLS && up[1] -> gone[1] = true; kills++ }
#endif
	od
}

#ifdef WATCH
proctype Watcher(byte x) {
	byte e;
end:
	dead[x];
#ifndef KEEPS_SLOT
	baton[x] = RETIRED;                                 /* one: retire */
#else
	baton[x] = 0;
#endif
#ifndef RING_NONE
	do
	:: e == AS -> break
	:: else ->
		if
		:: interest[e] -> atomic { pending[e] = true; rung[e] = true }
		:: else
		fi;
		e++
	od;
#endif
	e = 0
}
#endif

#define isReadyAt(g, x) (linked[g] && AT(g) == x && ready(g))
#if GS == 2
#define anyReadyAt(x) (isReadyAt(0, x) || isReadyAt(1, x))
#else
#define anyReadyAt(x) (isReadyAt(0, x) || isReadyAt(1, x) || isReadyAt(2, x))
#endif

/* carry baton b, drained from the slot of a. mine: this goroutine goes on at the object of the baton */
inline carry() {
	if
	:: b != RETIRED -> choose(a, b - 1)
	:: else
	fi;
#if defined(SWALLOW)
	mine = true;
#define lost !some && !mine
#elif defined(SWALLOW_UNLIKE)
#define lost !some && !mine
#else
#define lost (!some || !ALIKE) && !(!some && mine)
#endif
	if
	:: b != RETIRED && pick == NONE && lost && armed[b - 1] -> ringAll(a)   /* one: carry */
	:: else
	fi;
	d_step { b = 0; pick = 0; some = false; mine = false }
}

/* after a signal: fine tells that the wait is over. If not, the goroutine stands in the list again */
inline check() {
	if
	:: ready(g) -> fine = true
	:: else ->
		atomic { !mu[a] -> chosen = !linked[g]; link(g, a) };   /* one: link again */
		arm(OBJ(g));
		if
		:: ready(g) -> fine = true
		:: else ->
			if
			:: chosen && !ALIKE -> wakeAll(WAKERS + g, OBJ(g), a)
			:: else
			fi
		fi;
		chosen = false
	fi
}

proctype Goroutine(byte g) {
	LOCALS;
	byte a, b;
	bool chosen, failed, last, waited, fine, mine;
	{
		a = AT(g);
take:
#ifdef LOCK
		atomic {
			if
#ifdef READ
			:: units[OBJ(g)] == 1 && g == READ -> goto got      /* a reader leaves the lock free */
#endif
			:: units[OBJ(g)] == 1 && !READS(g) -> units[OBJ(g)] = 0; holds[a] = true;
#ifndef TAKE_PLAIN
				waits[OBJ(g)] = waits[OBJ(g)] || waited;    /* one: take with the waiters bit */
#else
				waits[OBJ(g)] = false;
#endif
				goto got
			:: else -> waits[OBJ(g)] = true
			fi
		};
#else
		atomic {
			if
			:: ready(g) -> units[OBJ(g)] = units[OBJ(g)] - NEED(g); goto got
			:: else
			fi
		};
		if
		:: waited && !ALIKE -> wakeN(WAKERS + g, OBJ(g), a) /* others may need less */
		:: else
		fi;
#endif
		waited = true;
		atomic { !mu[a] -> link(g, a) };
		arm(OBJ(g));
		if
		:: ready(g) -> goto leave
		:: else
		fi;
park:
end_park:
		atomic {
			if
			:: signal[g] -> signal[g] = false
			:: lead[a] -> lead[a] = false; leader[a] = g; goto leading
			:: GIVES_UP(g) -> failed = true; goto leave
			fi
		};
		check();
		if
		:: fine -> fine = false; goto leave
		:: else -> goto park
		fi;

leading:
		atomic { rung[a] = false; chosen = pending[a]; pending[a] = false; b = baton[a]; baton[a] = 0; again[a] = false };
drained:
		if
		:: b != 0 -> carry()
		:: else
		fi;
		if
		:: chosen -> chosen = false; dispatch(a)
		:: else
		fi;
		if
		:: signal[g] -> signal[g] = false; check()
		:: else
		fi;
		if
		:: fine -> fine = false; goto pass
		:: else
		fi;
end_asleep:
		atomic {
			if
			:: rung[a] -> rung[a] = false; chosen = pending[a]; pending[a] = false; b = baton[a]; baton[a] = 0; again[a] = false
			:: GIVES_UP(g) -> failed = true; goto pass
#ifdef BACKSTOP
			:: anyReadyAt(a) -> chosen = true
#endif
			fi
		};
		goto drained;
pass:
		atomic { leader[a] = NONE; lead[a] = true };
leave:
		atomic { !mu[a] -> chosen = !linked[g]; signal[g] = false; unlink(g, a); last = !interest[a] };
#ifndef LOSE_STRANDED
		if
		:: last ->
			d_step { b = baton[a]; baton[a] = 0; again[a] = false };              /* one: stranded */
			if
			:: b != 0 ->
				mine = (b == 1 + OBJ(g) && !failed);
				carry();
#ifndef NO_OWN_BELL
				ringOwn(a)
#endif
			:: else
			fi
		:: else
		fi;
#endif
		last = false;
		if
		:: !failed -> chosen = false; goto take
		:: else
		fi;
#ifndef LOSE_PASS
		if
		:: chosen -> wakeN(WAKERS + g, OBJ(g), a)               /* one: pass on */
		:: else
		fi;
#endif
		goto over;
got:
#ifdef READ
		if
		:: READS(g) ->
#ifndef LOSE_READER
			if
			:: waited -> wakeN(WAKERS + g, OBJ(g), a)               /* one: more readers */
			:: else
			fi;
#endif
			goto over
		:: else
		fi;
#endif
#ifdef LOCK
		atomic { free(OBJ(g)); holds[a] = false };
		if
		:: any -> wakeN(WAKERS + g, OBJ(g), a); unreserve(OBJ(g))
		:: else
		fi;
#elif !defined(LOSE_CHAIN)
		if
		:: waited && units[OBJ(g)] > 0 -> wakeN(WAKERS + g, OBJ(g), a)  /* one: chain */
		:: else
		fi;
#endif
over:
		done[g] = true
	} unless { dead[AT(g)] };
	atomic { CLEAR; b = 0; a = 0; chosen = false; failed = false; last = false; waited = false; fine = false; mine = false; kept[WAKERS + g] = 0 }
}

/* what must hold when no process can take a step */
proctype Judge() {
	byte g;
	timeout;
	for (g : 0 .. GS - 1) {
		assert(done[g] || dead[AT(g)] || !ready(g))
	}
}

init {
	byte j;
	atomic {
		for (j : 0 .. GS - 1) { run Goroutine(j) }
		for (j : 0 .. WAKERS - 1) { run Waker(j) }
		j = 0;
#if KILLS
		run Killer();
#endif
#ifdef WATCH
		for (j : 0 .. AS - 1) { run Watcher(j) }
		j = 0;
#endif
		run Judge()
	}
}
