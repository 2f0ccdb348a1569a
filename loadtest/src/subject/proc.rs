//! What /proc tells of another process.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// The CPU time that the threads of `pid` have used. From schedstat, in nanoseconds; from stat, in ticks, where the
/// kernel keeps no schedstat. A thread that has ended does not count.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))? {
        let path = task?.path();
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        nanos += first_number(&text);
    }
    if nanos > 0 {
        return Ok(Duration::from_nanos(nanos));
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks(&stat).map(time).context("/proc/PID/stat can't be read")
}

/// The CPU time of `pid`, of its children, and of those children whose end it has noted.
pub fn cpu_of_family(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let mut sum =
        cpu(pid)? + number(&stat, CUTIME).zip(number(&stat, CUTIME + 1)).map_or(Duration::ZERO, |(user, system)| time(user + system));
    for entry in fs::read_dir("/proc")? {
        let Ok(other) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // It may end between the listing and the look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{other}/stat")) else { continue };
        if number(&stat, PPID) == Some(u64::from(pid)) {
            sum += cpu(other).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// Fields of /proc/PID/stat, counted from 1 as proc(5) does: the parent; ticks in user mode, in the kernel; the same of children that ended.
const PPID: usize = 4;
const UTIME: usize = 14;
const CUTIME: usize = 16;

/// Field number `field`, from the third on; the second, a name in parentheses, may hold anything.
fn number(stat: &str, field: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse().ok()
}

fn ticks(stat: &str) -> Option<u64> {
    Some(number(stat, UTIME)? + number(stat, UTIME + 1)?)
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The proportional set size of `pid`, in KiB.
pub fn pss(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid} is gone"))?;
    text.lines().find_map(|line| line.strip_prefix("Pss:")).map(first_number).context("/proc/PID/smaps_rollup has no Pss")
}

/// The most memory that `pid` ever had resident, in KiB.
pub fn peak(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(first_number).context("/proc/PID/status has no VmHWM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 100 1000 10";
        assert_eq!((ticks(stat), number(stat, PPID)), (Some(12), Some(1)));
    }

    #[test]
    fn sees_this_process_work() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        while cpu(pid).unwrap() <= before {}
        assert!(pss(pid).unwrap() > 0);
    }

    #[test]
    fn a_familys_time_holds_that_of_its_children() {
        let busy = || std::process::Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]).spawn().unwrap();
        let mut child = busy();
        while cpu(child.id()).unwrap() < Duration::from_millis(30) {}
        assert!(cpu_of_family(std::process::id()).unwrap() >= cpu(std::process::id()).unwrap() + Duration::from_millis(20));
        child.wait().unwrap();
        assert!(cpu_of_family(std::process::id()).unwrap() >= Duration::from_millis(20));
    }
}
