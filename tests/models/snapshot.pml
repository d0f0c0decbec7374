/*
 * The snapshot counter of a box: Update, Store, Load, recovery.
 *
 * seq even: the payload P counts; seq odd: the image I counts.
 * Writers hold the box's lock. lock.pml proves the lock; here it is one atomic step, and the lock of
 * a dead holder can be taken at once. Any writer may be killed between any two steps, in its own
 * recovery too; KILLS bounds how often. Closer and the readers are not killed.
 *
 * Properties
 *   - Load is linearizable: it returns a whole value that was the committed one at some
 *     moment between its call and its return. So the value is never torn and never uncommitted.
 *   - f of Update finds the committed value, whole, in the payload.
 *   - when all writers are done, the next holder leaves seq even and the payload whole and committed.
 *
 * Commit points: Update at the even seq, Store at the odd one (a Store killed later is completed
 * by recovery). Nothing else commits.
 *
 * Broken variants: ODD_FIRST, EVEN_FIRST, NO_RECOVER, NO_IMAGE_READ, NO_RECHECK, NO_LOAD,
 * RECOVER_SEQ_FIRST, STORE_IN_PLACE.
 */
#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef KILLS
#define KILLS 3
#endif
#define NOBODY 0
#define CLOSER 9

byte P[2], I[2];            /* payload and image: two words each; value v is stored as v,v */
byte seq;
byte lock;                  /* NOBODY or the holder */
bool up[WRITERS + 1];       /* may be killed */
bool killed[WRITERS + 1];
byte kills, left = WRITERS;

byte cur;                   /* ghost: the committed value */
byte mask;                  /* ghost: the values committed since the running Load began */

inline commit(v) { cur = v; mask = mask | (1 << v) }

/* holding the lock */
inline recover() {
	if
	:: (seq & 1) == 0 -> skip
	:: else ->
#ifdef NO_RECOVER
		skip
#else
#ifdef RECOVER_SEQ_FIRST
		seq++;
		P[0] = I[0]; P[1] = I[1]
#else
		P[0] = I[0];                            /* recover: restore */
		P[1] = I[1];
		seq++                                   /* recover: even */
#endif
#endif
	fi
}

proctype Writer(byte me) {
	byte v;
	{
		/* Lock. The writers are alike, so they may as well get it in the order of their numbers. */
		atomic {
			me == WRITERS + 1 - left && (lock == NOBODY || killed[lock]) -> lock = me; up[me] = true
		}
		recover();
		if
		:: /* Update */
			atomic { assert((seq & 1) == 0); v = me }
#ifdef ODD_FIRST
			seq++;
#endif
			I[0] = P[0];                        /* update: save */
			I[1] = P[1];
#ifdef NO_LOAD
			/* arm64 without the load after the odd seq: the first plain store of f passes it */
			if
			:: P[0] = v
			:: skip
			fi;
#endif
#ifndef ODD_FIRST
			seq++;                              /* update: odd */
#endif
			/* here: an atomic load of seq (see README) */
#ifndef NO_LOAD
			assert(P[0] == cur && P[1] == cur);
#endif
			P[0] = v;                           /* update: f, in place */
			if
			:: P[1] = v;
#ifdef EVEN_FIRST
				goto early
#else
				goto good
#endif
			:: goto fail                        /* f failed half way */
			:: P[1] = v; goto fail
			fi
		:: /* Store */
			v = me;
			I[0] = v;                           /* store: image */
			I[1] = v;
#ifndef STORE_IN_PLACE
			atomic { seq++; commit(v) };        /* store: odd */
			P[0] = I[0];                        /* store: payload */
			P[1] = I[1];
			seq++;                              /* store: even */
#else
			P[0] = I[0];
			P[1] = I[1];
			atomic { seq = seq + 2; commit(v) };
#endif
			goto unlock
		fi;
fail:   P[0] = I[0];                            /* rollback: restore */
		P[1] = I[1];
		seq++;                                  /* rollback: even */
		goto unlock;
#ifdef EVEN_FIRST
		/* the payload is completed after the counter */
early:  atomic { seq++; commit(v) };
		P[1] = 0;
		P[1] = v;
		goto unlock;
#endif
good:   atomic { seq++; commit(v) };            /* update: even */
unlock: /* wake: see wait.pml */
		atomic { assert(lock == me); lock = NOBODY; up[me] = false }
	} unless { killed[me] };
	d_step { v = 0; left-- }
}

proctype Reader() {
	byte s, a, b;
begin:
	atomic { mask = 1 << cur; a = 0; b = 0 }
again:
	s = seq;                                    /* load: seq */
	if
#ifdef NO_IMAGE_READ
	:: true -> a = P[0]; b = P[1]
#else
	:: (s & 1) == 0 -> a = P[0]; b = P[1]       /* load: payload */
	:: else -> a = I[0]; b = I[1]               /* load: image */
#endif
	fi;
	atomic {
		if
#ifndef NO_RECHECK
		:: s != seq -> a = 0; b = 0; goto again /* load: again */
#endif
		:: else ->
			assert(a == b);                     /* whole */
			assert((mask >> a) & 1);            /* committed, and not stale */
			s = 0;
			goto begin
		fi
	}
}

/* kills the holder of the lock only: a kill of another process changes nothing */
proctype Killer() {
end:
	do
	:: atomic {
		kills < KILLS && lock != NOBODY && lock != CLOSER && up[lock] ->
			up[lock] = false; killed[lock] = true; kills++
	   }
	od
}

/* the next holder after all writers are done or dead; it is not killed */
proctype Closer() {
	left == 0;
	atomic { assert(lock == NOBODY || killed[lock]); lock = CLOSER };
	recover();
	lock = NOBODY;
	assert((seq & 1) == 0);
	assert(P[0] == cur && P[1] == cur)
}

init {
	byte i;
	atomic {
		for (i : 1 .. WRITERS) { run Writer(i) }
		i = 0;
		run Reader(); run Killer(); run Closer()
	}
}
