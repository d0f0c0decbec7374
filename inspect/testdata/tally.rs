mod poly; // two modules in one program
mod tally;
use std::io::Write;
use tally::*;

extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(code: i32) -> !;
}

fn add(v: &mut Tally) {
    v.N += 1;
    v.In.Sum += 1;
    v.M += 1;
}

fn count(b: &mut Attachment, n: u64) -> Result<u64, Error> {
    let mut i = 0;
    while i < n {
        match b.update(add) {
            Err(Error::Busy(_)) => continue, // a loaded machine
            r => r?,
        }
        i += 1;
    }
    #[derive(Debug)]
    enum Mine {
        Given,
        #[allow(dead_code)]
        Box(Error),
    }
    impl From<Error> for Mine {
        fn from(e: Error) -> Mine {
            Mine::Box(e)
        }
    }
    let given: Result<(), Mine> = b.try_update(|v| {
        v.N = 0;
        Err(Mine::Given)
    });
    assert!(matches!(given, Err(Mine::Given)));
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        b.update(|v| {
            v.N = 0;
            panic!()
        })
    }));
    assert!(caught.is_err());
    Ok(n)
}

/// What a child may do with the box of its parent: nothing.
fn child(b: &mut Attachment) -> bool {
    let forked = |e: Result<(), Error>| matches!(e, Err(Error::Forked(_)));
    let v = Tally::default();
    forked(b.load().map(|_| ())) && forked(b.store(&v)) && forked(b.update(add)) && b.value().is_none() && b.version() == 0
}

fn forked(mut b: Attachment) -> Result<u64, Error> {
    let mut status = 1;
    let mut in_child = false;
    b.update(|v| {
        let pid = unsafe { fork() };
        in_child = pid == 0;
        if !in_child {
            unsafe { waitpid(pid, &mut status, 0) };
            add(v);
        }
    })
    .or_else(|e| if in_child { Ok(()) } else { Err(e) })?;
    if in_child {
        let good = child(&mut b);
        drop(b);
        unsafe { _exit(!good as i32) }
    }
    assert_eq!(status, 0);
    b.load()?;
    assert!(b.value().is_some());
    Ok(1)
}

fn begin() {
    println!("up");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn run() -> Result<u64, Error> {
    let args: Vec<String> = std::env::args().collect();
    assert!(matches!(poly::Reader::open(&args[2]), Err(poly::Error::Mismatch(_))));
    if args[1] == "read" {
        let b = Reader::open(&args[2])?;
        begin();
        return Ok(b.load()?.N);
    }
    let mut b = Attachment::attach(&args[2])?;
    begin();
    match args[1].as_str() {
        "hold" => b.update(|v| {
            v.N = 12345;
            println!("held");
            let _ = std::io::stdout().flush();
            loop {
                std::thread::park();
            }
        }),
        "fork" => forked(b),
        _ => count(&mut b, args[3].parse().unwrap()),
    }
}

fn main() {
    match run() {
        Ok(n) => println!("done {}", n),
        Err(e) => {
            println!("error {}", e);
            std::process::exit(1)
        }
    }
}
