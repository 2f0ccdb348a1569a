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
    ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
        .context("/proc/PID/stat can't be read")
}

/// utime + stime of /proc/PID/stat: fields 14 and 15; the second field, a name in parentheses, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The proportional set size of `pid`, in KiB.
pub fn pss(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid} is gone"))?;
    text.lines().find_map(|line| line.strip_prefix("Pss:")).map(first_number).context("/proc/PID/smaps_rollup has no Pss")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 100 1000 10";
        assert_eq!(ticks(stat), Some(12));
    }

    #[test]
    fn sees_this_process_work() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        while cpu(pid).unwrap() <= before {}
        assert!(pss(pid).unwrap() > 0);
    }
}
