# ---- ShmemBox runtime, the same in every generated module. docs/format.md describes the bytes and the
# protocols. ----
#
# It does not use multiprocessing.shared_memory, whose resource tracker unlinks segments at exit.

# Bytes of the file that are locked (no data is there), the waiters bit of a lock word, and offsets in the
# header page, the last 4096 bytes of the file.
_GATE, _SLOT = 1 << 62, (1 << 62) + 16
_WAITERS = 1 << 31
_OWNER, _HIGH, _LOCK, _LOCK_ARMED, _SEQ, _SEQ_ARMED = 256, 264, 320, 324, 384, 392
_EVENTS, _EVENTS_ARMED = 512, 520
_OFD_GETLK, _OFD_SETLK = 36, 37
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221, "s390x": 238}.get(os.uname().machine)


class SegmentError(Exception):
    """The segment cannot be used; the text says why."""


class MismatchError(SegmentError):
    """The segment holds another type."""


class BusyError(SegmentError):
    """The value, the lock or the gate is busy."""


class _Torn(SegmentError):
    pass


class OwnerDiedError(SegmentError):
    """A writer died changing the value, and there is no undo image."""


class ForkedError(SegmentError):
    """The box was opened by another process, and this one was forked from it."""


def _libatomic():
    for name in ("libatomic.so.1", ctypes.util.find_library("atomic")):
        try:
            lib = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if lib is not None and hasattr(lib, "__atomic_compare_exchange_4"):
            return lib
    return None


class _Atomics:
    """Atomic operations, which Python lacks, from libatomic. All are sequentially consistent."""

    def __init__(self):
        lib = _libatomic()
        if lib is None:
            raise SegmentError("storing from Python needs libatomic.so.1 (Debian: apt install libatomic1); load() works without")
        p, u32, u64, i = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int
        f = lambda name, res, *args: self._sign(getattr(lib, name), res, args)
        self._load4, self._load8 = f("__atomic_load_4", u32, p, i), f("__atomic_load_8", u64, p, i)
        self._store8 = f("__atomic_store_8", None, p, u64, i)
        self._or8, self._add4 = f("__atomic_fetch_or_8", u64, p, u64, i), f("__atomic_fetch_add_4", u32, p, u32, i)
        self._add8 = f("__atomic_fetch_add_8", u64, p, u64, i)
        self._cas4 = f("__atomic_compare_exchange_4", ctypes.c_bool, p, ctypes.POINTER(u32), u32, i, i)
        self._libc = ctypes.CDLL(None, use_errno=True)

    @staticmethod
    def _sign(f, res, args):
        f.restype, f.argtypes = res, args
        return f

    def load4(self, p):
        return self._load4(p, 5)

    def load8(self, p):
        return self._load8(p, 5)

    def store8(self, p, v):
        self._store8(p, v, 5)

    def or8(self, p, v):
        self._or8(p, v, 5)

    def add4(self, p, v):
        self._add4(p, v, 5)

    def add8(self, p, v):
        self._add8(p, v, 5)

    def cas4(self, p, old, new):
        return self._cas4(p, ctypes.byref(ctypes.c_uint32(old)), new, 5, 5)

    def futex_wake(self, p):
        if _FUTEX is not None:  # without it waiters wake after 100 ms
            self._libc.syscall(ctypes.c_long(_FUTEX), ctypes.c_void_p(p), ctypes.c_int(1), ctypes.c_int(0x7FFFFFFF), None, None, ctypes.c_int(0))


def _crc32c(data):
    c = 0xFFFFFFFF
    for x in data:
        c ^= x
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    return c ^ 0xFFFFFFFF


_ATOMIC, _ARRAY, _STRUCT, _SYNC = 0x80, 17, 18, 19  # of the kinds in a schema


class _Schema:
    """Reads an encoded schema. One of this code has no names and alignments of Go types: they are not full."""

    def __init__(self, data, full):
        self.data, self.at, self.full = data, 0, full

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def uint(self):
        v = shift = 0
        while True:
            c = self.byte()
            v, shift = v | (c & 0x7F) << shift, shift + 7
            if c < 0x80:
                return v

    def name(self):
        n = self.uint()
        self.at += n
        if self.at > len(self.data):
            raise IndexError
        return self.data[self.at - n:self.at]

    def type(self, depth=0):
        """Reads a type: kind, name of a lock, size, and what it is made of."""
        if depth > 64:
            raise IndexError
        kind = self.byte()
        name = self.name() if self.full or kind == _SYNC else b""
        size = self.uint()
        if self.full:
            self.uint()  # alignment
        rest = None
        if kind == _ARRAY:
            rest = self.uint(), self.type(depth + 1)
        elif kind == _STRUCT:
            rest = [(self.name(), self.uint(), self.type(depth + 1)) for _ in range(self.uint())]
        return kind, name if kind == _SYNC else b"", size, rest


def _shared(t, off):
    """Yields where sync/atomic and psync fields are in a type at off, and how long they are."""
    kind, _, size, rest = t
    if kind & _ATOMIC or kind == _SYNC:
        yield off, size
    elif kind == _ARRAY and rest[0] > 0 and next(_shared(rest[1], 0), None) is not None:
        for i in range(rest[0]):
            yield from _shared(rest[1], off + i * (size // rest[0]))
    elif kind == _STRUCT:
        for _, at, field in rest:
            yield from _shared(field, off + at)


def _appended(data, most):
    """The parts of the fields by which an encoded schema is longer than the type of this code, and None if it is
    another type, or has more than most bytes."""
    try:
        here, there = _Schema(_SCHEMA, False).type(), _Schema(data[1:], True).type()
    except IndexError:
        return None
    if data[0] != 1 or here[0] != _STRUCT or there[0] != _STRUCT or not SIZE <= there[2] <= most:
        return None
    n, at, parts = len(here[3]), SIZE, []
    if there[3][:n] != here[3] or any(off < SIZE for _, off, _ in there[3][n:]):
        return None
    for _, field_at, field in there[3][n:]:
        for off, size in _shared(field, field_at):
            if size < 1 or off < at or off + size > there[2] or len(parts) > 16384:
                return None
            if off > at:
                parts.append((at, off - at))
            at = off + size
    if at < there[2]:
        parts.append((at, there[2] - at))
    return there[2], tuple(parts)


_barrier = threading.Lock()


def _fence():
    with _barrier:  # taking and releasing a lock orders memory
        pass


_boxes = weakref.WeakSet()  # that are open


def _after_fork():
    global _barrier
    _barrier = threading.Lock()  # another thread may have had it
    for box in list(_boxes):
        box._disown()


os.register_at_fork(after_in_child=_after_fork)


class _Box:
    """A box, opened to read (open) or attached to write (attach).

    It belongs to the process that opened it. After a fork the child's copy raises ForkedError, and close() in the child
    does nothing to the attachment of the parent. Pickled, as multiprocessing does it, a box is its name: unpickling
    opens it anew. Threads may share a box: store and update wait for each other."""

    def __init__(self, name, write=False, directory="/dev/shm"):
        self.path = os.path.abspath(name if "/" in name else os.path.join(directory, name))
        self._fd, self._map, self._id, self._at = -1, None, 0, None
        self._pid, self._write, self._mutex, self._writer = os.getpid(), write, threading.Lock(), None
        self._print, self._stored, self._more = FINGERPRINT, SIZE, ()
        _boxes.add(self)
        self._atomics = _Atomics() if write else None
        deadline = time.monotonic() + 5
        while True:
            self._fd = os.open(self.path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                page = self._check_patiently()
                if not write:
                    self._map = self._map_file(mmap.PROT_READ)
                    return
                # Before there is a slot: nothing may fail with one, since another attachment may have left meanwhile,
                # and rely on this one for the cleanup.
                self._map = self._map_file(mmap.PROT_READ | mmap.PROT_WRITE)
                self._at = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
                self._enter(deadline)
                if self._same():
                    self._attach()
                    self._count_event()
                    return
            except BaseException:
                self._unmap()
                raise
            self._unmap()  # removed a moment ago: try the file that has the name now
            if time.monotonic() > deadline:
                raise BusyError("%s: other processes create and remove it all the time" % self.path)

    @classmethod
    def open(cls, name, directory="/dev/shm"):
        """Opens a box to read it. It takes no slot and no lock, so reading keeps nothing alive."""
        return cls(name, False, directory)

    @classmethod
    def attach(cls, name, directory="/dev/shm"):
        """Attaches to a box, to write it as well."""
        return cls(name, True, directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        try:
            self.close()
        except Exception:  # a half made box, or the end of the interpreter
            pass

    def __reduce__(self):
        if self._fd < 0 and self._pid == os.getpid():
            raise TypeError("%s: a closed box cannot be pickled" % self.path)
        return type(self), (self.path, self._write)

    def _open_here(self):
        """Raises an error if the box is closed, or another process's."""
        if self._pid != os.getpid():
            raise ForkedError("%s: process %d opened it before a fork; open or attach anew in this one" % (self.path, self._pid))
        if self._map is None:
            raise SegmentError("%s: the box is closed" % self.path)

    def _check_patiently(self):
        """Is _check that waits for another process to have written a longer type."""
        for _ in range(100):
            try:
                return self._check()
            except _Torn:
                time.sleep(100e-6)
        return self._check()

    def _check(self):
        """Reads the control block, and checks everything that this code relies on."""
        st = os.fstat(self._fd)
        if not stat.S_ISREG(st.st_mode) or st.st_size < 4096:
            raise SegmentError("%s: not a ShmemBox segment" % self.path)
        page = os.pread(self._fd, 4096, st.st_size - 4096)
        if len(page) < 4096 or page[:8] != b"ShmemBox":
            raise SegmentError("%s: not a ShmemBox segment" % self.path)
        u32, u64 = lambda o: struct.unpack_from("=I", page, o)[0], lambda o: struct.unpack_from("=Q", page, o)[0]
        if u32(12) != 0x01020304:
            raise SegmentError("%s: made by a machine of the other byte order" % self.path)
        if u32(8) != 2:
            raise SegmentError("%s: it is of format version %d, this code reads 2" % (self.path, u32(8)))
        total, cap, control, image, slots, count = u64(16), u64(24), u64(32), u64(40), u64(64), u32(72)
        if (_crc32c(page[:244]) != u32(244) or total != st.st_size or total % 4096 or u32(84) != 0 or cap > control or not 1 <= count <= 1024
                or not 1 <= u32(160) <= 3 or u32(164) > 5
                or slots + count * 64 + 4096 != total or slots < control or image % 64 or image and not control <= image <= slots - cap):
            raise SegmentError("%s: its control block is damaged" % self.path)
        if u64(184) != st.st_ino:
            raise SegmentError("%s: it is a copy of a segment" % self.path)
        if self._map is not None and len(self._map) != total:
            raise SegmentError("%s: its control block is damaged" % self.path)  # mapped by another size
        self._learn(page, cap, total)
        self._size, self._head, self._image, self._slots, self._count = total, total - 4096, image, slots, count
        self._lifetime, self._form = u32(160), u32(164)
        self._file = (st.st_dev, st.st_ino)
        return page

    def _learn(self, page, cap, total):
        """Checks by the schema record that the segment holds the type of this code, with or without appended fields."""
        kind, length, print_, size, off, crc = struct.unpack_from("=IIQQQI", page, 960)
        if kind not in (1, 2, 3):
            raise MismatchError("%s: it has no schema; this code is for fingerprint %016x" % (self.path, FINGERPRINT))
        if size > cap or print_ == FINGERPRINT and size < SIZE:
            raise SegmentError("%s: its schema is damaged" % self.path)
        self._cap = cap
        if print_ == FINGERPRINT:
            self._print, self._stored, self._more = FINGERPRINT, SIZE, ()
            return
        data, longer = b"", None
        if kind == 1 and length <= 3096:
            data = page[1000:1000 + length]
        elif kind == 2 and off + length <= total:
            data = os.pread(self._fd, length, off)
        if kind != 3:
            if _crc32c(page[960:992] + data) != crc:
                raise _Torn("%s: its schema is damaged, or being written" % self.path)
            longer = self._longer(data, size)
        if longer is None:
            raise MismatchError("%s: holds another type: fingerprint %016x in the segment, %016x in this code; generate it anew" % (self.path, print_, FINGERPRINT))
        self._print, (self._stored, self._more) = print_, longer

    def _longer(self, data, most):
        """Is an encoded schema the type of this code with appended fields? Then its size, at most most, and their parts."""
        return _appended(data, most)

    def _same(self):
        """Does the name still lead to this file?"""
        try:
            st = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (st.st_dev, st.st_ino) == self._file

    # OFD locks belong to the open file: the kernel releases them when the process dies.
    def _setlk(self, kind, off):
        fcntl.fcntl(self._fd, _OFD_SETLK, struct.pack("@hhqqi4x", kind, os.SEEK_SET, off, 1, 0))

    def _held(self, off, n):
        """Is a byte locked by another open file than this one? Locks that readers share do not count."""
        r = fcntl.fcntl(self._fd, _OFD_GETLK, struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, off, n, 0))
        return struct.unpack_from("@h", r)[0] != fcntl.F_UNLCK

    def _enter(self, deadline):
        """Takes the gate. It polls: a waiter in the kernel could wait for ever for a stopped process."""
        while True:
            try:
                return self._setlk(fcntl.F_WRLCK, _GATE)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    raise BusyError("%s: another process holds the gate; it may be stopped" % self.path)
                time.sleep(50e-6)

    def _attach(self):
        """Takes a slot and releases the gate, which is held."""
        try:
            page = self._check()  # again: it may have changed before the gate was taken
            owner = struct.unpack_from("=Q", page, _OWNER)[0]
            state = owner >> 32
            if state > 4 or (state == 1) != (owner & 0xFFFFFFFF > 1023):
                raise SegmentError("%s: its owner word is damaged" % self.path)
            if state == 3 or not self._held(_SLOT, self._count) and not self._stays(state):
                raise FileNotFoundError(errno.ENOENT, "its owner has left or died", self.path)
            self._take_slot(page)
        finally:
            self._setlk(fcntl.F_UNLCK, _GATE)

    def _map_file(self, prot):
        """Maps the file as opened anew: the open file that has the locks must not be kept by a view in a forked child."""
        try:
            fd = os.open("/proc/self/fd/%d" % self._fd, (os.O_RDWR if self._write else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError:
            return mmap.mmap(self._fd, self._size, mmap.MAP_SHARED, prot)
        try:
            return mmap.mmap(fd, self._size, mmap.MAP_SHARED, prot)
        finally:
            os.close(fd)

    def _stays(self, state):
        """Does the segment stay although no other attachment exists, by its owner word? A dead owner counts for
        nothing: the segment is again what it was created as. A shared queue may have unread messages, which this
        code does not look for."""
        lifetime = {2: 3, 4: 2}.get(state, self._lifetime)
        return state != 3 and (lifetime == 3 or lifetime == 2 and 1 <= self._form <= 4)

    def _slot_off(self, i):
        """Where in the file the record of a slot is: they stand in reverse order."""
        return self._head - (i + 1) * 64

    def _take_slot(self, page):
        """Locks a free slot and writes its record."""
        slots = os.pread(self._fd, self._count * 64, self._slots)
        for hinted in (True, False):  # slots without a pid are most likely free; the lock decides
            for i in range(self._count):
                at = (self._count - 1 - i) * 64
                old = slots[at:at + 64]
                if hinted != (struct.unpack_from("=I", old, 32)[0] == 0):
                    continue
                try:
                    self._setlk(fcntl.F_WRLCK, _SLOT + i)
                except (BlockingIOError, PermissionError):
                    continue
                gen = (struct.unpack_from("=I", old)[0] + 1) & 0x1FFFFF or 1
                try:
                    ns = os.stat("/proc/self/ns/pid").st_ino
                except OSError:
                    ns = 0
                flags = 8 if struct.unpack_from("=I", old, 32)[0] else 0  # the one before did not detach
                rec = struct.pack("=I28xIIQq8x", gen, os.getpid(), flags, ns, time.time_ns())
                os.pwrite(self._fd, rec, self._slot_off(i))
                if struct.unpack_from("=I", page, _HIGH)[0] <= i:
                    os.pwrite(self._fd, struct.pack("=I", i + 1), self._head + _HIGH)
                self._id = gen << 10 | i
                return
        raise BusyError("%s: every slot is taken" % self.path)

    def _seq(self):
        return struct.unpack_from("@Q", self._map, self._head + _SEQ)[0]

    @property
    def version(self):
        """How often the value has changed."""
        self._open_here()
        return self._seq() // 2

    def load_bytes(self):
        """The bytes of the value as they were at one moment. It takes no lock, and no writer waits for it.

        seq is even while the payload is the value, and odd while the undo image is; a copy counts if seq is the
        same before and after."""
        self._open_here()
        m, tries, deadline = self._map, 0, None
        while True:
            s = self._seq()
            _fence()
            if not s & 1:
                b = m[:SIZE]
            elif self._image:  # the image, except for what it lacks: atomics and locks
                b = bytearray(m[:SIZE])
                for off, n in _PARTS:
                    b[off:off + n] = m[self._image + off:self._image + off + n]
                b = bytes(b)
            _fence()
            if (not s & 1 or self._image) and self._seq() == s:
                return b
            tries += 1
            if tries % 64 == 0:
                deadline = deadline or time.monotonic() + 1
                if time.monotonic() > deadline:
                    raise BusyError("%s: the value is being changed all the time, or its writer died and there is no undo image" % self.path)
                time.sleep(20e-6)

    def load(self):
        """The value as it was at one moment. The state of a lock means nothing in a copy."""
        return VALUE.from_buffer_copy(self.load_bytes())

    def load_numpy(self):
        """The value as a numpy scalar of DTYPE."""
        self._open_here()
        if DTYPE is None:
            raise SegmentError("numpy is not installed")
        return numpy.frombuffer(self.load_bytes(), DTYPE)[0]

    def view(self):
        """The bytes of the value in shared memory: a memoryview, in which changes show as they are made. Release it
        before close()."""
        self._open_here()
        return memoryview(self._map)[:SIZE]

    def _alive(self, i):
        """Does an attachment live? Its slot has its generation, and the byte of the slot is locked."""
        slot, gen = i & 1023, i >> 10 & 0x1FFFFF
        if i == self._id:
            return True
        if gen == 0 or slot >= self._count or self._atomics.load4(self._at + self._slot_off(slot)) != gen:
            return False
        return self._held(_SLOT + slot, 1) or self._held(_SLOT + 1024 + slot, 1)  # the latter of a passive one

    def _high(self):
        """One more than the highest slot ever taken."""
        return min(self._atomics.load4(self._at + self._head + _HIGH), self._count)

    def _wake(self, off):
        """Wakes the waiters of the object whose armed word is at off in the header page."""
        a, armed = self._atomics, self._at + self._head + off
        g = a.load4(armed)
        if not g & 1:
            return
        bit = 1 << ((((self._head + off) >> 2 & 0xFFFFFFFF) * 0x9E3779B1 & 0xFFFFFFFF) >> 26)
        for i in range(self._high()):
            s = self._at + self._slot_off(i)
            if a.load8(s + 16) & bit:
                a.or8(s + 24, bit)
                a.add4(s + 4, 1)
                if a.load4(s + 8):
                    a.futex_wake(s + 4)
        a.cas4(armed, g, g & ~1)

    def _count_event(self):
        """Tells those who wait for events that this attachment has come or gone."""
        self._atomics.add8(self._at + self._head + _EVENTS, 1)
        self._wake(_EVENTS_ARMED)

    def _unlock(self):
        word = self._at + self._head + _LOCK
        while not self._atomics.cas4(word, self._id, 0):
            w = self._atomics.load4(word)
            if w & ~_WAITERS != self._id:
                return
            if w & _WAITERS and self._atomics.cas4(word, w, 0):
                return self._wake(_LOCK_ARMED)

    @contextlib.contextmanager
    def _locked(self, timeout):
        """Holds the box's own lock. If its holder died it takes the lock over and undoes the change that was not
        finished."""
        self._open_here()
        if not self._id:
            raise SegmentError("%s: it was opened to read; attach() to write" % self.path)
        me = threading.get_ident()
        if self._writer == me:
            raise SegmentError("%s: this thread holds the lock already: store and update cannot be called in an update" % self.path)
        deadline = time.monotonic() + timeout
        if not self._mutex.acquire(timeout=min(max(timeout, 0), threading.TIMEOUT_MAX)):
            raise BusyError("%s: another thread holds the lock" % self.path)
        try:
            self._writer = me
            self._open_here()
            self._lock(deadline)
            self._refresh()
            self._restore()
            yield
        finally:
            if self._pid == os.getpid() and self._map is not None:
                self._unlock()  # only if it is held: no other thread is here
            self._writer = None
            self._mutex.release()

    def _lock(self, deadline):
        """Takes the box's own lock. It polls, so that no waker has to know of it."""
        a, word, pause, probe = self._atomics, self._at + self._head + _LOCK, 20e-6, False
        while True:
            w = a.load4(word)
            owner = w & ~_WAITERS
            if owner in (0, 1) or probe and not self._alive(owner):
                if a.cas4(word, w, self._id | w & _WAITERS):
                    break
                continue
            if time.monotonic() > deadline:
                raise BusyError("%s: slot %d holds the lock" % (self.path, owner & 1023))
            time.sleep(pause)
            probe, pause = pause >= 500e-6, min(pause * 2, 500e-6)
        # A reader sets its mark before it reads the lock word, so no new reader comes in now. Wait for
        # those that were there before and are alive.
        for i in range(self._high()):
            while True:
                r = a.load4(self._at + self._slot_off(i) + 12)
                if r == 0 or r & 1023 != i or not self._alive(r):
                    break
                if time.monotonic() > deadline:
                    raise BusyError("%s: slot %d reads" % (self.path, i))
                time.sleep(20e-6)

    def _refresh(self):
        """Looks at the type in the segment if another process has appended fields: the undo image must always hold all
        of them. The lock is held."""
        for last in [False] * 100 + [True]:  # without the gate the record may be half written
            if self._atomics.load8(self._at + self._head + 968) == self._print:
                return
            try:
                self._print = None
                return self._learn(os.pread(self._fd, 4096, self._head), self._cap, self._size)
            except _Torn:
                if last:
                    raise
                time.sleep(100e-6)

    def _move(self, to, since, parts):
        for off, n in parts:
            self._map[to + off:to + off + n] = self._map[since + off:since + off + n]

    def _restore(self):
        """Undoes the change of a writer that died. The lock is held."""
        a = self._atomics
        s = a.load8(self._at + self._head + _SEQ)
        if s & 1:
            if not self._image:
                raise OwnerDiedError("%s: a writer died changing the value, and there is no undo image" % self.path)
            self._move(0, self._image, _PARTS + self._more)
            a.store8(self._at + self._head + _SEQ, s + 1)
            self._wake(_SEQ_ARMED)

    def _put(self, value):
        """Replaces the value. The lock is held."""
        b = bytes(value)
        if len(b) != SIZE:
            raise ValueError("the value has %d bytes, not %d" % (len(b), SIZE))
        a, seq = self._atomics, self._at + self._head + _SEQ
        s = a.load8(seq)
        if self._image:
            self._move(self._image, 0, self._more)
            for off, n in _PARTS:
                self._map[self._image + off:self._image + off + n] = b[off:off + n]
        a.store8(seq, s + 1)  # odd: the image is the value
        _fence()
        for off, n in _PARTS:
            self._map[off:off + n] = b[off:off + n]
        a.store8(seq, s + 2)  # even: the payload is
        self._wake(_SEQ_ARMED)

    def store(self, value, timeout=5.0):
        """Replaces the whole value under the box's lock. Atomics and locks in it stay as they are. Other processes
        see either value, also if this one dies between any two steps."""
        with self._locked(timeout):
            self._put(value)

    @contextlib.contextmanager
    def update(self, timeout=5.0):
        """Changes the value under the box's lock: with box.update() as v: v.field += 1

        v is a copy, which is stored as a whole at the end. An exception stores nothing. If this process dies, the
        value stays as it is, and the next one takes the lock over. Atomics and locks in it stay as they are."""
        with self._locked(timeout):
            v = VALUE.from_buffer_copy(self._map[:SIZE])
            yield v
            self._open_here()
            self._put(v)

    def close(self):
        """Detaches. The last process to leave a segment that is shared, or whose owner died, unlinks it. It waits for
        a store or update of another thread."""
        if self._pid != os.getpid():
            self._disown()
            return
        if self._writer == threading.get_ident():  # inside an update
            self._leave()
            return
        with self._mutex:
            self._leave()

    def _leave(self):
        if self._fd < 0:
            return
        if self._id:
            try:
                self._resign()
            except (OSError, SegmentError):
                pass
            self._count_event()
        self._unmap()

    def _resign(self):
        """Gives up the slot. Each attachment unlocks its slot first and looks afterwards: of those that leave, the
        last one to unlock sees no other. Only that one takes the gate, and decides there."""
        slot = self._id & 1023
        # Before the unlock: after it the record may be another attachment's. A hint only.
        os.pwrite(self._fd, bytes(4), self._slot_off(slot) + 32)
        self._setlk(fcntl.F_UNLCK, _SLOT + slot)
        if self._held(_SLOT, self._count):
            return
        self._enter(time.monotonic() + 5)
        try:
            state = struct.unpack("=Q", os.pread(self._fd, 8, self._head + _OWNER))[0] >> 32
            clean = state == 3  # one that dropped it may have died before it unlinked the name
            if not clean and not self._held(_SLOT, self._count) and not self._stays(state):
                clean = os.pwrite(self._fd, struct.pack("=Q", 3 << 32), self._head + _OWNER) == 8
            if clean and self._same():
                os.unlink(self.path)
        finally:
            self._setlk(fcntl.F_UNLCK, _GATE)

    def _disown(self):
        """In a child that was forked: closes its copies. The locks of the parent's attachment belong to the open file
        that both have, so the child must not unlock, and a child that kept it open would keep the locks as well."""
        if self._fd >= 0:
            self._unmap()

    def _unmap(self):
        self._at, self._id = None, 0
        if self._map is not None:
            if self._pid == os.getpid():
                gc.collect()  # the view that the address was taken from
            try:
                self._map.close()
            except BufferError:
                pass
            self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
