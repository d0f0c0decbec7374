import multiprocessing
import os
import pickle
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import poly
import tally


def add(v):
    v.N += 1
    v.In.Sum += 1
    v.M += 1


def raises(error, f):
    try:
        f()
    except error:
        return
    raise AssertionError("no %s" % error.__name__)


def count(box, n):
    i = 0
    while i < n:
        try:
            with box.update() as v:
                add(v)
        except tally.BusyError:  # a loaded machine
            continue
        i += 1
    try:
        with box.update() as v:
            v.N = 0
            raise KeyError
    except KeyError:
        pass
    with box.update() as v:
        raises(tally.SegmentError, lambda: box.store(v))
    return n


def inert(box):
    """What a forked child may do with the box of its parent: nothing."""
    raises(tally.ForkedError, box.load)
    raises(tally.ForkedError, box.load_numpy)
    raises(tally.ForkedError, box.view)
    raises(tally.ForkedError, lambda: box.store(tally.Tally()))
    raises(tally.ForkedError, lambda: box.update().__enter__())
    raises(tally.ForkedError, lambda: box.version)
    box.close()
    box.close()


def in_child(f):
    pid = os.fork()
    if pid == 0:
        try:
            f()
            os._exit(0)
        except BaseException as e:
            print("child:", repr(e), file=sys.stderr)
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def forked(box):
    reader, seen = tally.TallyBox.open(box.path), box.view()
    assert in_child(lambda: inert(box)) == 0
    assert in_child(lambda: inert(reader)) == 0
    assert in_child(lambda: (seen[0], box.close())) == 0  # a view from before is still memory

    def end():
        raise SystemExit  # runs the end of the update

    def fork_in_update():
        with box.update() as v:
            add(v)
            if os.fork() == 0:
                end()
            assert os.wait()[1] == 0

    try:
        fork_in_update()
    except SystemExit:
        os._exit(0)

    def commit_in_child():
        with box.update() as v:
            if os.fork() == 0:
                v.N = 99
                return True
            assert os.wait()[1] == 0

    try:
        commit_in_child()
    except tally.ForkedError:
        os._exit(0)
    del seen
    reader.close()
    return 1


def work(box):
    with box.update() as v:
        add(v)
    box.close()


def by_fork(box):
    inert(box)
    with pickle.loads(pickle.dumps(box)) as own:  # a name, which a child opens anew
        with own.update() as v:
            add(v)


def processes(box):
    n = 0
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        for target in [by_fork if method == "fork" else work] * 2:
            p = context.Process(target=target, args=(box,))
            p.start()
            p.join()
            assert p.exitcode == 0, (method, p.exitcode)
            n += 1
    closed = tally.TallyBox.open(box.path)
    closed.close()
    raises(TypeError, lambda: pickle.dumps(closed))
    return n


def outlived(box):
    """Leaves a child that goes on, and is killed while it holds the lock."""
    with box.update() as v:
        v.N = 12345
        pid = os.fork()
        if pid == 0:
            sys.stdin.read()
            os._exit(0)
        print("held", flush=True)
        time.sleep(1000)


def main():
    mode, path = sys.argv[1], sys.argv[2]
    raises(poly.MismatchError, lambda: poly.PolyBox.open(path))
    box = tally.TallyBox.open(path) if mode == "read" else tally.TallyBox.attach(path)
    print("up", flush=True)
    sys.stdin.readline()
    with box:
        if mode == "hold":
            with box.update() as v:
                v.N = 12345
                print("held", flush=True)
                time.sleep(1000)
        n = {"read": lambda: box.load().N, "count": lambda: count(box, int(sys.argv[3])), "fork": lambda: forked(box),
             "processes": lambda: processes(box), "outlived": lambda: outlived(box)}[mode]()
    raises(tally.SegmentError, box.load)
    print("done", n)


if __name__ == "__main__":
    try:
        main()
    except (tally.SegmentError, OSError) as e:
        print("error", e)
        sys.exit(1)
