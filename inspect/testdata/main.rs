mod poly;
use poly::*;
use std::time::{Duration, Instant};

fn fill(v: &mut Poly, n: u64) {
    v.N = n;
    v.End = n;
    v.A = [n as u32; 7];
    v.Tail = [n; 200];
    v.Name = [0; 12];
    let s = format!("{}", n % 100000000);
    v.Name[..s.len()].copy_from_slice(s.as_bytes());
    v.In.X = (n & 0x7fff) as i16;
    v.In.Y = n as f64;
}

fn good(v: &Poly) -> bool {
    let mut w = Poly::default();
    fill(&mut w, v.N);
    w.End == v.End && w.A == v.A && w.Tail == v.Tail && w.Name == v.Name && w.In.X == v.In.X && w.In.Y == v.In.Y
}

/// Waits until all peers are up, and returns when to end.
fn begin(seconds: &str) -> Instant {
    println!("up");
    let _ = std::io::stdin().read_line(&mut String::new());
    Instant::now() + Duration::from_secs_f64(seconds.parse().unwrap())
}

fn run() -> Result<String, Error> {
    let args: Vec<String> = std::env::args().collect();
    let (mut n, mut torn, mut busy, mut distinct, mut last) = (0u64, 0, 0, 0, u64::MAX);
    if args[1] == "write" {
        let mut b = Attachment::attach(&args[2])?;
        let first = b.load()?.N;
        let mut v = Poly::default();
        n = first;
        let end = begin(&args[3]);
        while Instant::now() < end {
            fill(&mut v, n + 1);
            b.store(&v)?;
            n += 1;
        }
        n -= first;
    } else {
        let b = Reader::open(&args[2])?;
        let end = begin(&args[3]);
        while Instant::now() < end {
            match b.load() {
                Ok(v) => {
                    torn += !good(&v) as u64;
                    distinct += (v.N != last) as u64;
                    last = v.N;
                    n += 1;
                }
                Err(Error::Busy(_)) => busy += 1,
                Err(e) => return Err(e),
            }
        }
    }
    Ok(format!("done {} torn {} busy {} distinct {}", n, torn, busy, distinct))
}

fn main() {
    match run() {
        Ok(s) => println!("{}", s),
        Err(e) => {
            println!("error {}", e);
            std::process::exit(1)
        }
    }
}
