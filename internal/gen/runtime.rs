// ---- ShmemBox runtime, the same in every generated module. docs/format.md describes the bytes and the
// protocols. ----

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("ShmemBox segments need 64-bit Linux");

use super::{Value, FINGERPRINT, PARTS, SCHEMA, SIZE};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::io::AsRawFd;
use std::sync::atomic::{fence, AtomicU32, AtomicU64, AtomicU8, Ordering::*};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

// The first pattern matches in edition 2024, which has unsafe extern; older compilers cannot read that.
macro_rules! c_functions {
    ($e:expr) => {
        unsafe extern "C" {
            fn mmap(addr: *mut c_void, len: usize, prot: i32, flags: i32, fd: i32, off: i64) -> *mut c_void;
            fn munmap(addr: *mut c_void, len: usize) -> i32;
            fn fcntl(fd: i32, cmd: i32, ...) -> i32;
            fn syscall(number: i64, ...) -> i64;
        }
    };
    (_) => {
        extern "C" {
            fn mmap(addr: *mut c_void, len: usize, prot: i32, flags: i32, fd: i32, off: i64) -> *mut c_void;
            fn munmap(addr: *mut c_void, len: usize) -> i32;
            fn fcntl(fd: i32, cmd: i32, ...) -> i32;
            fn syscall(number: i64, ...) -> i64;
        }
    };
}
c_functions!(_);

#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "powerpc64"))]
const O_NOFOLLOW: i32 = 0o100000;
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm", target_arch = "powerpc64")))]
const O_NOFOLLOW: i32 = 0o400000;
const O_NONBLOCK: i32 = 0o4000; // O_CLOEXEC is std's

#[cfg(target_arch = "x86_64")]
const SYS_FUTEX: i64 = 202;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64"))]
const SYS_FUTEX: i64 = 98;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")))]
const SYS_FUTEX: i64 = -1; // waiters wake after 100 ms

// Bytes of the file that are locked; no data is there.
const GATE: i64 = 1 << 62;
const SLOT: i64 = GATE + 16;
const PASSIVE: i64 = SLOT + 1024;
const WAITERS: u32 = 1 << 31; // bit of a lock word
// Offsets in the header page, the last 4096 bytes of the file.
const OWNER: usize = 256;
const HIGH: usize = 264;
const LOCK: usize = 320;
const LOCK_ARMED: usize = 324;
const SEQ: usize = 384;
const SEQ_ARMED: usize = 392;
const EVENTS: usize = 512;
const EVENTS_ARMED: usize = 520;

#[repr(C)]
struct Flock {
    kind: i16,
    whence: i16,
    start: i64,
    len: i64,
    pid: i32,
}

/// Why a box cannot be used.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// The segment holds another type, or none.
    Mismatch(String),
    /// The file is no segment of this version, or damaged.
    Bad(String),
    /// The value, the lock or the gate is busy.
    Busy(String),
    /// A writer died changing the value, and there is no undo image.
    OwnerDied(String),
    /// Another process opened the box, and this one was forked from it.
    Forked(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io(e) => e.fmt(f),
            Error::Mismatch(s) | Error::Bad(s) | Error::Busy(s) | Error::OwnerDied(s) | Error::Forked(s) => f.write_str(s),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Error::Io(e)
    }
}

type Result<T> = std::result::Result<T, Error>;

fn crc32c(data: &[u8]) -> u32 {
    let mut c = !0u32;
    for x in data {
        c ^= *x as u32;
        for _ in 0..8 {
            c = c >> 1 ^ (0x82F6_3B78 & (c & 1).wrapping_neg());
        }
    }
    !c
}

fn u32_at(p: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]])
}

fn u64_at(p: &[u8], at: usize) -> u64 {
    let mut b = [0; 8];
    b.copy_from_slice(&p[at..at + 8]);
    u64::from_ne_bytes(b)
}

const ATOMIC: u8 = 0x80; // bit of a kind in a schema
const ARRAY: u8 = 17;
const STRUCT: u8 = 18;
const SYNC: u8 = 19;

/// Reads an encoded schema; None where it makes no sense. One of this code has no names and alignments of Go types.
#[derive(Clone, Copy)]
struct Schema<'a> {
    rest: &'a [u8],
    full: bool,
}

impl<'a> Schema<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn uint(&mut self) -> Option<u64> {
        let mut v = 0;
        for shift in (0..64).step_by(7) {
            let c = self.byte()?;
            v |= ((c & 0x7f) as u64) << shift;
            if c & 0x80 == 0 {
                return Some(v);
            }
        }
        None
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        let n = self.uint()?;
        if n > self.rest.len() as u64 {
            return None;
        }
        let (name, rest) = self.rest.split_at(n as usize);
        self.rest = rest;
        Some(name)
    }

    /// The beginning of a type: its kind, the name of a lock, and its size.
    fn head(&mut self) -> Option<(u8, &'a [u8], u64)> {
        let kind = self.byte()?;
        let name: &'a [u8] = if self.full || kind == SYNC { self.name()? } else { &[] };
        let size = self.uint()?;
        if self.full {
            self.uint()?; // alignment
        }
        Some((kind, if kind == SYNC { name } else { &[] }, size))
    }

    /// Reads the same type from both.
    fn equal(&mut self, own: &mut Schema, depth: u32) -> Option<()> {
        let (kind, name, size) = self.head()?;
        if depth > 64 || (kind, name, size) != own.head()? {
            return None;
        }
        if kind == ARRAY {
            if self.uint()? != own.uint()? {
                return None;
            }
            self.equal(own, depth + 1)?;
        }
        if kind == STRUCT {
            let n = self.uint()?;
            if n != own.uint()? {
                return None;
            }
            for _ in 0..n {
                self.field(own, depth)?;
            }
        }
        Some(())
    }

    fn field(&mut self, own: &mut Schema, depth: u32) -> Option<()> {
        if self.name()? != own.name()? || self.uint()? != own.uint()? {
            return None;
        }
        self.equal(own, depth + 1)
    }

    /// Collects the parts of a type at off, and says whether it has sync/atomic or psync fields.
    fn parts(&mut self, off: u64, more: &mut More, depth: u32) -> Option<bool> {
        let (kind, _, size) = self.head()?;
        if depth > 64 || size == 0 {
            return None;
        }
        if kind & ATOMIC != 0 || kind == SYNC {
            more.apart(off, size)?;
            return Some(true);
        }
        let mut found = false;
        if kind == ARRAY {
            let n = self.uint()?;
            if n == 0 {
                return None;
            }
            let elem = *self;
            for i in 0..n {
                *self = elem;
                found = self.parts(off.checked_add(i.checked_mul(size / n)?)?, more, depth + 1)?;
                if !found {
                    break;
                }
            }
        }
        if kind == STRUCT {
            for _ in 0..self.uint()? {
                self.name()?;
                let at = self.uint()?;
                found |= self.parts(off.checked_add(at)?, more, depth + 1)?;
            }
        }
        Some(found)
    }
}

/// What the box's lock protects of the fields that were appended to the type of this code.
struct More {
    size: u64, // of the type in the segment
    end: u64,  // where the next part begins
    parts: Vec<(usize, usize)>,
}

impl More {
    fn new(size: u64) -> More {
        More { size, end: SIZE as u64, parts: Vec::new() }
    }

    /// Ends a part before bytes that the lock does not protect.
    fn apart(&mut self, off: u64, size: u64) -> Option<()> {
        if off < self.end || off > self.size || size > self.size - off || self.parts.len() > 16384 {
            return None;
        }
        if off > self.end {
            self.parts.push((self.end as usize, (off - self.end) as usize));
        }
        self.end = off + size;
        Some(())
    }

    /// Reads an encoded schema that is the type of this code with appended fields, of at most most bytes.
    fn of(schema: &[u8], most: u64) -> Option<More> {
        let (mut there, mut here) = (Schema { rest: schema, full: true }, Schema { rest: &SCHEMA, full: false });
        let version = there.byte()?;
        let ((kind, _, size), (own, _, own_size)) = (there.head()?, here.head()?);
        if version != 1 || kind != STRUCT || own != STRUCT || size < own_size || size > most || own_size != SIZE as u64 {
            return None;
        }
        let (n, m) = (there.uint()?, here.uint()?);
        for _ in 0..m {
            there.field(&mut here, 0)?;
        }
        let mut more = More::new(size);
        for _ in 0..n.checked_sub(m)? {
            there.name()?;
            let at = there.uint()?;
            if at < SIZE as u64 {
                return None;
            }
            there.parts(at, &mut more, 0)?;
        }
        more.apart(size, 0)?;
        Some(more)
    }
}

/// An open segment.
struct Segment {
    file: File,
    path: String,
    base: *mut u8,
    size: usize,
    id: u32, // of the attachment: generation << 10 | slot; 0: read-only, without a slot
    cap: u64,
    image: u64,
    slots: u64,
    lifetime: u32, // as which it was created
    form: u32, // which ring it is
    count: u32,
    dev: u64,
    ino: u64,
    pid: u32,           // of the process that opened it
    print: Cell<u64>,   // of the type in the segment when it was last looked at; that type may have more fields
    more: RefCell<More>,
}

unsafe impl Send for Segment {}

impl Segment {
    fn open(name: &str, write: bool) -> Result<Segment> {
        let path = if name.contains('/') { name.to_string() } else { format!("/dev/shm/{}", name) };
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let file = OpenOptions::new().read(true).write(write).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path)?;
            let mut s = Segment {
                file, path: path.clone(), base: std::ptr::null_mut(), size: 0, id: 0, cap: 0, image: 0, slots: 0, lifetime: 0, form: 0, count: 0, dev: 0, ino: 0,
                pid: std::process::id(), print: Cell::new(0), more: RefCell::new(More::new(SIZE as u64)),
            };
            for tries in 0.. {
                match s.check() {
                    Err(Error::Busy(_)) if tries < 100 => std::thread::sleep(Duration::from_micros(100)), // its type is being written
                    Err(e) => return Err(e),
                    Ok(_) => break,
                }
            }
            if !write {
                s.map(1)?;
                return Ok(s);
            }
            // Before there is a slot: nothing may fail with one, since another attachment may have left meanwhile,
            // and rely on this one for the cleanup.
            s.map(3)?;
            s.enter(deadline)?;
            if !s.same() {
                if Instant::now() > deadline {
                    return Err(Error::Busy(format!("{}: other processes create and remove it all the time", path)));
                }
                continue; // removed a moment ago: try the file that has the name now
            }
            let taken = s.attach();
            s.leave();
            taken?;
            s.count_event();
            return Ok(s);
        }
    }

    /// Reads the control block, and checks everything that this code relies on.
    fn check(&mut self) -> Result<Vec<u8>> {
        let bad = |why: &str| Err(Error::Bad(format!("{}: {}", self.path, why)));
        let meta = self.file.metadata()?;
        let mut page = vec![0; 4096];
        if !meta.is_file() || meta.len() < 4096 {
            return bad("not a ShmemBox segment");
        }
        self.file.read_exact_at(&mut page, meta.len() - 4096)?;
        if &page[..8] != b"ShmemBox" {
            return bad("not a ShmemBox segment");
        }
        if u32_at(&page, 12) != 0x01020304 {
            return bad("made by a machine of the other byte order");
        }
        if u32_at(&page, 8) != 2 {
            return bad(&format!("it is of format version {}, this code reads 2", u32_at(&page, 8)));
        }
        let (total, cap, control) = (u64_at(&page, 16), u64_at(&page, 24), u64_at(&page, 32));
        let (image, slots, count) = (u64_at(&page, 40), u64_at(&page, 64), u32_at(&page, 72));
        if crc32c(&page[..244]) != u32_at(&page, 244) || total != meta.len() || total % 4096 != 0 || u32_at(&page, 84) != 0 || control > total || cap > control
            || count < 1 || count > 1024 || slots > total || slots + count as u64 * 64 + 4096 != total || slots < control
            || u32_at(&page, 160) < 1 || u32_at(&page, 160) > 3 || u32_at(&page, 164) > 5
            || image % 64 != 0 || image != 0 && (image < control || image > slots || cap > slots - image)
        {
            return bad("its control block is damaged");
        }
        if u64_at(&page, 184) != meta.ino() {
            return bad("it is a copy of a segment");
        }
        if !self.base.is_null() && self.size != total as usize {
            return bad("its control block is damaged"); // mapped by another size
        }
        self.size = total as usize;
        self.cap = cap;
        self.learn(&page)?;
        self.image = image;
        self.slots = slots;
        self.lifetime = u32_at(&page, 160);
        self.form = u32_at(&page, 164);
        self.count = count;
        self.dev = meta.dev();
        self.ino = meta.ino();
        Ok(page)
    }

    /// Checks by the schema record in the header page that the segment holds the type of this code, with or without
    /// appended fields. Busy: the record is half written.
    fn learn(&self, page: &[u8]) -> Result<()> {
        let (kind, length) = (u32_at(page, 960), u32_at(page, 964) as usize);
        let (print, size, off) = (u64_at(page, 968), u64_at(page, 976), u64_at(page, 984));
        if kind < 1 || kind > 3 {
            return Err(Error::Mismatch(format!("{}: it has no schema; this code is for fingerprint {:016x}", self.path, FINGERPRINT)));
        }
        if size > self.cap || print == FINGERPRINT && size < SIZE as u64 {
            return Err(Error::Bad(format!("{}: its schema is damaged", self.path)));
        }
        let mut more = None;
        if print == FINGERPRINT {
            more = Some(More::new(SIZE as u64));
        } else if kind != 3 {
            let mut record = page[960..992].to_vec();
            if kind == 1 && length <= 3096 {
                record.extend_from_slice(&page[1000..1000 + length]);
            } else if kind == 2 && off <= self.size as u64 && length as u64 <= self.size as u64 - off {
                record.resize(32 + length, 0);
                self.file.read_exact_at(&mut record[32..], off)?;
            }
            if crc32c(&record) != u32_at(page, 992) {
                return Err(Error::Busy(format!("{}: its schema is damaged, or being written", self.path)));
            }
            more = More::of(&record[32..], size);
        }
        match more {
            Some(m) => {
                self.print.set(print);
                self.more.replace(m);
                Ok(())
            }
            None => Err(Error::Mismatch(format!(
                "{}: holds another type: fingerprint {:016x} in the segment, {:016x} in this code; generate it anew",
                self.path, print, FINGERPRINT
            ))),
        }
    }

    /// Looks at the type in the segment if another process has appended fields: the undo image must always hold all of
    /// them. The lock is held.
    fn refresh(&self) -> Result<()> {
        let word = unsafe { &*(self.base.add(self.size - 4096 + 968) as *const AtomicU64) };
        for tries in 0.. {
            if word.load(SeqCst) == self.print.get() {
                break;
            }
            let mut page = vec![0; 4096];
            self.file.read_exact_at(&mut page, self.size as u64 - 4096)?;
            match self.learn(&page) {
                Err(Error::Busy(_)) if tries < 100 => std::thread::sleep(Duration::from_micros(100)), // half written
                r => return r,
            }
        }
        Ok(())
    }

    /// Fails in a child that was forked since the box was opened.
    fn mine(&self) -> Result<()> {
        if self.pid != std::process::id() {
            return Err(Error::Forked(format!("{}: process {} opened it before a fork; open it anew in this one", self.path, self.pid)));
        }
        Ok(())
    }

    fn map(&mut self, prot: i32) -> Result<()> {
        let p = unsafe { mmap(std::ptr::null_mut(), self.size, prot, 1, self.file.as_raw_fd(), 0) };
        if p as isize == -1 {
            return Err(io::Error::last_os_error().into());
        }
        self.base = p as *mut u8;
        Ok(())
    }

    /// Does the name still lead to this file?
    fn same(&self) -> bool {
        std::fs::symlink_metadata(&self.path).map_or(false, |m| m.dev() == self.dev && m.ino() == self.ino)
    }

    // OFD locks belong to the open file: the kernel releases them when the process dies.
    fn setlk(&self, kind: i16, at: i64) -> io::Result<()> {
        let l = Flock { kind, whence: 0, start: at, len: 1, pid: 0 };
        match unsafe { fcntl(self.file.as_raw_fd(), 37, &l as *const Flock) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Is a byte locked by another open file than this one? Locks that readers share do not count.
    fn held(&self, at: i64, n: i64) -> bool {
        let mut l = Flock { kind: 0, whence: 0, start: at, len: n, pid: 0 };
        let r = unsafe { fcntl(self.file.as_raw_fd(), 36, &mut l as *mut Flock) };
        r == -1 || l.kind != 2
    }

    /// Takes the gate. It polls: a waiter in the kernel could wait for ever for a stopped process.
    fn enter(&self, deadline: Instant) -> Result<()> {
        while let Err(e) = self.setlk(1, GATE) {
            if e.kind() != io::ErrorKind::WouldBlock && e.kind() != io::ErrorKind::PermissionDenied {
                return Err(e.into());
            }
            if Instant::now() > deadline {
                return Err(Error::Busy(format!("{}: another process holds the gate; it may be stopped", self.path)));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }

    fn leave(&self) {
        let _ = self.setlk(2, GATE);
    }

    /// Does the segment stay although no other attachment exists, by its owner word? A dead owner counts for
    /// nothing: the segment is again what it was created as. A shared queue may have unread messages, which this
    /// code does not look for.
    fn stays(&self, state: u64) -> bool {
        let lifetime = match state {
            2 => 3,
            4 => 2,
            _ => self.lifetime,
        };
        state != 3 && (lifetime == 3 || lifetime == 2 && self.form >= 1 && self.form <= 4)
    }

    /// Where in the file the record of a slot is: they stand in reverse order.
    fn slot_off(&self, i: u32) -> u64 {
        self.size as u64 - 4096 - (i as u64 + 1) * 64
    }

    /// Locks a free slot and writes its record. The gate is held.
    fn attach(&mut self) -> Result<()> {
        let page = self.check()?; // again: it may have changed before the gate was taken
        let owner = u64_at(&page, OWNER);
        let state = owner >> 32;
        if state > 4 || (state == 1) != (owner as u32 > 1023) {
            return Err(Error::Bad(format!("{}: its owner word is damaged", self.path)));
        }
        if state == 3 || !self.held(SLOT, self.count as i64) && !self.stays(state) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{}: its owner has left or died", self.path)).into());
        }
        let mut slots = vec![0; self.count as usize * 64];
        self.file.read_exact_at(&mut slots, self.slots)?;
        for hinted in [true, false] {
            // slots without a pid are most likely free; the lock decides
            for i in 0..self.count {
                let old = &slots[(self.count - 1 - i) as usize * 64..][..64];
                if hinted != (u32_at(old, 32) == 0) {
                    continue;
                }
                if let Err(e) = self.setlk(1, SLOT + i as i64) {
                    if e.kind() != io::ErrorKind::WouldBlock && e.kind() != io::ErrorKind::PermissionDenied {
                        return Err(e.into());
                    }
                    continue;
                }
                let age = match u32_at(old, 0).wrapping_add(1) & 0x1f_ffff {
                    0 => 1,
                    n => n,
                };
                let ns = std::fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino());
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64);
                let mut rec = [0u8; 64];
                rec[0..4].copy_from_slice(&age.to_ne_bytes());
                rec[32..36].copy_from_slice(&std::process::id().to_ne_bytes());
                let flags = if u32_at(old, 32) != 0 { 8u32 } else { 0 }; // the one before did not detach
                rec[36..40].copy_from_slice(&flags.to_ne_bytes());
                rec[40..48].copy_from_slice(&ns.to_ne_bytes());
                rec[48..56].copy_from_slice(&now.to_ne_bytes());
                self.file.write_all_at(&rec, self.slot_off(i))?;
                if u32_at(&page, HIGH) <= i {
                    self.file.write_all_at(&(i + 1).to_ne_bytes(), (self.size - 4096 + HIGH) as u64)?;
                }
                self.id = age << 10 | i;
                return Ok(());
            }
        }
        Err(Error::Busy(format!("{}: every slot is taken", self.path)))
    }

    fn w32(&self, off: usize) -> &AtomicU32 {
        unsafe { &*(self.base.add(self.size - 4096 + off) as *const AtomicU32) }
    }

    fn seq(&self) -> &AtomicU64 {
        unsafe { &*(self.base.add(self.size - 4096 + SEQ) as *const AtomicU64) }
    }

    fn slot32(&self, i: u32, off: usize) -> &AtomicU32 {
        unsafe { &*(self.base.add(self.slot_off(i) as usize + off) as *const AtomicU32) }
    }

    fn slot64(&self, i: u32, off: usize) -> &AtomicU64 {
        unsafe { &*(self.base.add(self.slot_off(i) as usize + off) as *const AtomicU64) }
    }

    /// One more than the highest slot ever taken.
    fn high(&self) -> u32 {
        self.w32(HIGH).load(SeqCst).min(self.count)
    }

    /// Reads memory that other processes may write meanwhile, in whole words where it can. The caller finds out
    /// by the counter whether the copy counts.
    unsafe fn copy(mut dst: *mut u8, mut src: *const u8, mut n: usize) {
        while n > 0 && (src as usize & 7 != 0 || n < 8) {
            *dst = (*(src as *const AtomicU8)).load(Relaxed);
            dst = dst.add(1);
            src = src.add(1);
            n -= 1;
        }
        while n >= 8 {
            (dst as *mut u64).write_unaligned((*(src as *const AtomicU64)).load(Relaxed));
            dst = dst.add(8);
            src = src.add(8);
            n -= 8;
        }
        while n > 0 {
            *dst = (*(src as *const AtomicU8)).load(Relaxed);
            dst = dst.add(1);
            src = src.add(1);
            n -= 1;
        }
    }

    /// Writes memory that other processes may read meanwhile.
    unsafe fn put(mut dst: *mut u8, mut src: *const u8, mut n: usize) {
        while n > 0 && (dst as usize & 7 != 0 || n < 8) {
            (*(dst as *const AtomicU8)).store(*src, Relaxed);
            dst = dst.add(1);
            src = src.add(1);
            n -= 1;
        }
        while n >= 8 {
            (*(dst as *const AtomicU64)).store((src as *const u64).read_unaligned(), Relaxed);
            dst = dst.add(8);
            src = src.add(8);
            n -= 8;
        }
        while n > 0 {
            (*(dst as *const AtomicU8)).store(*src, Relaxed);
            dst = dst.add(1);
            src = src.add(1);
            n -= 1;
        }
    }

    /// Copies what the box's lock protects: all but sync/atomic and psync fields.
    unsafe fn put_parts(dst: *mut u8, src: *const u8, parts: &[(usize, usize)]) {
        for (off, n) in parts {
            Segment::put(dst.add(*off), src.add(*off), *n);
        }
    }

    /// Copies the value. seq is even while the payload is the value, and odd while the undo image is; a copy
    /// counts if seq is the same before and after.
    unsafe fn load(&self, dst: *mut u8) -> Result<()> {
        self.mine()?;
        let mut deadline = None;
        for tries in 1u64.. {
            let s = self.seq().load(Acquire);
            if s & 1 == 0 || self.image != 0 {
                Segment::copy(dst, self.base, SIZE);
                if s & 1 != 0 {
                    // the image, except for what it lacks: atomics and locks
                    for (off, n) in PARTS.iter() {
                        Segment::copy(dst.add(*off), self.base.add(self.image as usize + *off), *n);
                    }
                }
                fence(Acquire);
                if self.seq().load(Relaxed) == s {
                    return Ok(());
                }
            }
            if tries % 64 == 0 {
                let end = *deadline.get_or_insert_with(|| Instant::now() + Duration::from_secs(1));
                if Instant::now() > end {
                    break;
                }
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        Err(Error::Busy(format!("{}: the value is being changed all the time, or its writer died and there is no undo image", self.path)))
    }

    /// Does an attachment live? Its slot has its generation, and the byte of the slot is locked.
    fn alive(&self, id: u32) -> bool {
        let (slot, age) = (id & 1023, id >> 10 & 0x1f_ffff);
        if id == self.id {
            return true;
        }
        let held = || self.held(SLOT + slot as i64, 1) || self.held(PASSIVE + slot as i64, 1);
        age != 0 && slot < self.count && self.slot32(slot, 0).load(SeqCst) == age && held()
    }

    /// Wakes the waiters of the object whose armed word is at off in the header page.
    fn wake(&self, off: usize) {
        let armed = self.w32(off);
        let g = armed.load(SeqCst);
        if g & 1 == 0 {
            return;
        }
        let at = (self.size - 4096 + off) as u64;
        let bit = 1u64 << (((at >> 2) as u32).wrapping_mul(0x9E37_79B1) >> 26);
        for i in 0..self.high() {
            if self.slot64(i, 16).load(SeqCst) & bit == 0 {
                continue;
            }
            self.slot64(i, 24).fetch_or(bit, SeqCst);
            self.slot32(i, 4).fetch_add(1, SeqCst);
            if self.slot32(i, 8).load(SeqCst) != 0 && SYS_FUTEX >= 0 {
                unsafe { syscall(SYS_FUTEX, self.slot32(i, 4) as *const AtomicU32, 1i32, i32::MAX, 0usize, 0usize, 0i32) };
            }
        }
        let _ = armed.compare_exchange(g, g & !1, SeqCst, SeqCst);
    }

    fn unlock(&self) {
        let word = self.w32(LOCK);
        let mut w = self.id;
        while w & !WAITERS == self.id {
            match word.compare_exchange(w, 0, SeqCst, SeqCst) {
                Ok(_) => {
                    if w & WAITERS != 0 {
                        self.wake(LOCK_ARMED);
                    }
                    return;
                }
                Err(now) => w = now,
            }
        }
    }

    /// Takes the box's own lock. If the holder died it takes the lock over and undoes the change that was not
    /// finished. It polls, so that no waker has to know of it.
    fn lock(&self, timeout: Duration) -> Result<Locked<'_>> {
        self.mine()?;
        if self.id == 0 {
            return Err(Error::Bad(format!("{}: it was opened to read; attach to write", self.path)));
        }
        let word = self.w32(LOCK);
        let mut deadline = None;
        let (mut pause, mut waited) = (20u64, 0);
        loop {
            let w = word.load(SeqCst);
            let owner = w & !WAITERS;
            let probe = waited >= 1000;
            if probe {
                waited = 0;
            }
            if owner <= 1 || probe && !self.alive(owner) {
                if word.compare_exchange(w, self.id | w & WAITERS, SeqCst, SeqCst).is_ok() {
                    break;
                }
                continue;
            }
            if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + timeout) {
                return Err(Error::Busy(format!("{}: slot {} holds the lock", self.path, owner & 1023)));
            }
            std::thread::sleep(Duration::from_micros(pause));
            waited += pause;
            pause = (pause * 2).min(500);
        }
        let locked = Locked(self);
        // A reader sets its mark before it reads the lock word, so no new reader comes in now. Wait for those
        // that were there before and are alive.
        for i in 0..self.high() {
            loop {
                let r = self.slot32(i, 12).load(SeqCst);
                if r == 0 || r & 1023 != i || !self.alive(r) {
                    break;
                }
                if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + timeout) {
                    return Err(Error::Busy(format!("{}: slot {} reads", self.path, i)));
                }
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        self.refresh()?;
        let s = self.seq().load(SeqCst);
        if s & 1 != 0 {
            if self.image == 0 {
                return Err(Error::OwnerDied(format!("{}: a writer died changing the value, and there is no undo image", self.path)));
            }
            unsafe {
                let image = self.base.add(self.image as usize);
                Segment::put_parts(self.base, image, &PARTS);
                Segment::put_parts(self.base, image, &self.more.borrow().parts);
            }
            self.seq().store(s + 1, SeqCst);
            self.wake(SEQ_ARMED);
        }
        Ok(locked)
    }

    /// Tells those who wait for events that this attachment has come or gone.
    fn count_event(&self) {
        let events = unsafe { &*(self.base.add(self.size - 4096 + EVENTS) as *const AtomicU64) };
        events.fetch_add(1, SeqCst);
        self.wake(EVENTS_ARMED);
    }

    /// Gives up the slot. Each attachment unlocks its slot first and looks afterwards: of those that leave, the last
    /// one to unlock sees no other. Only that one takes the gate, and decides there. The last process to leave a
    /// segment that is shared, or whose owner died, unlinks it.
    fn resign(&self) -> Result<()> {
        let (word, slot) = ((self.size - 4096 + OWNER) as u64, self.id & 1023);
        // Before the unlock: after it the record may be another attachment's. A hint only.
        let _ = self.file.write_all_at(&[0; 4], self.slot_off(slot) + 32);
        let _ = self.setlk(2, SLOT + slot as i64);
        if self.held(SLOT, self.count as i64) {
            return Ok(());
        }
        self.enter(Instant::now() + Duration::from_secs(5))?;
        let mut owner = [0u8; 8];
        if self.file.read_exact_at(&mut owner, word).is_ok() {
            let state = u64::from_ne_bytes(owner) >> 32;
            let mut clean = state == 3; // one that dropped it may have died before it unlinked the name
            if !clean && !self.held(SLOT, self.count as i64) && !self.stays(state) {
                clean = self.file.write_all_at(&(3u64 << 32).to_ne_bytes(), word).is_ok();
            }
            if clean && self.same() {
                let _ = std::fs::remove_file(&self.path);
            }
        }
        self.leave();
        Ok(())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.id != 0 && !self.base.is_null() && self.mine().is_ok() {
            let _ = self.resign();
            self.count_event();
        }
        if !self.base.is_null() {
            unsafe { munmap(self.base as *mut c_void, self.size) };
        }
    }
}

/// The box's lock, held.
struct Locked<'a>(&'a Segment);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.0.mine().is_ok() {
            self.0.unlock();
        }
    }
}

impl Locked<'_> {
    /// Replaces the value. Other processes see either value, also if this one dies between any two steps.
    unsafe fn put(&self, src: *const u8) -> Result<()> {
        let s = self.0;
        s.mine()?;
        let n = s.seq().load(SeqCst);
        if s.image != 0 {
            let image = s.base.add(s.image as usize);
            Segment::put_parts(image, src, &PARTS);
            Segment::put_parts(image, s.base, &s.more.borrow().parts);
        }
        s.seq().store(n + 1, SeqCst); // odd: the image is the value
        fence(SeqCst);
        Segment::put_parts(s.base, src, &PARTS);
        s.seq().store(n + 2, SeqCst); // even: the payload is
        s.wake(SEQ_ARMED);
        Ok(())
    }
}

/// A box that is opened to read it. It takes no lock and no slot, so reading keeps nothing alive.
///
/// A box belongs to the process that opened it: after a fork the child's copy fails with Error::Forked, and to drop it
/// there only unmaps. A child that lives on drops it, or calls exec: until then the attachment of the parent seems to
/// live even if the parent has died.
pub struct Reader(Segment);

impl Reader {
    /// Opens the box of that name, in /dev/shm, or at a path.
    pub fn open(name: &str) -> Result<Reader> {
        Segment::open(name, false).map(Reader)
    }

    /// Copies the value as it was at one moment. No writer waits for it. Atomics may be newer than the rest, and
    /// the state of a lock means nothing in a copy.
    pub fn load(&self) -> Result<Value> {
        let mut v = std::mem::MaybeUninit::<Value>::zeroed();
        unsafe {
            self.0.load(v.as_mut_ptr() as *mut u8)?;
            Ok(v.assume_init())
        }
    }

    /// How often the value has changed; 0 in a child that was forked since the box was opened.
    pub fn version(&self) -> u64 {
        match self.0.mine() {
            Ok(()) => self.0.seq().load(Acquire) / 2,
            Err(_) => 0,
        }
    }

    /// The value itself, for its atomics; None in a child that was forked since the box was opened. Through a Reader
    /// it can only be read.
    pub fn value(&self) -> Option<*mut Value> {
        self.0.mine().ok().map(|_| self.0.base as *mut Value)
    }
}

/// An attachment, which reads and writes.
pub struct Attachment(Reader);

impl Attachment {
    /// Attaches to the box of that name.
    pub fn attach(name: &str) -> Result<Attachment> {
        Segment::open(name, true).map(|s| Attachment(Reader(s)))
    }

    /// Replaces the whole value under the box's lock, for which it waits at most 5 s. Atomics and locks in it stay
    /// as they are.
    pub fn store(&mut self, v: &Value) -> Result<()> {
        self.store_within(v, Duration::from_secs(5))
    }

    /// Is store that waits for the lock at most timeout.
    pub fn store_within(&mut self, v: &Value, timeout: Duration) -> Result<()> {
        let locked = (self.0).0.lock(timeout)?;
        unsafe { locked.put(v as *const Value as *const u8) }
    }

    /// Changes the value under the box's lock, for which it waits at most 5 s. f gets a copy, which is stored as a
    /// whole. If f panics, or this process dies, the value stays as it was. Atomics and locks stay as they are.
    pub fn update<R>(&mut self, f: impl FnOnce(&mut Value) -> R) -> Result<R> {
        self.try_update(|v| Ok(f(v)))
    }

    /// Is update whose f can fail: then nothing is stored.
    pub fn try_update<R, E: From<Error>>(&mut self, f: impl FnOnce(&mut Value) -> std::result::Result<R, E>) -> std::result::Result<R, E> {
        let locked = (self.0).0.lock(Duration::from_secs(5))?;
        let mut v = Box::new(std::mem::MaybeUninit::<Value>::zeroed());
        let v = unsafe {
            Segment::copy(v.as_mut_ptr() as *mut u8, (self.0).0.base, SIZE);
            &mut *v.as_mut_ptr()
        };
        let r = f(v)?;
        unsafe { locked.put(v as *const Value as *const u8)? };
        Ok(r)
    }
}

impl std::ops::Deref for Attachment {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.0
    }
}
