import sys
import time

sys.path.insert(0, sys.argv[4])
import poly


def fill(v, n):
    v.N = v.End = n
    v.A[:] = [n & 0xFFFFFFFF] * 7
    v.Tail[:] = [n] * 200
    v.Name = b"%d" % (n % 100000000)
    v.In.X = n & 0x7FFF
    v.In.Y = n


def good(v):
    n = v.N
    return (v.End == n and v.A[:] == [n & 0xFFFFFFFF] * 7 and v.Tail[:] == [n] * 200 and v.Name == b"%d" % (n % 100000000)
            and v.In.X == n & 0x7FFF and v.In.Y == n)


mode, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
try:
    box = poly.PolyBox.attach(name) if mode == "write" else poly.PolyBox.open(name)
except (poly.SegmentError, OSError) as e:
    print("error", e)
    sys.exit(1)
print("up", flush=True)
sys.stdin.readline()
end, n, torn, busy, last, distinct = time.monotonic() + seconds, 0, 0, 0, None, 0
with box:
    if mode == "write":
        first = n = box.load().N
    else:
        first = 0
    while time.monotonic() < end:
        if mode == "write":
            v = poly.Poly()
            fill(v, n + 1)
            box.store(v)
        else:
            try:
                v = box.load_numpy() if mode == "numpy" else box.load()
            except poly.BusyError:
                busy += 1
                continue
            if mode == "numpy":
                k = int(v["N"])
                ok = bool((v["Tail"] == k).all()) and bool((v["A"] == k & 0xFFFFFFFF).all()) and int(v["End"]) == k and v["In"]["Y"] == k
            else:
                k, ok = v.N, good(v)
            torn += not ok
            distinct += k != last
            last = k
        n += 1
print("done", n - first, "torn", torn, "busy", busy, "distinct", distinct)
