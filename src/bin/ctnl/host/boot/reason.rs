//! Why a line that looks as if it set something of conntrack does not.

use std::fmt;

/// Why a line has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The kernel has no sysctl of this name any more.
    OldName { current: String },
    /// The name of the file does not end in `.conf`.
    Suffix,
    /// The program that applies sysctls does not read the file.
    NotRead { by: &'static str },
    /// A file of the same name in a stronger folder is read in its place.
    Masked { by: String },
    /// A script that is not executable is not run.
    NotExecutable,
    /// modprobe never loads what is part of the kernel.
    BuiltIn,
    /// kmod does not read /etc/modprobe.conf.
    ModprobeConf,
    /// The module ip_conntrack is called nf_conntrack since Linux 2.6.22.
    OldModule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::OldName { current } => write!(f, "this kernel has no such sysctl; the name is {current}"),
            Reason::Suffix => f.write_str("the name of the file does not end in .conf"),
            Reason::NotRead { by } => write!(f, "{by} does not read the file at boot"),
            Reason::Masked { by } => write!(f, "{by} is read in its place"),
            Reason::NotExecutable => f.write_str("the file is not executable, so it is not run at boot"),
            Reason::BuiltIn => f.write_str("nf_conntrack is part of the kernel, so modprobe never loads it"),
            Reason::ModprobeConf => f.write_str("modprobe reads /etc/modprobe.d/*.conf only"),
            Reason::OldModule => f.write_str("the module ip_conntrack is called nf_conntrack since Linux 2.6.22"),
        }
    }
}
