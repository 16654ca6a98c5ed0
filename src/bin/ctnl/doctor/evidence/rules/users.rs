//! Users of conntrack that no rule shows.

use std::fs;

use ctnl::host::Host;

use crate::doctor::evidence::Reading;

/// Modules that track connections without a rule of nf_tables or ip_tables: Open vSwitch (`ct()` actions), IPVS, and
/// the action `ct` of tc.
const HIDDEN: [(&str, &str); 3] =
    [("openvswitch", "Open vSwitch (openvswitch)"), ("ip_vs", "IPVS (ip_vs)"), ("act_ct", "tc's ct action (act_ct)")];

/// The loaded modules that may track connections without any rule.
///
/// # Errors
/// The modules are unknown: a kernel may have them built in.
pub fn hidden_users(host: &Host) -> Reading<Vec<&'static str>> {
    let path = host.proc().join("modules");
    let modules = fs::read_to_string(path).map_err(|error| format!("/proc/modules cannot be read: {error}"))?;
    let is_loaded = |name: &str| modules.lines().any(|line| line.split(' ').next() == Some(name));
    Ok(HIDDEN.iter().filter(|(name, _)| is_loaded(name)).map(|(_, about)| *about).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::made_up::MadeUpHost;

    #[test]
    fn a_loaded_module_that_needs_no_rule_is_named() {
        let mut host = MadeUpHost::new();
        assert!(hidden_users(&host.host()).unwrap_err().starts_with("/proc/modules cannot be read"));
        host.file(
            "/proc/modules",
            "ip_vs_rr 1 0 - Live 0\nopenvswitch 1 0 - Live 0x0\nnf_conntrack 1 1 openvswitch,\n",
        );
        assert_eq!(hidden_users(&host.host()).unwrap(), ["Open vSwitch (openvswitch)"]);
    }
}
