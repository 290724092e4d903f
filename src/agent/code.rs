//! The program's own code, given back to the kernel where it isn't being run.
//!
//! The start runs through most of the program once, and the kernel maps sixteen pages around each that is touched. What
//! is mapped it spares when memory is short. An idle agent runs a tenth of it, so the mapping is dropped each minute:
//! what is run again is mapped again from the page cache, in microseconds, and the rest is the first to go.

use std::io;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};

/// How long after the start, and how often.
const EVERY: Duration = Duration::from_secs(60);
/// The start itself is over by then.
const FIRST: Duration = Duration::from_secs(5);

/// Gives back what isn't being run, for as long as the agent lives.
pub async fn keep_small() {
    tokio::time::sleep(FIRST).await;
    loop {
        if let Err(error) = give_back() {
            tracing::debug!("the program's code stays mapped: {error}");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Drops the mapping of the program's code once; how much code there is, in bytes. Of a program whose file was replaced
/// meanwhile there is none: its agent ends soon.
fn give_back() -> io::Result<usize> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut all = 0;
    for range in maps.lines().filter_map(|line| code(line, program.to_str()?)) {
        all += range.len();
        discard(range)?;
    }
    Ok(all)
}

/// The addresses of a line of `/proc/self/maps` (proc_pid_maps(5)), where it is the program's code.
fn code(line: &str, program: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    if fields.next()? != "r-xp" || fields.nth(3)? != program {
        return None;
    }
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[allow(unsafe_code, reason = "madvise(2) takes addresses")]
fn discard(range: std::ops::Range<usize>) -> io::Result<()> {
    let start = std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(range.start));
    let start = start.ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the range is a mapping that the kernel has just named, private, of a file, and never written to: it is
    // executable and the linker's relocations lie elsewhere. Its pages hold the file's bytes before and after.
    unsafe { madvise(start, range.len(), MmapAdvise::MADV_DONTNEED) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_given_back() {
        let line = |mode, name| format!("55d0a0523000-55d0a0f5e000 {mode} 00523000 fe:00 1234    {name}");
        assert_eq!(
            code(&line("r-xp", "/usr/bin/podkeeper"), "/usr/bin/podkeeper"),
            Some(0x55d0_a052_3000..0x55d0_a0f5_e000)
        );
        assert_eq!(code(&line("r--p", "/usr/bin/podkeeper"), "/usr/bin/podkeeper"), None);
        assert_eq!(code(&line("r-xp", "/usr/lib/libc.so.6"), "/usr/bin/podkeeper"), None);
        assert_eq!(code("7ffd3b5f4000-7ffd3b5f6000 r-xp 00000000 00:00 0", "/usr/bin/podkeeper"), None);
        // Replaced by an upgrade while it runs.
        assert_eq!(code(&line("r-xp", "/usr/bin/podkeeper (deleted)"), "/usr/bin/podkeeper (deleted)"), None);
    }

    #[test]
    fn what_is_given_back_is_there_when_it_is_run() {
        assert!(give_back().unwrap() > 1 << 20, "this program's code");
        assert_eq!("12.5".parse::<f64>(), Ok(12.5));
        give_back().unwrap();
        assert_eq!("0.125".parse::<f64>(), Ok(0.125));
    }
}
