"""Python's multiprocessing, measured as native/bench.h does."""
import multiprocessing as mp
import os
import struct
import sys
import time
from multiprocessing import shared_memory

LIMIT = int(os.environ.get("BENCH_MS", "100")) * 1_000_000
NAME = os.path.basename(os.environ.get("BENCH_DIR", "shmem-bench")) + ".py"  # removed after the trial
SIZE = int(os.environ.get("BENCH_SIZE", "64"))
peers = []
now = time.perf_counter_ns


def cpu():
    return time.process_time_ns() + sum(time.clock_gettime_ns((~p.pid << 3) | 2) for p in peers)


def start(f, *args):
    p = mp.Process(target=f, args=args, daemon=True)
    p.start()
    peers.append(p)


def report(ops, ns, c):
    threads = rss = 0
    for pid in [os.getpid()] + [p.pid for p in peers]:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("Threads:"):
                threads += int(line.split()[1])
            if line.startswith("VmRSS:"):
                rss += int(line.split()[1]) * 1024
    sys.stdout.buffer.write(b"%d %d %d %d %d\n" % (ops, ns, c, threads, rss))


def loop(op, limit):
    n, begin = 1, now()
    while now() - begin < limit // 5:
        t = now()
        for _ in range(n):
            op()
        if now() - t < limit // 50:
            n *= 2
    ops, c, begin = 0, cpu(), now()
    while now() - begin < limit:
        for _ in range(n):
            op()
        ops += n
    report(ops, now() - begin, cpu() - c)


def each(op):
    loop(op, LIMIT // 2)
    begin = now()
    while now() - begin < LIMIT // 2:
        t = now()
        op()
        sys.stdout.buffer.write(struct.pack("<Q", now() - t))


def count(value):
    while not value():
        pass
    time.sleep(LIMIT / 5e9)
    n, c, begin = value(), cpu(), now()
    time.sleep(max(LIMIT / 1e9, 0.1))
    n = value() - n
    report(n, now() - begin, cpu() - c)


def echo_pipe(c):
    while True:
        c.send_bytes(c.recv_bytes())


def echo_queue(a, b):
    while True:
        b.put(a.get())


def source(q):
    message = bytes(SIZE)
    while True:
        q.put(message)


def hammer(lock, counter):
    while True:
        with lock:
            counter.value += 1


def writer(name, lock):
    shm = shared_memory.SharedMemory(name)
    n = 0
    while True:
        n += 1
        value = n.to_bytes(8, "little") * 512
        with lock:
            shm.buf[:4096] = value


def roundtrip(kind):
    message = bytes(SIZE)
    if kind == "pipe":
        mine, other = mp.Pipe()
        start(echo_pipe, other)

        def op():
            mine.send_bytes(message)
            mine.recv_bytes()
    else:
        a, b = mp.Queue(), mp.Queue()
        start(echo_queue, a, b)

        def op():
            a.put(message)
            b.get()
    each(op)


def stream(_):
    q = mp.Queue(1024)
    start(source, q)
    loop(q.get, LIMIT)


def lock(how):
    lk, counter = mp.Lock(), mp.Value("q", 0, lock=False)
    if how == "alone":
        def op():
            with lk:
                counter.value += 1
        loop(op, LIMIT)
    else:
        start(hammer, lk, counter)
        start(hammer, lk, counter)
        count(lambda: counter.value)


def counter(_):
    value = mp.Value("q", 0)
    start(hammer, value.get_lock(), value)
    start(hammer, value.get_lock(), value)
    count(lambda: value.value)


def open_(how):
    first = None if how == "new" else shared_memory.SharedMemory(NAME, create=True, size=4096)
    if first is not None:  # up to 3.12 attaching registers the name for unlinking once more
        from multiprocessing import resource_tracker
        resource_tracker.register = lambda *a: None
        resource_tracker.unregister = lambda *a: None

    def op():
        shm = shared_memory.SharedMemory(NAME, create=first is None, size=4096)
        shm.buf[0] = 1
        shm.close()
        if first is None:
            shm.unlink()
    each(op)
    if first is not None:
        first.close()
        first.unlink()


def snapshot(_):
    shm, lk = shared_memory.SharedMemory(NAME, create=True, size=4096), mp.Lock()
    start(writer, shm.name, lk)
    while not shm.buf[0]:
        pass

    def op():
        with lk:
            return bytes(shm.buf[:4096])
    each(op)
    for p in peers:
        p.kill()
        p.join()
    shm.close()
    shm.unlink()


if __name__ == "__main__":
    mp.set_start_method("fork")
    what, how = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    {"roundtrip": roundtrip, "stream": stream, "lock": lock, "counter": counter, "open": open_, "snapshot": snapshot}[what](how)
    sys.stdout.buffer.flush()
    for p in peers:
        p.kill()
    os._exit(0)
