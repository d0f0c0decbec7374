/*
 * The lifecycle of a segment: Open, Close, Own, Leak and Remove of one name, with kills at any step.
 *
 * Every system call is one step. A segment has an owner word, a gate and one slot for each process;
 * gate and slots are locks of the kernel. A killed process keeps its locks until a later step of
 * the kernel, so for some time it looks alive. It may be followed by a newcomer in the same slot.
 * A creator makes its file without a name, so that making it and linking it are one step.
 *
 * The protocol that is to be built:
 *   Open, at the gate:      openat, map, gate, read, lstat, look at the locks, lock a slot, record,
 *                           leave the gate
 *   Close, without a gate:  read, unlock the slot, look at the locks; the gate for the last one only
 * With -DGATED Close takes the gate always, and slot and gate are unlocked by one call.
 * With -DFREE Open takes no gate where it finds another attachment; it is not to be built.
 *
 * LIFE is how segments are created: OWNED, SHARED or KEPT. When an owner was killed, a segment is again
 * what it was created as; one created OWNED is left to its other attachments.
 * With -DMAP_FAILS an Open may find no room for its mapping, and fails.
 * With -DQUEUE the value is a message queue. With -DOWN a process may call Own; with -DLEAK it may Leak
 * instead of Close; with -DREMOVE the name is removed once. With -DSTAY_DEAD there are no newcomers.
 *
 * Properties
 *   - no split: while a process is attached to a segment, every Open returns this segment, unless
 *     its owner closed it or it was removed;
 *   - a segment is dropped at most once, and only by its owner or when no other process is attached;
 *   - a name is taken only from a segment that an owner closes, that is removed, or that no process
 *     is attached to, and never from a kept one;
 *   - a shared queue with an unread message keeps its name, and the next Open returns it;
 *   - an Open that begins when all have left or died returns a new segment, unless the old one is
 *     kept or has an unread message;
 *   - without kills, when all have left: every segment was dropped exactly once and the name is free,
 *     unless the segment is kept or has an unread message;
 *   - no process is stuck.
 *
 * Broken variants: NO_LSTAT, BLIND_UNLINK, NO_GEN, OWN_DROPPED, OPEN_UNREAD, CLOSE_UNREAD, READY_ONLY,
 * GARBAGE_DROPS, OWNER_COUNTS, MAP_LATE (with MAP_FAILS); of Close without a gate: NO_GATE, NO_DROPPED, LOOK_BEFORE, NO_REREAD;
 * with GATED: SLOT_AFTER; with FREE: NO_CONDEMN, NO_WAIT, DEFER, CONDEMNED_IS_DROPPED, EXCLUSIVE_JOIN,
 * LOCK_FIRST, OWNER_SLOT, NO_SECOND_READ.
 */
#ifndef PROCS
#define PROCS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef ROUNDS
#define ROUNDS 1            /* Opens of each process and of each newcomer */
#endif
#ifndef SEGS
#define SEGS (PROCS * ROUNDS + KILLS * ROUNDS + 1)
#endif

/* states of the owner word */
#define OWNED 1
#define SHARED 2
#define KEPT 3
#define DROPPED 4

#ifndef LIFE
#define LIFE SHARED
#endif

/* the message */
#define READY 1
#define TAKEN 2             /* received, and not yet released */

#define BIT (1 << me)
#define ID(p, g) (1 + (g) * PROCS + (p))
#define SLOT(id) (((id) - 1) % PROCS)

byte name;                  /* the segment that has the name; 0: none */
byte segs;                  /* segments made so far */

byte st[SEGS], own[SEGS];   /* the owner word: state, id of the owner */
bool cond[SEGS];            /* the owner word: condemned */
byte gate[SEGS];            /* 0, or 1 + the process that holds it */
byte lock[SEGS];            /* slots locked exclusively: attachments */
byte join[SEGS];            /* slots locked shared: about to attach */
byte rec[SEGS * PROCS];     /* the records of slots: id of the last attachment */
byte msg[SEGS], lease[SEGS];

byte gen[PROCS];
bool up[PROCS];             /* in an Open, attached, or in a Close */
bool killed[PROCS];
bool linger[PROCS];         /* killed, and the locks are not free yet */
byte kills;
byte started;               /* processes are alike: each begins after the one before */

/* ghosts */
byte att[PROCS];            /* attached to: from the lock of the slot to the call of Close */
#define busy(p) (up[p] || linger[p])
bool solo[PROCS];           /* no other Open has begun since this one */
bool taken[SEGS];           /* closed by its owner, or removed */
byte drops[SEGS];
byte left = PROCS;
bool removing;

#define others(s) (lock[s] & ~BIT)
#define joiners(s) (join[s] & ~BIT)
#define rec_(s, p) rec[(s) * PROCS + (p)]
#ifdef NO_GEN
#define alive(s, id) ((lock[s] & ~BIT) >> SLOT(id) & 1)
#else
#define alive(s, id) (((lock[s] & ~BIT) >> SLOT(id) & 1) && rec_(s, SLOT(id)) == (id))
#endif

/* what keeps a segment that no process is attached to; a dead owner counts for nothing */
#ifdef OWNER_COUNTS
#define kept(s) (st[s] == KEPT)
#define sharing(s) (st[s] == SHARED)
#else
#define kept(s) (st[s] == KEPT || (LIFE == KEPT && st[s] == OWNED))
#define sharing(s) (st[s] == SHARED || (LIFE == SHARED && st[s] == OWNED))
#endif
#ifdef READY_ONLY
#define unread(s) (sharing(s) && msg[s] == READY)
#else
#define unread(s) (sharing(s) && msg[s] != 0)
#endif
#define mustkeep(s) (st[s] == KEPT || (LIFE == KEPT && st[s] == OWNED) || \
	((st[s] == SHARED || (LIFE == SHARED && st[s] == OWNED)) && msg[s] != 0))

#if PROCS > 2
#define attached(s) ((att[0] == (s) && me != 0) || (att[1] == (s) && me != 1) || (att[2] == (s) && me != 2))
#define otherbusy ((busy(0) && me != 0) || (busy(1) && me != 1) || (busy(2) && me != 2) || removing)
#define elsewhere(q) (att[q] != 0 && att[q] != s && !taken[att[q]])
#define split (elsewhere(0) || elsewhere(1) || elsewhere(2))
#else
#define attached(s) ((att[0] == (s) && me != 0) || (att[1] == (s) && me != 1))
#define otherbusy ((busy(0) && me != 0) || (busy(1) && me != 1) || removing)
#define elsewhere(q) (att[q] != 0 && att[q] != s && !taken[att[q]])
#define split (elsewhere(0) || elsewhere(1))
#endif

/* the name is taken; right: by an owner or Remove */
inline unlink(right) {
	d_step {
		if
		:: name != 0 ->
			assert(name == s);
			assert(right || !attached(s));
			assert(right || st[s] == DROPPED || !mustkeep(s));
			name = 0
		:: else
		fi
	}
}

/* Open returns */
inline opened() {
	assert(taken[s] || !split);
	assert(taken[s] || (st[s] != DROPPED && name == s));
	assert(!alone || keep != 0 || s > base);
	assert(!solo[me] || keep == 0 || s == keep);
	alone = false; keep = 0; base = 0; w = 0
}

inline nosolo() {
	solo[0] = false; solo[1] = false;
#if PROCS > 2
	solo[2] = false;
#endif
}

inline begun() {
	alone = !otherbusy;
	base = segs;
	keep = 0;
	if
	:: alone && name != 0 && st[name] != DROPPED && mustkeep(name) -> keep = name
	:: else
	fi;
	nosolo();
	solo[me] = alone;
	up[me] = true
}

/* after this no process attaches without the gate that has not attached before */
inline condemn() {
#if defined(FREE) && !defined(NO_CONDEMN)
	cond[s] = true                                          /* condemn */
#else
	skip
#endif
}

proctype P(byte me) {
	byte s, w, id, n, base, keep;
	bool alone, mine, leak, slot;
attach:
	{
		n = ROUNDS;
next:
		atomic {
			if
			:: n == 0 -> goto over
			:: n > 0 && started >= me ->
				n--;
				if
				:: started == me -> started++
				:: else
				fi;
				begun()
			fi
		};

open:
		atomic {                                        /* attach: openat */
			if
			:: name == 0 -> goto create
			:: else -> s = name
			fi
		};
#if defined(MAP_FAILS) && !defined(MAP_LATE)
		if
		:: skip                                         /* attach: map */
		:: goto fail                                    /* no other has seen this process */
		fi;
#endif
#ifdef FREE
#if defined(LOCK_FIRST) || defined(OWNER_SLOT)
		atomic { lock[s] = lock[s] | BIT };             /* free: lock a guessed slot */
		atomic { w = st[s]; id = own[s] };              /* free: read */
		atomic {                                        /* free: look */
			if
#ifdef OWNER_SLOT
			:: w == DROPPED || !alive(s, id) -> lock[s] = lock[s] & ~BIT; w = 0; id = 0; goto slow
#else
			:: w == DROPPED || others(s) == 0 -> lock[s] = lock[s] & ~BIT; w = 0; id = 0; goto slow
#endif
			:: else -> w = 0; id = 0
			fi
		};
		atomic {                                        /* free: lstat */
			if
			:: name != s -> lock[s] = lock[s] & ~BIT; s = 0; goto open
			:: else -> att[me] = s
			fi
		};
		goto record;
#endif
		atomic {                                        /* free: read */
			if
			:: st[s] == DROPPED || cond[s] -> goto slow
			:: else -> w = st[s]
			fi
		};
		atomic {                                        /* free: look: another is attached */
			if
			:: w != KEPT && others(s) == 0 -> w = 0; goto slow
			:: else -> w = 0
			fi
		};
#ifdef EXCLUSIVE_JOIN
		atomic { lock[s] = lock[s] | BIT };
#else
		atomic { join[s] = join[s] | BIT };             /* free: lock the slot, shared */
#endif
		atomic {                                        /* free: read again */
			if
#ifndef NO_SECOND_READ
			:: st[s] == DROPPED || cond[s] -> goto back
#endif
			:: else
			fi
		};
		atomic {                                        /* free: lstat */
			if
			:: name != s -> goto back
			:: else
			fi
		};
		atomic {                                        /* free: lock the slot, exclusively */
			join[s] = join[s] & ~BIT; lock[s] = lock[s] | BIT; att[me] = s
		};
		goto record;
back:
		atomic {                                        /* free: unlock the slot */
			join[s] = join[s] & ~BIT; lock[s] = lock[s] & ~BIT; s = 0; goto slower
		};
record:
		atomic {                                        /* free: record */
			gen[me]++; id = ID(me, gen[me]); rec_(s, me) = id;
			opened();
			goto use
		};
slower:
		atomic {                                        /* attach: openat */
			if
			:: name == 0 -> goto create
			:: else -> s = name
			fi
		};
slow:
#endif
		atomic { gate[s] == 0 -> gate[s] = me + 1 };    /* attach: gate */
		atomic {                                        /* attach: read, lstat */
			w = st[s];
#ifndef NO_LSTAT
			if
			:: name != s -> gate[s] = 0; s = 0; w = 0; goto open
			:: else
			fi
#endif
		};
		atomic {                                        /* attach: look at the locks */
			if
			:: w == DROPPED -> goto garbage
			:: w != DROPPED && (kept(s) || others(s) != 0) ->
#ifdef CONDEMNED_IS_DROPPED
				if
				:: cond[s] -> goto garbage
				:: else
				fi;
#endif
				cond[s] = false;
				goto take
			:: else
			fi
		};
		condemn();
#ifdef FREE
		atomic {                                        /* attach: look again; wait for joiners */
#ifndef NO_WAIT
			(others(s) != 0 || joiners(s) == 0);
#endif
			if
			:: others(s) != 0 -> cond[s] = false; goto take
			:: else
			fi
		};
#endif
		atomic {                                        /* attach: unread? */
			if
#ifndef OPEN_UNREAD
			:: unread(s) -> cond[s] = false; goto take
#endif
			:: else
			fi
		};
garbage:
#ifdef GARBAGE_DROPS
		atomic { st[s] = DROPPED };
#endif
		atomic { w = 0; unlink(taken[s]) };             /* attach: unlink */
		atomic { gate[s] = 0; s = 0; goto create };     /* attach: leave the gate */
take:
		atomic { w = 0; lock[s] = lock[s] | BIT; att[me] = s };     /* attach: lock a slot */
		atomic {                                        /* attach: record */
			gen[me]++; id = ID(me, gen[me]); rec_(s, me) = id
		};
#ifdef MAP_LATE
		atomic { gate[s] = 0 };                         /* attach: leave the gate */
		if
		:: skip
		:: atomic { lock[s] = lock[s] & ~BIT; att[me] = 0; goto fail }  /* close the file */
		fi;
		atomic { opened(); goto use };
#else
		atomic { gate[s] = 0; opened(); goto use };     /* attach: leave the gate */
#endif

create:
		atomic {                                        /* create: linkat */
			if
			:: name != 0 -> goto open
			:: else ->
				segs++; s = segs;
				gen[me]++; id = ID(me, gen[me]);
				st[s] = LIFE; lock[s] = BIT; rec_(s, me) = id;
				if
				:: LIFE == OWNED -> own[s] = id
				:: else
				fi;
				name = s;
				att[me] = s;
				opened()
			fi
		};

use:
		if
		:: skip
#ifdef QUEUE
		:: atomic { msg[s] == 0 -> msg[s] = READY }
		:: atomic {
			msg[s] == READY || (msg[s] == TAKEN && (lock[s] >> lease[s] & 1) == 0) ->
			msg[s] = TAKEN; lease[s] = me
		   };
		   atomic { msg[s] = 0; lease[s] = 0 }
#endif
#ifdef OWN
		:: atomic { gate[s] == 0 -> gate[s] = me + 1 }; /* own: gate */
		   atomic {                                     /* own: word */
			if
#ifndef OWN_DROPPED
			:: st[s] == DROPPED
#endif
			:: else -> st[s] = OWNED; own[s] = id; cond[s] = false
			fi
		   };
		   atomic { gate[s] = 0 }                       /* own: leave the gate */
#endif
		fi;

		atomic {
			att[me] = 0;
#ifdef LEAK
			if
			:: leak = true
			:: leak = false
			fi
#endif
		};
		slot = true;
#ifdef GATED
		goto atgate;
#else
		atomic {                                        /* detach: read */
			if
			:: leak || (st[s] == OWNED && own[s] == id) -> goto atgate
			:: st[s] == KEPT -> lock[s] = lock[s] & ~BIT; goto gone
			:: st[s] == DROPPED -> lock[s] = lock[s] & ~BIT; slot = false; goto finishing
			:: else
			fi
		};
		if
		:: goto atgate                                  /* the records say: no other is attached */
		:: skip                                         /* or that there is one; a hint only */
		fi;
#ifdef LOOK_BEFORE
		atomic {
			if
			:: others(s) != 0
			:: else -> goto atgate
			fi
		};
		atomic { lock[s] = lock[s] & ~BIT; goto gone };
#endif
		atomic { lock[s] = lock[s] & ~BIT; slot = false };  /* detach: unlock the slot */
look:
		atomic {                                        /* detach: look at the locks */
			if
			:: others(s) != 0 -> goto gone
			:: else -> goto atgate
			fi
		};
finishing:
		atomic {                                        /* detach: was its owner killed over it? */
			if
			:: name != s -> goto gone
			:: else
			fi
		};
#endif
atgate:
#ifdef NO_GATE
		if
		:: slot && st[s] == OWNED -> atomic { gate[s] == 0 -> gate[s] = me + 1 }
		:: else
		fi;
#else
		atomic { gate[s] == 0 -> gate[s] = me + 1 };    /* detach: gate */
#endif
		atomic {                                        /* detach: read */
			w = st[s];
#ifdef NO_GEN
			mine = w == OWNED && SLOT(own[s]) == me
#else
			mine = w == OWNED && own[s] == id
#endif
		};
		atomic {
			if
			:: leak && w != DROPPED && (mine || w == SHARED || (w == OWNED && !alive(s, own[s]))) ->
				st[s] = KEPT; own[s] = 0; cond[s] = false;      /* leak: word */
				w = KEPT;
				goto stay
			:: w == KEPT -> goto stay
			:: w == DROPPED -> goto unlinking
			:: mine -> goto drop
			:: else
			fi
		};
		atomic {                                        /* detach: look at the locks */
			if
#ifdef GATED
			:: w == OWNED && alive(s, own[s]) -> goto stay
#endif
			:: others(s) != 0 || kept(s) -> cond[s] = false; goto stay
			:: else
			fi
		};
		condemn();
#ifdef FREE
		atomic {                                        /* detach: look again; wait for joiners */
#ifdef DEFER
			if
			:: others(s) != 0 || joiners(s) != 0 -> cond[s] = false; goto stay
			:: else
			fi
#else
#ifndef NO_WAIT
			(others(s) != 0 || joiners(s) == 0);
#endif
			if
			:: others(s) != 0 -> cond[s] = false; goto stay
			:: else
			fi
#endif
		};
#endif
		atomic {                                        /* detach: unread? */
			if
#ifndef CLOSE_UNREAD
			:: unread(s) -> cond[s] = false; goto stay
#endif
			:: else -> lock[s] = lock[s] | BIT; slot = true         /* detach: lock the slot again */
			fi
		};
drop:
		atomic {                                        /* detach: dropped */
			assert(!mine || own[s] == id);
			assert(mine || taken[s] || (!attached(s) && !mustkeep(s)));
			if
			:: mine -> taken[s] = true
			:: else
			fi;
#ifdef NO_DROPPED
			cond[s] = false
#else
			st[s] = DROPPED; own[s] = 0; cond[s] = false
#endif
		};
		atomic {                                        /* detach: lstat, unlink */
			if
#ifndef BLIND_UNLINK
			:: name != s
#endif
			:: else -> unlink(taken[s])
			fi
		};
		atomic { gate[s] = 0 };                         /* detach: leave the gate */
		atomic { drops[s]++; assert(drops[s] == 1) };   /* detach: Drop */
		atomic { lock[s] = lock[s] & ~BIT; goto gone }; /* detach: close the file */

unlinking:
		atomic {                                        /* detach: lstat, unlink */
			if
			:: name != s
			:: else -> unlink(true)
			fi
		};
stay:
#ifdef SLOT_AFTER
		atomic { gate[s] = 0 };
		atomic { lock[s] = lock[s] & ~BIT; goto gone };
#endif
		atomic {                                        /* detach: unlock the slot and leave the gate */
			gate[s] = 0; lock[s] = lock[s] & ~BIT;
#ifndef GATED
#ifndef NO_REREAD
			if
			:: slot && w != KEPT && w != DROPPED -> slot = false; w = 0; mine = false; goto look
			:: else
			fi
#endif
#endif
		};
#ifdef MAP_FAILS
		goto gone;
fail:
		atomic { alone = false; keep = 0; base = 0 };
#endif
gone:
		atomic {
			s = 0; w = 0; id = 0; mine = false; leak = false; slot = false; up[me] = false;
			goto next
		};
	} unless { killed[me] };

	/* killed; the kernel frees the locks */
	atomic {
		s = 0; w = 0; id = 0; n = 0; base = 0; keep = 0;
		alone = false; mine = false; leak = false; slot = false
	};
	atomic { !linger[me] -> killed[me] = false };
#ifndef STAY_DEAD
	if
	:: goto attach                                          /* a newcomer in the same slot */
	:: goto over
	fi;
#endif
over:
	atomic {
		left--;
		if
		:: left == 0 && kills == 0 && !removing ->
			/* all have left */
			assert(name == 0 || mustkeep(name));
			for (n : 1 .. segs) {
				assert(drops[n] == 1 || ((name == n || taken[n]) && mustkeep(n)))
			}
		:: else
		fi;
		n = 0
	}
}

#ifdef REMOVE
proctype R() {
	byte s, me = 7;
	atomic {
		if
		:: name == 0 -> goto over
		:: else -> s = name; removing = true; nosolo()          /* remove: open */
		fi
	};
	atomic { gate[s] == 0 -> gate[s] = 9 };                     /* remove: gate */
	atomic {                                                /* remove: lstat, unlink */
		if
		:: name != s
		:: else -> taken[s] = true; unlink(true)
		fi
	};
	atomic { gate[s] = 0; removing = false };
over:
	skip
}
#endif

inline kill(k) {
	d_step {
		up[k] = false; killed[k] = true; linger[k] = true; att[k] = 0; kills++
	}
}

/* the kernel frees all locks of a dead process */
inline release(k) {
	d_step {
		for (s : 1 .. SEGS - 1) {
			if
			:: gate[s] == k + 1 -> gate[s] = 0
			:: else
			fi;
			lock[s] = lock[s] & ~(1 << k);
			join[s] = join[s] & ~(1 << k)
		};
		s = 0; linger[k] = false
	}
}

proctype Kernel() {
	byte s;
end:
	do
	:: atomic { kills < KILLS && up[0] -> kill(0) }
	:: atomic { kills < KILLS && up[1] -> kill(1) }
	:: atomic { linger[0] -> release(0) }
	:: atomic { linger[1] -> release(1) }
#if PROCS > 2
	:: atomic { kills < KILLS && up[2] -> kill(2) }
	:: atomic { linger[2] -> release(2) }
#endif
	od
}

init {
	byte j;
	atomic {
		for (j : 0 .. PROCS - 1) { run P(j) }
		j = 0;
#ifdef REMOVE
		run R();
#endif
#if KILLS > 0
		run Kernel()
#endif
	}
}
