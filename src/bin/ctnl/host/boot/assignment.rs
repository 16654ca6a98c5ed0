//! One line of a file that sets something at boot.

use std::fmt;

use super::key;

/// The name of the module's parameter among the keys, as in `nf_conntrack.hashsize=` on the kernel command line.
pub const HASHSIZE: &str = "nf_conntrack.hashsize";

/// When it is applied. A later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// When the module is loaded.
    Module,
    /// When sysctl.conf and the files in sysctl.d are applied, early at boot.
    Sysctl,
    /// By a service that starts later, such as ufw, or by systemd-tmpfiles.
    Service,
    /// By a script at the end of the boot, such as /etc/rc.local.
    Script,
}

/// A value that a line of a file sets at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The sysctl as it is spelled in the file, with dots, or [`HASHSIZE`].
    pub key: String,
    /// The value as it is written there.
    pub value: String,
    /// The absolute path of the file on the host, without symbolic links.
    pub file: String,
    /// The number of the line, from 1.
    pub line: usize,
    /// When it is applied.
    pub stage: Stage,
    /// The lines that set the same to another value or to the same, and lose; the strongest first.
    pub overrides: Vec<Assignment>,
}

impl Assignment {
    /// The value as the kernel reads it; `None` where the kernel refuses it.
    pub fn number(&self) -> Option<u64> {
        number(&self.value)
    }

    /// Whether the value is computed by a shell when the line runs.
    pub fn is_computed(&self) -> bool {
        self.value.contains(['$', '`'])
    }

    /// The current name of the setting.
    pub fn canonical(&self) -> String {
        key::canonical(&self.key)
    }

    /// Whether both are the same line of the same file.
    pub fn is_same_line(&self, other: &Assignment) -> bool {
        self.file == other.file && self.line == other.line
    }
}

/// `file:line`, then what is set.
impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} = {}", self.file, self.line, self.key, self.value)
    }
}

/// A number as `proc_get_long` in kernel/sysctl.c reads it: decimal, 0x or octal, up to white space; what follows
/// is ignored. `proc_dointvec` refuses what is larger than an int.
pub fn number(value: &str) -> Option<u64> {
    let digits = value.split_whitespace().next()?;
    let parsed = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    let is_signed = digits.contains(['+', '-']);
    parsed.ok().filter(|&number| !is_signed && i32::try_from(number).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_the_kernel_reads_it() {
        for (value, expected) in [
            ("262144", Some(262_144)),
            (" 0x10 ", Some(16)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("65536 # comment", Some(65_536)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("65536#", None),
            ("1,048,576", None),
            ("1M", None),
            ("\"65536\"", None),
            ("+5", None),
            ("-1", None),
            ("0x", None),
            ("", None),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
    }
}
