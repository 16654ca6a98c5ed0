//! The faults that are planted: what the articles warn of, by distribution.

use super::tree::Edit;
use super::tree::Edit::{Append, Remove, Replace, Script, Write};

/// A fault of one host.
pub struct Fault {
    /// The distribution.
    pub host: &'static str,
    pub name: &'static str,
    /// How it is planted.
    pub edits: &'static [Edit],
    /// The check that finds it.
    pub check: &'static str,
    /// A part of what that check shows.
    pub evidence: &'static str,
}

const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";
const PARAMETER: &str = "/sys/module/nf_conntrack/parameters/hashsize";
const ESTABLISHED: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
const TIME_WAIT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait";
const FIN_WAIT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_fin_wait";
const CLOSE_WAIT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";
const GENERIC: &str = "/proc/sys/net/netfilter/nf_conntrack_generic_timeout";
const KUBE_PROXY: &str = "/var/lib/kubelet/pods/5f2f7a3e/volumes/kubernetes.io~configmap/kube-proxy/config.conf";

/// A fault of `host`.
const fn fault(
    host: &'static str,
    name: &'static str,
    edits: &'static [Edit],
    check: &'static str,
    evidence: &'static str,
) -> Fault {
    Fault { host, name, edits, check, evidence }
}

const SYSCTLS: &str = "boot-sysctls";
const HASHSIZE: &str = "boot-hashsize";
const MODULE: &str = "boot-module";
const UNLOAD: &str = "module-unload";
const WRITERS: &str = "other-writers";
const LOG: &str = "kernel-log";
const TIMEOUTS: &str = "timeouts";
/// The checks of what a boot sets. One of them that finds the fault of another has invented it.
pub const BOOT_CHECKS: [&str; 5] = [SYSCTLS, HASHSIZE, MODULE, UNLOAD, WRITERS];

/// Faults that every distribution can have: something was changed by hand, and no file has it.
const CHANGED_BY_HAND: [(&str, &[Edit], &str, &str); 6] = [
    ("the maximum was raised by hand", &[Write(MAX, "2000000\n")], SYSCTLS, "nf_conntrack_max is 2000000"),
    (
        "timeouts were shortened by hand",
        &[Write(TIME_WAIT, "15\n"), Write(FIN_WAIT, "30\n"), Write(CLOSE_WAIT, "15\n"), Write(GENERIC, "120\n")],
        SYSCTLS,
        "4 settings were changed, and nothing sets them at boot",
    ),
    (
        "the established timeout was shortened by hand",
        &[Write(ESTABLISHED, "3600\n")],
        SYSCTLS,
        "nf_conntrack_tcp_timeout_established is 3600 now",
    ),
    (
        "the table was resized by hand",
        &[Write(BUCKETS, "1048576\n"), Write(PARAMETER, "1048576\n")],
        HASHSIZE,
        "the hash table has 1048576 buckets, and ",
    ),
    (
        "the table still has the size that it had before the option was written",
        &[Write(BUCKETS, "4096\n"), Write(PARAMETER, "4096\n")],
        HASHSIZE,
        "the module cannot be unloaded",
    ),
    ("a timeout was raised far above need", &[Write(CLOSE_WAIT, "864000\n")], TIMEOUTS, "tcp.close_wait is 1w3d"),
];

/// All faults.
pub fn faults(hosts: &[&'static str]) -> Vec<Fault> {
    let common = hosts.iter().flat_map(|host| {
        CHANGED_BY_HAND.iter().map(|(name, edits, check, evidence)| fault(host, name, edits, check, evidence))
    });
    common.chain(OWN).collect()
}

#[rustfmt::skip]
const OWN: [Fault; 55] = [
    fault("centos-6", "the table was full, in the old spelling",
        &[Append("/var/log/messages", "Nov 29 01:02:03 host kernel: ip_conntrack: table full, dropping packet.\n")],
        LOG, "table full, dropping packet"),
    fault("centos-7", "the table was full",
        &[Append("/var/log/messages", "Nov 29 01:02:03 host kernel: nf_conntrack: table full, dropping packet\n")],
        LOG, "table full, dropping packet"),
    fault("debian-12", "the table was full",
        &[Append("/var/log/kern.log", "2026-11-29T01:02:03.456789+00:00 host kernel: [ 12.345678] nf_conntrack: nf_conntrack: table full, dropping packet\n")],
        LOG, "table full, dropping packet"),
    fault("ubuntu-24.04", "the table was full",
        &[Append("/var/log/syslog", "2026-11-29T01:02:03.456789+00:00 host kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n")],
        LOG, "table full, dropping packet"),
    fault("rhel-9", "the table was full",
        &[Append("/var/log/messages", "Nov 29 01:02:03 host kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n")],
        LOG, "table full, dropping packet"),

    fault("centos-6", "iptables restart unloads the module",
        &[Replace("/etc/sysconfig/iptables-config", "UNLOAD=\"no\"", "UNLOAD=\"yes\"")],
        UNLOAD, "/etc/sysconfig/iptables-config:2"),
    fault("centos-6", "ip6tables restart unloads the module",
        &[Replace("/etc/sysconfig/ip6tables-config", "UNLOAD=\"no\"", "UNLOAD=\"yes\"")],
        UNLOAD, "/etc/sysconfig/ip6tables-config:2"),
    fault("centos-6", "an init script unloads the module",
        &[Script("/etc/rc.d/init.d/flush-firewall", "#!/bin/sh\niptables -F\nmodprobe -r xt_state nf_conntrack_ipv4\nrmmod nf_conntrack\n")],
        UNLOAD, "/etc/rc.d/init.d/flush-firewall:4"),
    fault("centos-6", "the name of the maximum is that of Linux 2.6.18",
        &[Replace("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max", "net.ipv4.ip_conntrack_max")],
        SYSCTLS, "this kernel has no such sysctl; the name is net.netfilter.nf_conntrack_max"),
    fault("centos-6", "the maximum has separators",
        &[Replace("/etc/sysctl.conf", "= 524288", "= 524,288")],
        SYSCTLS, "is set to '524,288', which the kernel refuses"),
    fault("centos-6", "a second line contradicts the first, in another file",
        &[Write("/etc/sysctl.d/tune.conf", "net.nf_conntrack_max = 65536\n")],
        SYSCTLS, "is set to 524288 and to 65536"),
    fault("centos-6", "iptables does not start, so that the settings come before the module",
        &[Remove("/etc/rc.d/rc3.d/S08iptables")],
        MODULE, "/etc/sysconfig/modules/nf_conntrack.modules"),
    fault("centos-6", "the option has the old name of the module",
        &[Replace("/etc/modprobe.d/conntrack.conf", "nf_conntrack", "ip_conntrack"), Write(BUCKETS, "16384\n"), Write(PARAMETER, "16384\n")],
        HASHSIZE, "is called nf_conntrack since Linux 2.6.22"),
    fault("centos-6", "the buckets are a sysctl that this kernel does not let anybody write",
        &[Append("/etc/sysctl.conf", "net.netfilter.nf_conntrack_buckets = 262144\n")],
        HASHSIZE, "cannot be written on Linux 2.6"),
    fault("centos-6", "rc.local writes another maximum than sysctl.conf",
        &[Append("/etc/rc.d/rc.local", "echo 1048576 > /proc/sys/net/netfilter/nf_conntrack_max\n"), Write(MAX, "1048576\n")],
        SYSCTLS, "/etc/rc.d/rc.local:3"),

    fault("centos-7", "iptables restart unloads the module",
        &[Replace("/etc/sysconfig/iptables-config", "UNLOAD=\"no\"", "UNLOAD=\"yes\"")],
        UNLOAD, "the service iptables unloads the modules"),
    fault("centos-7", "ip6tables restart unloads the module",
        &[Replace("/etc/sysconfig/ip6tables-config", "UNLOAD=\"no\"", "UNLOAD=\"yes\"")],
        UNLOAD, "the service ip6tables unloads the modules"),
    fault("centos-7", "the module is loaded after the settings are applied",
        &[Remove("/etc/modules-load.d/conntrack.conf")],
        MODULE, "5 lines for conntrack are ignored at boot"),
    fault("centos-7", "rc.local is not executable",
        &[Append("/etc/rc.d/rc.local", "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=30\n")],
        SYSCTLS, "chmod +x /etc/rc.d/rc.local"),
    fault("centos-7", "rc.local without another command is not executable",
        &[Write("/etc/rc.d/rc.local", "#!/bin/sh\nsysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=30\n")],
        SYSCTLS, "chmod +x /etc/rc.d/rc.local"),
    fault("centos-7", "the old name of a timeout",
        &[Append("/etc/sysctl.conf", "net.ipv4.netfilter.ip_conntrack_tcp_timeout_time_wait = 30\n")],
        SYSCTLS, "/etc/sysctl.conf:8 sets nothing"),
    fault("centos-7", "modprobe.conf is read no more",
        &[Remove("/etc/modprobe.d/conntrack.conf"), Write("/etc/modprobe.conf", "options nf_conntrack hashsize=1048576\n")],
        HASHSIZE, "modprobe reads /etc/modprobe.d/*.conf only"),
    fault("centos-7", "sysctl.conf wins over a file of the administrator",
        &[Write("/etc/sysctl.d/90-conntrack.conf", "net.netfilter.nf_conntrack_max = 1048576\n")],
        SYSCTLS, "The value 1048576 is never in force"),
    fault("centos-7", "a unit of the administrator writes another maximum",
        &[Write("/etc/systemd/system/conntrack-max.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo 65536 > /proc/sys/net/netfilter/nf_conntrack_max'\n")],
        WRITERS, "conntrack-max.service sets net.netfilter.nf_conntrack_max to 65536"),

    fault("debian-12", "the module is loaded after the settings are applied",
        &[Remove("/etc/modules-load.d/conntrack.conf")],
        MODULE, "starts nftables, whose rules load nf_conntrack"),
    fault("debian-12", "the module is blacklisted",
        &[Append("/etc/modprobe.d/conntrack.conf", "blacklist nf_conntrack\n")],
        MODULE, "5 lines for conntrack are ignored at boot"),
    fault("debian-12", "nothing reads sysctl.conf",
        &[Remove("/etc/sysctl.d/99-sysctl.conf"), Append("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 1048576\n")],
        SYSCTLS, "ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf"),
    fault("debian-12", "the name of the file does not end in .conf",
        &[Write("/etc/sysctl.d/conntrack", "net.netfilter.nf_conntrack_max = 1048576\n")],
        SYSCTLS, "mv /etc/sysctl.d/conntrack /etc/sysctl.d/conntrack.conf"),
    fault("debian-12", "the name of the file with the option does not end in .conf",
        &[Remove("/etc/modprobe.d/conntrack.conf"), Write("/etc/modprobe.d/conntrack", "options nf_conntrack hashsize=524288\n")],
        HASHSIZE, "mv /etc/modprobe.d/conntrack /etc/modprobe.d/conntrack.conf"),
    fault("debian-12", "sysctl.conf wins over the file in sysctl.d",
        &[Append("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 65536\n"), Write(MAX, "65536\n")],
        SYSCTLS, "wins: /etc/sysctl.conf:3"),
    fault("debian-12", "the value has a unit",
        &[Replace("/etc/sysctl.d/50-conntrack.conf", "= 524288", "= 512k")],
        SYSCTLS, "is set to '512k', which the kernel refuses"),
    fault("debian-12", "cron writes another maximum",
        &[Append("/etc/crontab", "@reboot root sysctl -w net.netfilter.nf_conntrack_max=65536\n")],
        WRITERS, "/etc/crontab:2"),
    fault("debian-12", "ifupdown writes another timeout",
        &[Append("/etc/network/interfaces", "  post-up echo 432000 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established\n")],
        WRITERS, "/etc/network/interfaces:3"),
    fault("debian-12", "two options contradict each other",
        &[Write("/etc/modprobe.d/a.conf", "options nf_conntrack hashsize=65536\n")],
        HASHSIZE, "the hash size is set to 65536 and to 262144"),
    fault("debian-12", "the option is no number",
        &[Replace("/etc/modprobe.d/conntrack.conf", "262144", "256k")],
        HASHSIZE, "the hash size '256k' is refused by the kernel"),
    fault("debian-12", "modprobe.d has options for what is part of the kernel",
        &[Write("/lib/modules/6.1.0-37-amd64/modules.builtin", "kernel/net/netfilter/nf_conntrack.ko\n"),
          Remove("/sys/module/nf_conntrack/initstate"), Write(BUCKETS, "65536\n"), Write(PARAMETER, "65536\n")],
        HASHSIZE, "nf_conntrack is part of the kernel"),
    fault("debian-12", "an old name of the maximum",
        &[Append("/etc/sysctl.d/50-conntrack.conf", "net.ipv4.netfilter.ip_conntrack_max = 65536\n")],
        SYSCTLS, "/etc/sysctl.d/50-conntrack.conf, line 6: net.netfilter.nf_conntrack_max = 65536"),

    fault("ubuntu-24.04", "the module is loaded after the settings are applied",
        &[Remove("/etc/modules-load.d/conntrack.conf")],
        MODULE, "starts ufw, whose rules load nf_conntrack"),
    fault("ubuntu-24.04", "ufw applies another maximum",
        &[Append("/etc/ufw/sysctl.conf", "net/netfilter/nf_conntrack_max=524287\n"), Write(MAX, "524287\n")],
        WRITERS, "ufw sets net.netfilter.nf_conntrack_max to 524287"),
    fault("ubuntu-24.04", "cloud-init writes another maximum",
        &[Append("/var/lib/cloud/instance/scripts/runcmd", "sysctl -w net.netfilter.nf_conntrack_max=65536\n")],
        WRITERS, "cloud-init sets net.netfilter.nf_conntrack_max to 65536"),
    fault("ubuntu-24.04", "a hook of the network writes another maximum",
        &[Script("/etc/networkd-dispatcher/routable.d/50-tune", "#!/bin/sh\nsysctl -qw net.netfilter.nf_conntrack_max=65536\n")],
        WRITERS, "networkd-dispatcher sets net.netfilter.nf_conntrack_max"),
    fault("ubuntu-24.04", "a file of the same name masks the settings",
        &[Append("/etc/sysctl.d/99-sysctl.conf", "net.netfilter.nf_conntrack_acct = 0\n")],
        SYSCTLS, "nf_conntrack_acct is 1 now and 0 after a boot"),

    fault("rhel-9", "nothing applies the settings when firewalld loads the module",
        &[Remove("/etc/modules-load.d/conntrack.conf"), Remove("/etc/modprobe.d/firewalld-sysctls.conf")],
        MODULE, "starts firewalld, whose rules load nf_conntrack"),
    fault("rhel-9", "firewalld unloads the module",
        &[Replace("/etc/firewalld/firewalld.conf", "CleanupModulesOnExit=no", "CleanupModulesOnExit=yes")],
        UNLOAD, "/etc/firewalld/firewalld.conf:2"),
    fault("rhel-9", "TuneD writes another maximum",
        &[Replace("/etc/tuned/tuned-main.conf", "reapply_sysctl = 1", "reapply_sysctl = 0"),
          Append("/usr/lib/tuned/throughput-performance/tuned.conf", "net.netfilter.nf_conntrack_max = 65536\n")],
        WRITERS, "TuneD (profile throughput-performance) sets"),
    fault("rhel-9", "NetworkManager's dispatcher writes another maximum",
        &[Script("/etc/NetworkManager/dispatcher.d/30-conntrack", "#!/bin/sh\nsysctl net.netfilter.nf_conntrack_max=65536\n")],
        WRITERS, "NetworkManager sets"),
    fault("rhel-9", "the settings are in a file that is not read",
        &[Write("/etc/sysctl.d/81-conntrack.conf.disabled", "net.netfilter.nf_conntrack_max = 65536\n")],
        SYSCTLS, "/etc/sysctl.d/81-conntrack.conf.disabled:1 sets nothing"),

    fault("openwrt", "rc.local writes another maximum",
        &[Replace("/etc/rc.local", "exit 0", "sysctl -w net.netfilter.nf_conntrack_max=65536\nexit 0"), Write(MAX, "65536\n")],
        SYSCTLS, "/etc/rc.local:2"),
    fault("openwrt", "the hash size has no number",
        &[Replace("/etc/modules.d/nf-conntrack", "8192", "8k")],
        HASHSIZE, "the hash size '8k' is refused by the kernel"),
    fault("openwrt", "an old name of a timeout",
        &[Append("/etc/sysctl.conf", "net.ipv4.netfilter.ip_conntrack_tcp_timeout_established=3600\n")],
        SYSCTLS, "/etc/sysctl.conf:5 sets nothing"),
    fault("openwrt", "a hook of an interface writes another maximum",
        &[Write("/etc/hotplug.d/iface/99-conntrack", "[ ifup = \"$ACTION\" ] && echo 4096 > /proc/sys/net/netfilter/nf_conntrack_max\n")],
        WRITERS, "hotplug sets net.netfilter.nf_conntrack_max to 4096"),

    fault("kubernetes", "kube-proxy raises the timeout that a file sets",
        &[Append("/etc/sysctl.d/k8s.conf", "net.netfilter.nf_conntrack_tcp_timeout_established = 3600\n")],
        WRITERS, "kube-proxy raises net.netfilter.nf_conntrack_tcp_timeout_established to 86400"),
    fault("kubernetes", "kube-proxy raises the maximum that a file sets",
        &[Append("/etc/sysctl.d/k8s.conf", "net.netfilter.nf_conntrack_max = 262144\n")],
        WRITERS, "conntrack.maxPerCore: 0"),
    fault("kubernetes", "kube-proxy has its default timeouts, and a file shorter ones",
        &[Replace(KUBE_PROXY, "  tcpEstablishedTimeout: 24h0m0s\n", ""),
          Append("/etc/sysctl.d/k8s.conf", "net.netfilter.nf_conntrack_tcp_timeout_established = 7200\n")],
        WRITERS, "kube-proxy raises net.netfilter.nf_conntrack_tcp_timeout_established to 86400"),
    fault("kubernetes", "the module is loaded after the settings are applied",
        &[Replace("/etc/modules-load.d/k8s.conf", "nf_conntrack\n", "")],
        MODULE, "starts kubelet, whose rules load nf_conntrack"),
];
