//! Programs in PATH.

use std::path::PathBuf;

/// The first folder of PATH that holds all of `programs`.
pub fn in_path(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_one_folder() {
        assert!(in_path(&["sh"]).is_some_and(|folder| folder.join("sh").is_file()));
        assert_eq!(in_path(&["sh", "no-such-program-anywhere"]), None);
    }
}
