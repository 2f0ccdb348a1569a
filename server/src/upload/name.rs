//! What uploads are called. A name is shown and sent in headers; it is never part of a path.

use std::fmt;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Characters of a name, at most.
pub const MAX_NAME: usize = 255;

/// A file's name: 1 to [`MAX_NAME`] characters in NFC, of one line, without separators of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum NameError {
    #[error("a name has 1 to 255 characters")]
    Length,
    #[error("a name holds no / and no \\, and is neither . nor ..")]
    Path,
    #[error("a name holds no control characters, no line breaks, and none that change the direction of what follows")]
    Control,
}

impl Name {
    /// The name that `text` spells; white space around it does not count.
    ///
    /// # Errors
    /// It spells none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name: String = text.trim().nfc().collect();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(NameError::Length);
        }
        if name.contains(['/', '\\']) || name == "." || name == ".." {
            return Err(NameError::Path);
        }
        if name.chars().any(is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(name))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Controls, separators of lines, and what turns text around: with it `exe.png` is shown for `gnp.exe` (Unicode TR 36, section 2.5).
fn is_control(sign: char) -> bool {
    sign.is_control() || matches!(sign, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_and_no_path() {
        assert_eq!(Name::parse("  report (final).pdf ").unwrap().as_str(), "report (final).pdf");
        assert_eq!(Name::parse("u\u{308}ber.txt").unwrap().as_str(), "\u{fc}ber.txt", "composed");
        assert!(Name::parse(&"ü".repeat(255)).is_ok());
        for (text, error) in [
            ("", NameError::Length),
            (" \t ", NameError::Length),
            (&*"x".repeat(256), NameError::Length),
            ("../etc/passwd", NameError::Path),
            ("..\\boot.ini", NameError::Path),
            ("..", NameError::Path),
            (".", NameError::Path),
            ("a\0b", NameError::Control),
            ("a\r\nset-cookie: b=c", NameError::Control),
            ("\u{7f}", NameError::Control),
            ("photo\u{202e}gnp.exe", NameError::Control),
            ("a\u{2066}b", NameError::Control),
            ("a\u{2028}b", NameError::Control),
        ] {
            assert_eq!(Name::parse(text), Err(error), "{text:?}");
        }
    }
}
