# The other side of main.go: a Python program with a file in /dev/shm.
# It uses os.open and mmap instead of multiprocessing.shared_memory, which may unlink a segment at exit that
# it only attached to (https://github.com/python/cpython/issues/82300).
import mmap, os, struct, sys

what, path = sys.argv[1:]
make = what == "make"
sample = struct.Struct("=qd16s")
if make:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
try:
    if make:
        os.posix_fallocate(fd, 0, sample.size)
        sample.pack_into(mmap.mmap(fd, sample.size), 0, 1, 0.5, b"made by Python")
        print("made", flush=True)
    if sys.stdin.readline():
        if not make:
            fd = os.open(path, os.O_RDWR)
        memory = mmap.mmap(fd, sample.size)  # the value of a box is at the beginning of its file
        count, level, label = sample.unpack_from(memory)
        sample.pack_into(memory, 0, count + 1, level + 0.25, b"seen by Python")
        print(f'python sees {count} {level:.2f} "{label.rstrip(bytes(1)).decode()}"', flush=True)
        sys.stdin.readline()
finally:
    if make:
        os.unlink(path)
